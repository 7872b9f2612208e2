package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func encoded(t *testing.T, utf8 bool, f func(e *Encoder)) string {
	t.Helper()
	var buf bytes.Buffer
	e := NewEncoder(&buf)
	e.UTF8 = utf8
	f(e)
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestEncoder(t *testing.T) {
	for _, tt := range []struct {
		want string
		utf8 bool
		f    func(e *Encoder)
	}{
		{"a OK [READ-WRITE] done\r\n", false, func(e *Encoder) { e.Tagged("a", StatusOK, "READ-WRITE", "done") }},
		{"* BYE see you\r\n", false, func(e *Encoder) { e.Untagged(StatusBye, "", "see you") }},
		{"* NO a??b??\r\n", false, func(e *Encoder) { e.Untagged(StatusNO, "", "a\r\nbé\x00") }},
		{"* NO é?\r\n", true, func(e *Encoder) { e.Untagged(StatusNO, "", "é\n") }},
		{"* OK ALERT] x\r\n", false, func(e *Encoder) { e.Untagged(StatusOK, "", "[ALERT] x") }},
		{"a OK OK\r\n", false, func(e *Encoder) { e.Tagged("a", StatusOK, "", "") }},
		{"+ idling\r\n", false, func(e *Encoder) { e.Continue("idling") }},
		{"* 23 EXISTS\r\n", false, func(e *Encoder) { e.Star().Num(23).Raw(" EXISTS").CRLF() }},
		{"(\\Seen $x) ()", false, func(e *Encoder) { e.Flags([]string{`\Seen`, "$x"}).SP().Flags(nil) }},
		{`"a\"b\\c" ""`, false, func(e *Encoder) { e.String(`a"b\c`).SP().String("") }},
		{"{4}\r\na\r\nb", false, func(e *Encoder) { e.String("a\r\nb") }},
		{"{2}\r\né", false, func(e *Encoder) { e.String("é") }},
		{`"é"`, true, func(e *Encoder) { e.String("é") }},
		{"{1}\r\n\xff", true, func(e *Encoder) { e.Bytes([]byte("\xff")) }},
		{"\"a b\" {3}\r\n\n c", false, func(e *Encoder) { e.String("a\x00b").SP().String("\n\x00c") }},
		{`NIL "NIL" "" INBOX a]b "a b"`, false, func(e *Encoder) {
			e.NString("x", false).SP().AString("NIL").SP().AString("").SP().AString("INBOX").SP().AString("a]b").SP().AString("a b")
		}},
		{"&ZeVnLIqe-", false, func(e *Encoder) { e.Mailbox("日本語") }},
		{`"日本語"`, true, func(e *Encoder) { e.Mailbox("日本語") }},
		{"R&-D", false, func(e *Encoder) { e.Mailbox("R&D") }},
		{"1:3,7", false, func(e *Encoder) { e.Ranges([]Range{{1, 3}, {7, 7}}) }},
		{`" 7-Jul-1996 02:44:25 -0700"`, false, func(e *Encoder) {
			e.DateTime(time.Date(1996, 7, 7, 2, 44, 25, 0, time.FixedZone("", -7*3600)))
		}},
	} {
		if got := encoded(t, tt.utf8, tt.f); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestLongStringIsLiteral(t *testing.T) {
	s := strings.Repeat("x", maxQuoted+1)
	if got := encoded(t, false, func(e *Encoder) { e.String(s) }); got != "{1025}\r\n"+s {
		t.Errorf("%.40q", got)
	}
}

func TestEncoderLiteral(t *testing.T) {
	for _, size := range []int{0, 1, writeBuffer, copyBuffer, copyBuffer*2 + 1} {
		body := strings.Repeat("x", size)
		got := encoded(t, false, func(e *Encoder) {
			if err := e.Literal(int64(size), iotest.HalfReader(strings.NewReader(body))); err != nil {
				t.Error(err)
			}
			e.Close()
		})
		head, rest, _ := strings.Cut(got, "\r\n")
		if head != "{"+string(appendInt(size))+"}" || rest != body+")" {
			t.Errorf("size %d: head %q, %d octets follow", size, head, len(rest))
		}
	}
	got := encoded(t, false, func(e *Encoder) {
		if err := e.Literal8(3, strings.NewReader("a\x00b")); err != nil {
			t.Error(err)
		}
	})
	if got != "~{3}\r\na\x00b" {
		t.Errorf("%q", got)
	}
}

func appendInt(n int) []byte { return AppendRanges(nil, []Range{{uint32(n), uint32(n)}}) }

// A body of the wrong size must not let the next octets pass for what they are not.
func TestEncoderLiteralWrongSize(t *testing.T) {
	broken := errors.New("store is down")
	for name, tt := range map[string]struct {
		r    io.Reader
		want error
	}{
		"short":  {strings.NewReader("1234"), ErrBodySize},
		"long":   {strings.NewReader("123456"), ErrBodySize},
		"broken": {io.MultiReader(strings.NewReader("12"), iotest.ErrReader(broken)), broken},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			e := NewEncoder(&buf)
			if err := e.Literal(5, tt.r); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			e.Tagged("a", StatusOK, "", "done")
			if err := e.Flush(); !errors.Is(err, tt.want) {
				t.Errorf("Flush: %v, want %v", err, tt.want)
			}
			if strings.Contains(buf.String(), "done") {
				t.Errorf("went on after the error: %q", buf.String())
			}
		})
	}
}

func BenchmarkFlagsResponse(b *testing.B) {
	e := NewEncoder(io.Discard)
	flags := []string{`\Seen`, "$Forwarded"}
	b.ReportAllocs()
	for n := range b.N {
		e.Star().Num(uint64(n)).Raw(" FETCH (UID ").Num(uint64(n)).Raw(" FLAGS ").Flags(flags).Close().CRLF()
	}
}

func TestFlagsResponseAllocates(t *testing.T) {
	e := NewEncoder(io.Discard)
	flags := []string{`\Seen`, "$Forwarded"}
	if got := testing.AllocsPerRun(1000, func() {
		e.Star().Num(12).Raw(" FETCH (UID ").Num(34).Raw(" FLAGS ").Flags(flags).Close().CRLF()
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
