package session

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// zlibCommands are commands as zlib's deflate gives them out one after the other, with what RFC 4978 section 4 asks for (raw, a window of
// 15 bits) and each way to flush: NOOP, STATUS INBOX (MESSAGES), STATUS INBOX (UIDNEXT), an APPEND, STATUS INBOX (MESSAGES); b1 to b5.
var zlibCommands = []struct {
	name     string
	commands []string // in hexadecimal
}{
	{"Z_PARTIAL_FLUSH, level 0", []string{
		"000900f6ff6231204e4f4f500d0a02",
		"001c00e3ff62322053544154555320494e424f5820284d45535341474553290d0a02",
		"001b00e4ff62332053544154555320494e424f5820285549444e455854290d0a02",
		"003c00c3ff623420415050454e4420494e424f5820285c5365656e29207b32372b7d0d0a5375626a6563743a20780d0a0d0a48656c6c6f2068656c6c6f0d0a0d0a02",
		"001c00e3ff62352053544154555320494e424f5820284d45535341474553290d0a02",
	}},
	{"Z_PARTIAL_FLUSH, level 1", []string{
		"4a3254f0f3f70fe0e50208",
		"a0242385e010c790d060054f3f27ff08050d5fd7e0604777d7604d5e2e8000",
		"4a3246930bf574f1738d08014a0104",
		"50928982634080ab9f0b4c5b4c706a6a9ea642b591b9762d2f57706952566a72899542052f172f97476a4e4ebe42068804710102",
		"28c914cd58242b0102",
	}},
	{"Z_PARTIAL_FLUSH, level 9", []string{
		"4a3254f0f3f70fe0e50208",
		"a0242385e010c790d060054f3f27ff08050d5fd7e0604777d7604d5e2e8000",
		"4a3246930bf574f1738d08014a0104",
		"50928982634080ab9f0b4c2a263835354f53a1dac85cbb96972bb834292b35b9c44aa182978b97cb233527275f21034482b80001",
		"94648adb4a8000",
	}},
	{"Z_SYNC_FLUSH, level 0", []string{
		"000900f6ff6231204e4f4f500d0a000000ffff",
		"001c00e3ff62322053544154555320494e424f5820284d45535341474553290d0a000000ffff",
		"001b00e4ff62332053544154555320494e424f5820285549444e455854290d0a000000ffff",
		"003c00c3ff623420415050454e4420494e424f5820285c5365656e29207b32372b7d0d0a5375626a6563743a20780d0a0d0a48656c6c6f2068656c6c6f0d0a0d0a000000ffff",
		"001c00e3ff62352053544154555320494e424f5820284d45535341474553290d0a000000ffff",
	}},
	{"Z_SYNC_FLUSH, level 1", []string{
		"4a3254f0f3f70fe0e502000000ffff",
		"4a3252080e710c090d56f0f473f28f50d0f0750d0e7674770dd6e4e502000000ffff",
		"4a3246930bf574f1738d08014a01000000ffff",
		"4a3251700c0870f57381698b094e4dcdd354a83632d7aee5e50a2e4dca4a4d2eb152a8e0e5e2e5f248cdc9c957c80091202e000000ffff",
		"4a32453316c94a00000000ffff",
	}},
	{"Z_SYNC_FLUSH, level 9", []string{
		"4a3254f0f3f70fe0e502000000ffff",
		"4a3252080e710c090d56f0f473f28f50d0f0750d0e7674770dd6e4e502000000ffff",
		"4a3246930bf574f1738d08014a01000000ffff",
		"4a3251700c0870f5738149c504a7a6e6692a541b996bd7f27205972665a52697582954f072f17279a4e6e4e42b6480481017000000ffff",
		"4a32c56d25000000ffff",
	}},
	{"Z_FULL_FLUSH, level 0", []string{
		"000900f6ff6231204e4f4f500d0a000000ffff",
		"001c00e3ff62322053544154555320494e424f5820284d45535341474553290d0a000000ffff",
		"001b00e4ff62332053544154555320494e424f5820285549444e455854290d0a000000ffff",
		"003c00c3ff623420415050454e4420494e424f5820285c5365656e29207b32372b7d0d0a5375626a6563743a20780d0a0d0a48656c6c6f2068656c6c6f0d0a0d0a000000ffff",
		"001c00e3ff62352053544154555320494e424f5820284d45535341474553290d0a000000ffff",
	}},
	{"Z_FULL_FLUSH, level 1", []string{
		"4a3254f0f3f70fe0e502000000ffff",
		"4a3252080e710c090d56f0f473f28f50d0f0750d0e7674770dd6e4e502000000ffff",
		"4a3256080e710c090d56f0f473f28f50d008f574f1738d08d1e4e502000000ffff",
		"4a3251700c0870f57351f0f473f28f50d088094e4dcdd354a83632d7aee5e50a2e4dca4a4d2eb152a8e0e5e2e5f248cdc9c957c80091202e000000ffff",
		"4a3255080e710c090d56f0f473f28f50d0f0750d0e7674770dd6e4e502000000ffff",
	}},
	{"Z_FULL_FLUSH, level 9", []string{
		"4a3254f0f3f70fe0e502000000ffff",
		"4a3252080e710c090d56f0f473f28f50d0f0750d0e7674770dd6e4e502000000ffff",
		"4a3256080e710c090d56f0f473f28f50d008f574f1738d08d1e4e502000000ffff",
		"4a3251700c0870f57351f0f473f28f50d088094e4dcdd354a83632d7aee5e50a2e4dca4a4d2eb152a8e0e5e2e5f248cdc9c957c80091202e000000ffff",
		"4a3255080e710c090d56f0f473f28f50d0f0750d0e7674770dd6e4e502000000ffff",
	}},
}

