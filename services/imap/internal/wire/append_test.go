package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	asked := 0
	d := newDecoder("A003 APPEND saved-messages (\\Seen $x) \"17-Jul-1996 02:44:25 -0700\" {5}\r\nhello " +
		"~{3+}\r\na\x00b UTF8 (~{2+}\r\nhi)\r\nb NOOP\r\n")
	d.Continue = func() error { asked++; return nil }
	if _, name, err := d.Command(); name != "APPEND" || err != nil {
		t.Fatal(name, err)
	}
	if got := d.AppendMailbox(); got != "saved-messages" {
		t.Fatalf("mailbox %q", got)
	}
	want := []struct {
		AppendMessage
		body string
	}{
		{AppendMessage{Size: 5, Sync: true}, "hello"},
		{AppendMessage{Size: 3, Binary: true}, "a\x00b"},
		{AppendMessage{Size: 2, Binary: true, UTF8: true}, "hi"},
	}
	for i, w := range want {
		m, err := d.AppendMessage()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && (len(m.Flags) != 2 || m.Date.Unix() != 837596665) {
			t.Errorf("flags %q, date %v", m.Flags, m.Date)
		}
		if m.Size != w.Size || m.Binary != w.Binary || m.UTF8 != w.UTF8 || m.Sync != w.Sync {
			t.Errorf("message %d: %+v, want %+v", i, m, w.AppendMessage)
		}
		if i == 0 && asked != 0 {
			t.Error("asked for the literal before it was accepted")
		}
		r, err := d.Literal()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r); string(body) != w.body || err != nil {
			t.Errorf("body %q, %v, want %q", body, err, w.body)
		}
		if more := d.AppendMore(); more != (i < len(want)-1) {
			t.Errorf("message %d: more %v", i, more)
		}
	}
	if err := d.End(); err != nil {
		t.Fatal(err)
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	if tag, _, err := d.Command(); tag != "b" || err != nil {
		t.Errorf("next command %q, %v", tag, err)
	}
}

// Whatever a session does with an APPEND, the next command is read.
func TestAppendRefused(t *testing.T) {
	begin := func(t *testing.T, in string) *Decoder {
		t.Helper()
		d := newDecoder("a APPEND x " + in + "b NOOP\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		d.AppendMailbox()
		if _, err := d.AppendMessage(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	next := func(t *testing.T, d *Decoder) {
		t.Helper()
		if err := d.Discard(); err != nil {
			t.Fatal(err)
		}
		if tag, _, err := d.Command(); tag != "b" || err != nil {
			t.Errorf("next command %q, %v", tag, err)
		}
	}
	t.Run("synchronizing is never sent", func(t *testing.T) { next(t, begin(t, "{900000}\r\n")) })
	t.Run("non-synchronizing is skipped", func(t *testing.T) { next(t, begin(t, "{5+}\r\nhello\r\n")) })
	t.Run("given up half way", func(t *testing.T) {
		d := begin(t, "{5}\r\nhello\r\n")
		r, err := d.Literal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		next(t, d)
	})
	t.Run("left over is skipped", func(t *testing.T) {
		d := begin(t, "{5}\r\nhello\r\n")
		if _, err := d.Literal(); err != nil {
			t.Fatal(err)
		}
		if d.AppendMore() {
			t.Error("more")
		}
		if err := d.End(); err != nil {
			t.Fatal(err)
		}
		next(t, d)
	})
	t.Run("never accepted", func(t *testing.T) {
		d := begin(t, "{5+}\r\nhello\r\n")
		wantSyntax(t, "End without Literal", d.End())
		next(t, d)
	})
	t.Run("client vanishes", func(t *testing.T) {
		d := newDecoder("a APPEND x {50}\r\nhello")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		d.AppendMailbox()
		if _, err := d.AppendMessage(); err != nil {
			t.Fatal(err)
		}
		r, err := d.Literal()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r); string(body) != "hello" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", body, err)
		}
		if err := d.Discard(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Discard: %v", err)
		}
	})
	t.Run("junk after the message", func(t *testing.T) {
		d := begin(t, "{2+}\r\nhixyz\r\n")
		if _, err := d.Literal(); err != nil {
			t.Fatal(err)
		}
		d.AppendMore()
		wantSyntax(t, "junk", d.End())
		next(t, d)
	})
	t.Run("too large to skip", func(t *testing.T) {
		d := begin(t, "{9000000000+}\r\n")
		err := d.Discard()
		if _, ok := errors.AsType[*ByeError](err); !ok {
			t.Errorf("Discard: %v, want a ByeError", err)
		}
	})
}

func TestAppendSyntax(t *testing.T) {
	for _, in := range []string{
		"", " ", " x", " (\\Seen)", " (\\Seen) \"bad date\" {1+}", " {1+", " \"a\"", " UTF8 {1+}", " UTF8 ({1+}", " FOO (~{1+}", " ~x", " {x}",
	} {
		d := args(t, " mbox"+in+"\r\nz\r\n"+strings.Repeat("\r\n", 2))
		d.AppendMailbox()
		_, err := d.AppendMessage()
		wantSyntax(t, in, err)
	}
}
