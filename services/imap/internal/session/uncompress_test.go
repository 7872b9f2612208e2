package session

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"testing"
)

// squeezing is a client that compresses, and may leave off.
type squeezing struct {
	*talk
	out bytes.Buffer
	w   *flate.Writer
}

func (g *gateway) squeezing() *squeezing {
	g.t.Helper()
	k := &squeezing{talk: g.login()}
	k.expect("COMPRESS DEFLATE", "OK DEFLATE active")
	var err error
	if k.w, err = flate.NewWriter(&k.out, flate.BestCompression); err != nil {
		g.t.Fatal(err)
	}
	k.inflate()
	return k
}

// says gives the octets of lines and of how they are flushed.
func (k *squeezing) says(lines string, flush func(*flate.Writer) error) string {
	k.t.Helper()
	k.out.Reset()
	if _, err := io.WriteString(k.w, lines); err != nil {
		k.t.Fatal(err)
	}
	if err := flush(k.w); err != nil {
		k.t.Fatal(err)
	}
	return k.out.String()
}

// TestUnauthenticateUncompresses: RFC 8437 section 4.1. Compression ends behind the command, and behind its answer. The next command may be sent with it,
// and where compressors are closed a final block may come at any time in between.
func TestUnauthenticateUncompresses(t *testing.T) {
	const last, next = "b UNAUTHENTICATE\r\n", "c LOGIN bob secret\r\n"
	flush, finish := (*flate.Writer).Flush, (*flate.Writer).Close
	for _, c := range []struct {
		name string
		send func(k *squeezing) (now, behindAnswer string)
	}{
		{"flush", func(k *squeezing) (string, string) { return k.says(last, flush), next }},
		{"flush, pipelined", func(k *squeezing) (string, string) { return k.says(last, flush) + next, "" }},
		{"close", func(k *squeezing) (string, string) { return k.says(last, finish), next }},
		{"close, pipelined", func(k *squeezing) (string, string) { return k.says(last, finish) + next, "" }},
		{"flush, close, pipelined", func(k *squeezing) (string, string) { return k.says(last, flush) + k.says("", finish) + next, "" }},
		{"flush, close behind the answer", func(k *squeezing) (string, string) { return k.says(last, flush), k.says("", finish) + next }},
		{"flush, Z_FINISH behind the answer", func(k *squeezing) (string, string) { return k.says(last, flush), "\x03\x00" + next }},
		{"flush, a half", func(k *squeezing) (string, string) {
			raw := k.says(last, flush)
			return raw[:len(raw)-2], raw[len(raw)-2:] + next
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, withTLSOffered(t))
			k := g.squeezing()
			before := k.says("a SELECT INBOX\r\n", flush)
			now, behindAnswer := c.send(k)
			k.send("%s", before+now)
			k.until("a OK")
			line := k.line()
			if !strings.HasPrefix(line, "b OK [CAPABILITY ") || !strings.Contains(line, " STARTTLS ") || strings.Contains(line, "COMPRESS") {
				t.Errorf("got %q", line)
			}
			// The compressed answer ends with a final block, and is all that was compressed.
			if line, err := k.r.ReadString('\n'); line != "" || !errors.Is(err, io.EOF) {
				t.Errorf("%q is compressed behind the answer, %v", line, err)
			}
			k.r.Reader = k.plain
			k.send("%s", behindAnswer)
			k.until("c OK")
			k.expect("FETCH 1 FLAGS", "BAD [CLIENTBUG] no mailbox is selected")
			k.compress()
			k.ok("NOOP")
		})
	}
}

// TestUnauthenticateThenCompressed: who goes on as if nothing had happened is told.
func TestUnauthenticateThenCompressed(t *testing.T) {
	g := newGateway(t)
	k := g.squeezing()
	k.send("%s", k.says("b UNAUTHENTICATE\r\nc NOOP\r\n", (*flate.Writer).Flush))
	if line := k.line(); !strings.HasPrefix(line, "* BYE what follows UNAUTHENTICATE") {
		t.Errorf("got %q", line)
	}
}