// squeezed is a connection with compression.
type squeezed struct {
	net.Conn
	w *flate.Writer
}

func (c squeezed) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, c.w.Flush()
}

// inflate reads compressed answers from now on.
func (k *talk) inflate() {
	k.plain = k.r.Reader
	k.r.from(flate.NewReader(k.plain))
}

// uncompressed: compression has ended with UNAUTHENTICATE.
func (k *talk) uncompressed() { k.conn, k.r.Reader = k.conn.(squeezed).Conn, k.plain }

// compress begins compression on a raw connection.
func (k *talk) compress() {
	k.t.Helper()
	k.expect("COMPRESS DEFLATE", "OK DEFLATE active")
	w, err := flate.NewWriter(k.conn, flate.BestCompression)
	if err != nil {
		k.t.Fatal(err)
	}
	k.conn = squeezed{k.conn, w}
	k.inflate()
}

// TestCompress: RFC 4978 section 3 and its example.
func TestCompress(t *testing.T) {
	g := newGateway(t, withTLS(t))
	k := g.connect()
	k.expect("COMPRESS DEFLATE", "BAD [CLIENTBUG] log in first")
	k.startTLS()
	_, tagged := k.do("LOGIN alice secret")
	if !strings.Contains(tagged, " COMPRESS=DEFLATE ") {
		t.Errorf("LOGIN: %s", tagged)
	}
	k.expect("COMPRESS", "BAD ")
	k.expect("COMPRESS LZW", "BAD ")
	k.expect("COMPRESS DEFLATE now", "BAD ")
	k.compress()
	if lines := k.ok("CAPABILITY"); strings.Contains(lines[0], "COMPRESS") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	k.expect("COMPRESS DEFLATE", "BAD [COMPRESSIONACTIVE]")
	k.expect("CREATE foo", "OK [MAILBOXID")
	k.ok("APPEND INBOX {%d+}\r\n%s", len(mail1), mail1)
	k.ok("SELECT INBOX")
	k.expect("FETCH 1 BODY.PEEK[TEXT]", "* 1 FETCH (BODY[TEXT] {13}", "First body.", ")", "OK")
	// Changes come while the client idles, and several commands at once are answered.
	other := g.connect()
	other.startTLS()
	other.ok("LOGIN alice secret")
	k.send("i IDLE\r\n")
	k.until("+ ")
	other.ok("APPEND INBOX {%d+}\r\n%s", len(mail2), mail2)
	k.until("* 2 EXISTS")
	k.send("DONE\r\nj NOOP\r\nk FETCH 1:2 UID\r\n")
	k.until("k OK")
	// A synchronising literal waits for its continuation.
	k.send("l APPEND INBOX {%d}\r\n", len(mail1))
	k.until("+ OK")
	k.send("%s\r\n", mail1)
	k.until("l OK")
	g.sessions.Drain(t.Context(), 0, "going down")
	k.until("* BYE going down")
}

// TestCompressIsNotPipelined: what follows COMPRESS before its answer would have two meanings.
func TestCompressIsNotPipelined(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.send("a COMPRESS DEFLATE\r\nb NOOP\r\n")
	if lines := k.until("b "); !strings.HasPrefix(lines[0], "a BAD ") || lines[1] != "b OK NOOP completed" {
		t.Errorf("got %q", lines)
	}
}

