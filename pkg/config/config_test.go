package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type settings struct {
	listen  string
	timeout time.Duration
	size    Size
	nets    Prefixes
	domains []string
	tls     bool
	conns   int
}

func newFlags() (*pflag.FlagSet, *settings) {
	fs, s := pflag.NewFlagSet("test", pflag.ContinueOnError), &settings{}
	fs.String(FileFlag, "", "file")
	fs.StringVar(&s.listen, "smtp-listen", "127.0.0.1:2525", "address")
	fs.DurationVar(&s.timeout, "smtp-timeout", time.Minute, "timeout")
	SizeVar(fs, &s.size, "smtp-max-size", 50*MB, "largest message")
	PrefixesVar(fs, &s.nets, "smtp-trusted", nil, "proxies")
	fs.StringSliceVar(&s.domains, "domains", nil, "domains")
	fs.BoolVar(&s.tls, "tls", true, "tls")
	fs.IntVar(&s.conns, "conns", 10, "connections")
	return fs, s
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "yubin.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadPrecedence(t *testing.T) {
	file := writeFile(t, `
smtp:
  listen: file:1
  timeout: 5s
  max-size: 1GiB
  trusted: [10.0.0.0/8, "2001:db8::1"]
domains: [a.test, b.test]
tls: false
`)
	fs, s := newFlags()
	env := []string{"YUBIN_SMTP_TIMEOUT=7s", "YUBIN_SMTP_LISTEN=env:1", "YUBIN_CONFIG=" + file, "HOME=/x"}
	if err := Load(fs, []string{"--smtp-listen=flag:1"}, env); err != nil {
		t.Fatal(err)
	}
	if s.listen != "flag:1" || s.timeout != 7*time.Second || s.size != GiB || s.tls || s.conns != 10 {
		t.Errorf("wrong values: %+v", s)
	}
	if strings.Join(s.domains, " ") != "a.test b.test" {
		t.Errorf("domains = %q", s.domains)
	}
	if got := s.nets.String(); got != "10.0.0.0/8,2001:db8::1/128" {
		t.Errorf("networks = %s", got)
	}
	if !s.nets.Contains(netip.MustParseAddr("::ffff:10.1.2.3")) || s.nets.Contains(netip.MustParseAddr("11.0.0.1")) {
		t.Error("Contains is wrong")
	}
}

func TestLoadReportsEveryMistake(t *testing.T) {
	file := writeFile(t, `smtp:
  lissen: x
  timeout: soon
  max-size: [1, 2]
domains:
  - {a: b}
tls:
conns: 5
conns2: 5
unknown:
  deep: 1
`)
	fs, _ := newFlags()
	err := Load(fs, []string{"--smtp-trusted=10.0.0.0/99", "--config", file, "--smtp-lissten=1"},
		[]string{"YUBIN_CONNS=many", "YUBIN_SMTP_LISTN=1"})
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	for _, want := range []string{
		`--smtp-trusted: "10.0.0.0/99" is no network`,
		`--smtp-lissten: no such flag; did you mean smtp-listen?`,
		`environment YUBIN_CONNS: "many" is not a whole number`,
		`environment YUBIN_SMTP_LISTN: no such setting; did you mean YUBIN_SMTP_LISTEN?`,
		file + `:2: smtp-lissen: no such setting; did you mean smtp-listen?`,
		file + `:3: smtp-timeout: "soon" is not a duration; write for example 30s`,
		file + `:4: smtp-max-size: takes one value`,
		file + `:6: domains: a list holds plain values only`,
		file + `:7: tls has no value`,
		file + `:9: conns2: no such setting; did you mean conns?`,
		file + `:10: unknown: no such setting`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in:\n%s", want, text)
		}
	}
	if lines := strings.Count(text, "\n") + 1; lines != 11 {
		t.Errorf("%d lines, want 11:\n%s", lines, text)
	}
}

