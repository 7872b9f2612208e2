package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// settings are those of a gateway called x, with one listener for plaintext and one for TLS.
type settings struct {
	Config
	listen, proxyListen, tlsListen string
}

func (s *settings) listeners() []Listener {
	return []Listener{
		{Name: "x", Flag: "x", Addr: &s.listen, ProxyAddr: &s.proxyListen, Default: ":1", Login: true, Usage: "plaintext"},
		{Name: "xs", Flag: "x-tls", Addr: &s.tlsListen, Default: ":2", TLS: true, Usage: "TLS"},
	}
}

func configured(t *testing.T, args ...string) (settings, error) {
	t.Helper()
	var s settings
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	s.Flags(fs, "x", s.listeners())
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s, config.Check(s.Validate("x", s.listeners()))
}

func TestValidate(t *testing.T) {
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	files := strings.NewReplacer("CERT", cert, "KEY", key)
	for _, c := range []struct {
		args string
		want string // the errors; "" for none
	}{
		{"--x-tls-cert=CERT --x-tls-key=KEY", ""},
		{"--x-tls-listen= --x-insecure-auth", ""},
		{"--x-tls-cert=CERT --x-tls-key=KEY --x-proxy-listen=:3 --x-trusted-proxies=10.0.0.0/8", ""},
		{"", "--x-listen: nobody can log in without a certificate: give --x-tls-cert and --x-tls-key, or set it empty\n" +
			"--x-tls-listen: needs a certificate: give --x-tls-cert and --x-tls-key, or set it empty"},
		{"--x-tls-cert=a", "--x-tls-cert: needs --x-tls-key with it, and the other way round"},
		{"--x-tls-cert=/nowhere/a --x-tls-key=/nowhere/b", "--x-tls-cert: cannot be used: open /nowhere/a: no such file or directory"},
		{"--x-listen= --x-tls-listen=", "--x-listen: there is no listener: give at least one address"},
		{"--x-listen=25 --x-tls-listen= --x-insecure-auth", `--x-listen: "25" is no address; write for example 127.0.0.1:2525 or :2525`},
		{"--x-tls-listen= --x-insecure-auth --x-proxy-listen=:3", "--x-trusted-proxies: is empty: name the networks of the proxies, such as 10.0.0.0/8"},
		{"--x-tls-listen= --x-insecure-auth --x-hostname=", "--x-hostname: is empty: give the full domain name of this server"},
		{"--x-tls-listen= --x-insecure-auth --x-drain-window=-1s --x-drain-timeout=0s",
			"--x-drain-window: -1s: must not be negative\n--x-drain-timeout: 0s: must be more than 0"},
	} {
		_, err := configured(t, strings.Fields(files.Replace(c.args))...)
		if got := (config.Check([]error{err})); (got == nil) != (c.want == "") || got != nil && got.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.args, err, c.want)
		}
	}
}

func TestOpenIsAllOrNothing(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	s, err := configured(t, "--x-insecure-auth", "--x-tls-listen=", "--x-listen="+addr, "--x-proxy-listen="+taken.Addr().String(), "--x-trusted-proxies=127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "x", s.Config, s.listeners(), Options{Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatal("the port is taken, and was opened")
	}
	again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("the first listener was left open: %v", err)
	}
	_ = again.Close()
}

// echo is a session that sends lines back until it is asked to leave.
type echo struct{ net.Conn }

func (e echo) Leave(reason string) {
	_, _ = io.WriteString(e.Conn, reason+"\n")
	_ = e.Close()
}

func TestSessionsLeaveAndPanicsStayAlone(t *testing.T) {
	s, err := configured(t, "--x-insecure-auth", "--x-tls-listen=", "--x-listen=127.0.0.1:0", "--x-drain-window=0s", "--x-max-connections=2")
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(t.Context(), "x", s.Config, s.listeners(), Options{
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Refusal: "full\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if g.Addr("xs") != nil {
		t.Error("a listener that is off has an address")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- g.Run(ctx, func(_ context.Context, p Port) error {
			return g.Accept(p, func(c net.Conn) {
				defer g.Sessions.Add(echo{c})()
				line, err := bufio.NewReader(c).ReadString('\n')
				if line == "panic\n" {
					panic(line)
				}
				for err == nil {
					_, _ = io.WriteString(c, line)
					_, err = c.Read(make([]byte, 1))
				}
			})
		})
	}()
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.Addr("x").String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		return c, bufio.NewReader(c)
	}
	expect := func(r *bufio.Reader, want string) {
		t.Helper()
		if line, err := r.ReadString('\n'); line != want && (want != "" || !errors.Is(err, io.EOF)) {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
	}
	staying, lines := dial()
	_, _ = io.WriteString(staying, "hello\n")
	expect(lines, "hello\n")
	broken, none := dial()
	_, refusal := dial()
	expect(refusal, "full\n")
	_, _ = io.WriteString(broken, "panic\n")
	expect(none, "")
	stop()
	expect(lines, "server is shutting down, connect again\n")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