// TestCompressFlushes: whatever way a client flushes, its command is answered before it sends the next one.
func TestCompressFlushes(t *testing.T) {
	for _, c := range zlibCommands {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t)
			k := g.login()
			k.expect("COMPRESS DEFLATE", "OK DEFLATE active")
			k.inflate()
			var got []string
			for i, command := range c.commands {
				raw, err := hex.DecodeString(command)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := k.conn.Write(raw); err != nil {
					t.Fatal(err)
				}
				got = append(got, k.until(fmt.Sprintf("b%d ", i+1))...)
			}
			want := []string{
				"b1 OK NOOP completed", "* STATUS INBOX (MESSAGES 0)", "b2 OK STATUS completed", "* STATUS INBOX (UIDNEXT 1)", "b3 OK STATUS completed",
				fmt.Sprintf("b4 OK [APPENDUID %d 1] APPEND completed", g.uidValidity("INBOX")), "* STATUS INBOX (MESSAGES 1)", "b5 OK STATUS completed",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestCompressedTooWell: little that is sent must not become much work. A message that is all the same is no harm.
func TestCompressedTooWell(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.compress()
	zeros := strings.Repeat("0", 9_000)
	k.ok("APPEND INBOX {%d+}\r\n%s", len(zeros), zeros)
	// The client goes on sending after the server has had enough.
	go func() {
		line := strings.Repeat(" ", 60<<10) + "\r\n"
		for {
			if _, err := io.WriteString(k.conn, line); err != nil {
				return
			}
		}
	}()
	for {
		switch line := k.line(); {
		case strings.HasPrefix(line, "* BYE"):
			return
		case line == "" || !strings.HasPrefix(line, "* BAD"):
			t.Fatalf("got %q", line)
		}
	}
}

// TestInflaterRatio: how much may come out of how little.
func TestInflaterRatio(t *testing.T) {
	squeeze := func(n int) []byte {
		var buf bytes.Buffer
		w, err := flate.NewWriter(&buf, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	const message = 1 << 20
	if n, err := io.Copy(io.Discard, newInflater(bytes.NewReader(squeeze(message)), message)); n != message || err != nil {
		t.Errorf("a message: %d octets, %v", n, err)
	}
	n, err := io.Copy(io.Discard, newInflater(bytes.NewReader(squeeze(20*message)), message))
	if _, ok := errors.AsType[*wire.ByeError](err); !ok || n > 4*message {
		t.Errorf("a bomb: %d octets, %v", n, err)
	}
	_, err = io.Copy(io.Discard, newInflater(strings.NewReader("this is not deflate"), message))
	if _, ok := errors.AsType[*wire.ByeError](err); !ok {
		t.Errorf("rubbish: %v", err)
	}
}

// TestDeflater: after each write the other side has everything.
func TestDeflater(t *testing.T) {
	r := rand.New(rand.NewPCG(4978, 1))
	for range 5 {
		var sent bytes.Buffer
		d := &deflater{w: &sent}
		plain := flate.NewReader(iotest.HalfReader(&sent))
		for range 20 {
			p := make([]byte, r.IntN(3)*r.IntN(20_000)+r.IntN(100))
			for i := range p {
				p[i] = byte(r.IntN(1 + r.IntN(256)))
			}
			if n, err := d.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
			got := make([]byte, len(p))
			if _, err := io.ReadFull(plain, got); err != nil || !bytes.Equal(got, p) {
				t.Fatalf("%d octets do not come back: %v", len(p), err)
			}
		}
	}
	// What was said before makes what is said again short.
	var sent bytes.Buffer
	d := &deflater{w: &sent}
	line := []byte(`* 23 FETCH (UID 4711 FLAGS (\Answered \Seen $Forwarded) MODSEQ (1234567))` + "\r\n")
	for range 100 {
		if _, err := d.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if limit := 100 * len(line) / 3; sent.Len() > limit {
		t.Errorf("%d octets for 100 lines of %d", sent.Len(), len(line))
	}
}

// FuzzInflater: whatever a client sends as compressed, it is read or refused, and little does not become much.
func FuzzInflater(f *testing.F) {
	for _, c := range zlibCommands {
		raw, err := hex.DecodeString(strings.Join(c.commands, ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := io.Copy(io.Discard, newInflater(bytes.NewReader(raw), 1000))
		if limit := int64(1000+inflateSpare+inflateRatio*len(raw)) + 64<<10; n > limit {
			t.Errorf("%d octets of %d, %v", n, len(raw), err)
		}
	})
}