func TestFileMistakes(t *testing.T) {
	for name, text := range map[string]string{
		"twice":       "smtp-listen: a\nsmtp: {listen: b}\n",
		"syntax":      "smtp: [",
		"list at top": "- a\n",
		"itself":      "config: other.yaml\n",
		"mapping":     "conns: {a: 1}\n",
	} {
		t.Run(name, func(t *testing.T) {
			fs, _ := newFlags()
			if err := Load(fs, []string{"--config", writeFile(t, text)}, nil); err == nil {
				t.Error("no error")
			}
		})
	}
	fs, _ := newFlags()
	if err := Load(fs, []string{"--config=/nonexistent.yaml"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	fs, s := newFlags()
	if err := Load(fs, []string{"--config", writeFile(t, "# nothing\n")}, nil); err != nil || s.conns != 10 {
		t.Errorf("empty file: %v", err)
	}
}

func TestKubernetesServiceLinksAreIgnored(t *testing.T) {
	fs, s := newFlags()
	fs.Int("smtp-port", 25, "a setting that collides with a service link")
	err := Load(fs, nil, []string{
		"YUBIN_SMTP_SERVICE_HOST=10.0.0.1", "YUBIN_SMTP_SERVICE_PORT=25", "YUBIN_SMTP_SERVICE_PORT_SUBMISSION=587",
		"YUBIN_SMTP_PORT=tcp://10.0.0.1:25", "YUBIN_SMTP_PORT_25_TCP=tcp://10.0.0.1:25", "YUBIN_SMTP_PORT_25_TCP_PROTO=tcp",
		"YUBIN_SMTP_PORT_25_TCP_PORT=25", "YUBIN_SMTP_PORT_25_TCP_ADDR=10.0.0.1", "YUBIN_CONNS=3",
	})
	if err != nil || s.conns != 3 {
		t.Errorf("err = %v, conns = %d", err, s.conns)
	}
}

func TestHelpAndArguments(t *testing.T) {
	fs, _ := newFlags()
	if err := Load(fs, []string{"--help"}, nil); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
	var b strings.Builder
	PrintUsage(&b, "smtp", fs)
	for _, want := range []string{"\nGeneral:\n", "\nSmtp:\n", "--smtp-max-size size", "(default 50MB)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing %q in\n%s", want, b.String())
		}
	}
	fs, _ = newFlags()
	if err := Load(fs, []string{"serve"}, nil); err == nil || !strings.Contains(err.Error(), `"serve"`) {
		t.Errorf("argument: %v", err)
	}
}

func TestCompleteLeavesOutComplaintsAboutUnreadFlags(t *testing.T) {
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	fs.Int("a", 0, "")
	fs.Int("b", 0, "")
	loaded := Load(fs, []string{"--a=x", "--c=1"}, nil)
	err := Complete(loaded, Check([]error{Errorf("a", "too low"), Errorf("b", "too low")}))
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	if strings.Count(text, "\n") != 2 || strings.Contains(text, "--a: too low") || !strings.Contains(text, "--b: too low") || !strings.Contains(text, "whole number") {
		t.Fatalf("got %s", text)
	}
	if err := Complete(nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	if err := Check(nil, []error{}); err != nil {
		t.Errorf("got %v", err)
	}
	err := Check([]error{Errorf("a", "%d: too low", 1)}, []error{Errorf("b", "missing")})
	if err == nil || err.Error() != "--a: 1: too low\n--b: missing" {
		t.Errorf("got %v", err)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "5GB": 5e9, "5GiB": 5 << 30, "5 gb": 5e9, "1.5MB": 1500000, "5Gi": 5 << 30, "2k": 2000,
		"9223372036854775807": 1<<63 - 1, "0.5KiB": 512, "10B": 10, "8TiB": 8 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "-1", "5XB", "1e3", "1.2.3", ".5KB", "5.", "0.3B", "9223372036854775808", "10000000TB", "GB", "1/2", "0x10", strings.Repeat("1", 50)} {
		if got, err := ParseSize(text); !errors.Is(err, ErrSize) {
			t.Errorf("ParseSize(%q) = %d, %v; want an error", text, got, err)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0", 1: "1", 999: "999", 1000: "1KB", 1024: "1KiB", 5e9: "5GB", 5 << 30: "5GiB", 1500000: "1500KB", 1048577: "1048577", 1024000: "1024KB",
	} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d) = %s, want %s", int64(size), got, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"5GB", "1.5GiB", "0", "-1", "9223372036854775807", "1..2", "5 k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, size)
		}
		again, err := ParseSize(size.String())
		if err != nil || again != size {
			t.Fatalf("%q is %d, but its text %q is %d, %v", text, size, size.String(), again, err)
		}
	})
}
