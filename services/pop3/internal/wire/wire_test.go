package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		input string
		lines []string // "!" and an error's text for an error
	}{
		"crlf and lf":       {"STAT\r\nLIST\n", []string{"STAT", "LIST", "!EOF"}},
		"cr within":         {"PASS a\rb\r\n", []string{"PASS a\rb", "!EOF"}},
		"at the limit":      {strings.Repeat("x", 253) + "\r\nQUIT\r\n", []string{strings.Repeat("x", 253), "QUIT", "!EOF"}},
		"over the limit":    {strings.Repeat("x", 254) + "\r\nQUIT\r\n", []string{"!line too long", "QUIT", "!EOF"}},
		"far over":          {long + "\r\nQUIT\r\n", []string{"!line too long", "QUIT", "!EOF"}},
		"cut":               {"QUI", []string{"!EOF"}},
		"cut when too long": {long, []string{"!EOF"}},
		"without end":       {strings.Repeat("x", 70000) + "\r\n", []string{"!line without end"}},
	} {
		for kind, source := range map[string]io.Reader{
			"whole": strings.NewReader(c.input), "by octet": iotest.OneByteReader(strings.NewReader(c.input)),
		} {
			r := NewReader(source)
			for i, want := range c.lines {
				got, err := r.ReadLine(MaxCommand)
				if err != nil {
					got = "!" + err.Error()
				}
				if got != want {
					t.Errorf("%s, %s: line %d is %q, want %q", name, kind, i, got, want)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]Command{
		"QUIT":            {"QUIT", ""},
		"quit":            {"QUIT", ""},
		"PASS a b  c ":    {"PASS", "a b  c "},
		"PASS  x":         {"PASS", " x"},
		"PASS \tx":        {"PASS", "\tx"},
		"USER 花子":         {"USER", "花子"},
		"UTF8":            {"UTF8", ""},
		"":                {},
		" QUIT":           {},
		"QUIT\x00":        {},
		"USER a\x00b":     {},
		"USER a\rSTAT":    {},
		"VERYLONGKEYWORD": {},
		"\x16\x03\x01":    {},
	} {
		got, err := Parse(line)
		if got != want || (err != nil) != (want == Command{}) || err != nil && !errors.Is(err, ErrSyntax) {
			t.Errorf("Parse(%q) = %q, %v; want %q", line, got, err, want)
		}
	}
}

func stuff(t *testing.T, pieces ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	d := NewDotWriter(w)
	for _, p := range pieces {
		if n, err := d.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := errors.Join(d.Close(), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDotWriter(t *testing.T) {
	for message, want := range map[string]string{
		"":                     ".\r\n",
		"a\r\n":                "a\r\n.\r\n",
		"a":                    "a\r\n.\r\n",
		"a\n":                  "a\n\r\n.\r\n",
		"a\r":                  "a\r\r\n.\r\n",
		".\r\n":                "..\r\n.\r\n",
		"..a\r\n.b\r\nc.\r\n":  "...a\r\n..b\r\nc.\r\n.\r\n",
		"a\n.b\r\n":            "a\n.b\r\n.\r\n",
		"a\r.b\r\n":            "a\r.b\r\n.\r\n",
		"\r\n.":                "\r\n..\r\n.\r\n",
		"\r\r\n.\x00\r\n":      "\r\r\n..\x00\r\n.\r\n",
		"\r\n\r\n.\r\n.\r\n\n": "\r\n\r\n..\r\n..\r\n\n\r\n.\r\n",
	} {
		if got := stuff(t, message); got != want {
			t.Errorf("%q is sent as %q, want %q", message, got, want)
		}
		if got := stuff(t, strings.Split(message, "")...); got != want {
			t.Errorf("%q octet by octet is sent as %q, want %q", message, got, want)
		}
	}
}

// unstuff reads an answer as RFC 1939 tells a client to.
func unstuff(t *testing.T, answer string) string {
	t.Helper()
	body, ok := strings.CutSuffix("\r\n"+answer, "\r\n.\r\n")
	if !ok {
		t.Fatalf("%q has no end", answer)
	}
	if strings.Contains(body, "\r\n.\r\n") {
		t.Fatalf("%q ends too early", answer)
	}
	return strings.TrimPrefix(strings.ReplaceAll(body, "\r\n..", "\r\n."), "\r\n")
}

func FuzzDotWriter(f *testing.F) {
	f.Add("a\r\n..b\r\n", 3)
	f.Add("\r\n.\r\n", 4)
	f.Fuzz(func(t *testing.T, message string, cut int) {
		cut = min(max(cut, 0), len(message))
		got := unstuff(t, stuff(t, message[:cut], message[cut:]))
		if want := strings.TrimSuffix(message, "\r\n"); got != want {
			t.Errorf("%q arrives as %q", message, got)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("USER a\r\nPASS b c\r\nRETR 1\nQUIT"))
	f.Fuzz(func(t *testing.T, input []byte) {
		r := NewReader(bytes.NewReader(input))
		for {
			line, err := r.ReadLine(MaxCommand)
			if errors.Is(err, ErrTooLong) {
				continue
			}
			if err != nil {
				return
			}
			if len(line) > MaxCommand-1 || strings.Contains(line, "\n") {
				t.Fatalf("line %q", line)
			}
			command, err := Parse(line)
			if err == nil && (command.Name == "" || command.Name != strings.ToUpper(command.Name) || strings.ContainsAny(command.Name+command.Arg, "\x00\r\n")) {
				t.Fatalf("command %q", command)
			}
		}
	})
}
