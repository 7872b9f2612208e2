package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/imap/internal/imapcheck"
)

// script is a connection on which a client has sent everything at once, and gone.
type script struct {
	in    *bytes.Reader
	mu    sync.Mutex
	out   bytes.Buffer
	check *imapcheck.Checker // nil: what is said may be compressed
}

func (c *script) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *script) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.Len() > 32<<20 {
		return 0, io.ErrShortWrite
	}
	if c.check != nil {
		_, _ = c.check.Write(p) // never fails
	}
	return c.out.Write(p)
}

func (c *script) Close() error                     { return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 143} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// failOnError makes the test fail by what the engine logs as an error: panics that it survived, and bugs.
type failOnError struct {
	slog.Handler
	t testing.TB
}

func (h failOnError) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (h failOnError) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		h.t.Errorf("%s: %s: %v", r.Message, a.Key, a.Value)
		return true
	})
	return nil
}

// play runs a script and gives what the server said.
func play(t testing.TB, g *gateway, input []byte) string {
	t.Helper()
	conn := &script{in: bytes.NewReader(input), check: checkerOf(t)}
	conn.check.Repeats = true
	if bytes.Contains(bytes.ToUpper(input), []byte("COMPRESS")) {
		conn.check = nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.engine.Serve(t.Context(), conn, false)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the session hangs")
	}
	return conn.out.String()
}

func fuzzGateway(t testing.TB) *gateway {
	g := newGateway(t, withPeople, func(o *Options) { o.Log = slog.New(failOnError{slog.DiscardHandler, t}) })
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	return g
}

// FuzzSession sends any octets after a login and a SELECT: the engine must not panic, hang, nor fail by its own fault.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a FETCH 1:* (FLAGS ENVELOPE BODY BODYSTRUCTURE BODY[] BODY[1] BODY[HEADER.FIELDS (A)]<0.9> BINARY[1] BINARY.SIZE[2] RFC822)\r\n",
		"a UID FETCH * ALL\r\nb FETCH 1 (BODY.PEEK[1.MIME] BODY[TEXT])\r\n",
		"a STORE 1 +FLAGS (\\Deleted a)\r\nb EXPUNGE\r\nc UID EXPUNGE 1:*\r\nd CLOSE\r\n",
		"a SEARCH RETURN (SAVE MIN) OR 1 NOT (SUBJECT x UID $) SINCE 1-Jan-2020\r\nb UID COPY $ Sent\r\nc MOVE 1 Sent\r\n",
		"a APPEND INBOX (\\Seen) {5+}\r\nhello\r\nb APPEND x {3}\r\nc APPEND INBOX ~{3+}\r\na\x00b\r\n",
		"a SETMETADATA INBOX (/private/comment {5+}\r\nhello /shared/x ~{3+}\r\na\x00b)\r\nb GETMETADATA (MAXSIZE 3 DEPTH infinity) INBOX /private\r\nc GETMETADATA INBOX (/shared/x /none)\r\nd LIST \"\" * RETURN (METADATA (/private/comment))\r\n",
		"a REPLACE * INBOX (\\Draft) {5+}\r\nhello\r\nb UID REPLACE 1 Sent UTF8 (~{5+}\r\nhello)\r\nc REPLACE 1 INBOX {1+}\r\na {1+}\r\nb\r\nd REPLACE 1 INBOX {3}\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (* %) RETURN (STATUS (MESSAGES) CHILDREN)\r\nb LSUB \"\" *\r\n",
		"a CREATE x (USE (\\Sent))\r\nb RENAME x y\r\nc DELETE y\r\nd SUBSCRIBE z\r\ne STATUS INBOX (SIZE UNSEEN)\r\n",
		"a IDLE\r\nDONE\r\nb ENABLE IMAP4rev2\r\nc SEARCH ALL\r\nd SELECT \"\xe2\x82\xac\"\r\ne NAMESPACE\r\nf ID NIL\r\n",
		"a GETQUOTAROOT INBOX\r\nb GETQUOTA \"\"\r\nc SETQUOTA x (STORAGE 1)\r\nd CHECK\r\ne UNSELECT\r\nf LOGOUT\r\n",
		"a LOGIN {3}\r\n\r\n\x00\xff {99999999999999999999}\r\n)((((((((((((((((",
		"a ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1001 1 1:9 (1 1)))\r\nc UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)\r\nd SEARCH MODSEQ \"/flags/x\" all 1\r\n",
		"a STORE 1:* (UNCHANGEDSINCE 2) +FLAGS.SILENT (\\Deleted)\r\nb FETCH 1:* (FLAGS MODSEQ)\r\nc EXPUNGE\r\nd STATUS INBOX (HIGHESTMODSEQ)\r\n",
		"a SEARCH EMAILID a THREADID b SAVEDON 1-Feb-2024 SAVEDATESUPPORTED OLDER 1 YOUNGER 4294967295\r\nb FETCH 1 (EMAILID PREVIEW (LAZY) SAVEDATE THREADID)\r\nc FETCH 1 PREVIEW (LAZ\r\n",
		"a APPEND INBOX {5+}\r\nhello (\\Seen) UTF8 (~{5+}\r\nhello) {3+}\r\nabc\r\nb ENABLE UTF8=ACCEPT\r\nc SEARCH CHARSET UTF-8 ALL\r\nd UNAUTHENTICATE\r\ne LOGIN alice secret\r\n",
		"a SORT (REVERSE DATE SUBJECT DISPLAYFROM) UTF-8 ALL\r\nb UID SORT RETURN (MIN MAX COUNT ALL SAVE) (SIZE ARRIVAL CC TO FROM DISPLAYTO) US-ASCII 1:* SEEN\r\nc THREAD ORDEREDSUBJECT UTF-8 ALL\r\nd FETCH $ UID\r\n",
		"a SEARCH RETURN (PARTIAL -1:-5 SAVE) ALL\r\nb UID FETCH 1:* FLAGS (PARTIAL 2:4294967295)\r\nc UID SORT RETURN (PARTIAL 9:1 MIN) (SIZE) UTF-8 ALL\r\nd FETCH $ UID\r\n",
		"a THREAD REFERENCES UTF-8 ALL\r\nb ENABLE UIDONLY\r\nc UID FETCH 1:* (UID FLAGS)\r\nd UID STORE 1 +FLAGS (\\Deleted)\r\ne EXPUNGE\r\nf UID SEARCH UIDBEFORE 3 UIDAFTER 1\r\n",
		"a NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge)) (personal (MailboxName MessageNew MessageExpunge FlagChange))\r\nb CREATE x\r\nc APPEND INBOX {5+}\r\nhello\r\nd IDLE\r\nDONE\r\ne NOTIFY NONE\r\n",
		"a ESEARCH IN (personal subtree INBOX) RETURN (ALL COUNT PARTIAL 1:2) UID 1:*\r\nb ESEARCH RETURN (SAVE) 1\r\nc ESEARCH IN (mailboxes (Sent Nope)) TEXT one\r\n",
		"a APPEND INBOX CATENATE (URL \"/INBOX/;UID=1/;SECTION=1.MIME/;PARTIAL=0.5\" TEXT {5+}\r\nhello URL \"/Nope/;UID=1\") CATENATE (TEXT {1+}\r\na)\r\n",
		"a COMPRESS DEFLATE\r\n",
		"a SETACL INBOX bob +lrc\r\nb GETACL INBOX\r\nc LISTRIGHTS INBOX anyone\r\nd MYRIGHTS \"Other Users/bob@example.test/INBOX\"\r\ne DELETEACL INBOX {3+}\r\nbob\r\n",
		"a SELECT \"Other Users/bob@example.test/INBOX\"\r\nb LIST \"Other Users/\" (% \"b=@*\") RETURN (MYRIGHTS STATUS (MESSAGES))\r\nc COPY 1 \"Other Users/=2F@x/a\"\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		g := fuzzGateway(t)
		play(t, g, append([]byte("x LOGIN alice secret\r\ny SELECT INBOX\r\n"), input...))
		play(t, g, input)
	})
}

// words make commands that are mostly right.
var words = struct{ commands, sets, items, names, keys, flags []string }{
	commands: []string{"FETCH", "UID FETCH", "STORE", "UID STORE", "SEARCH", "UID SEARCH", "COPY", "UID MOVE", "EXPUNGE", "NOOP", "SELECT", "LIST", "APPEND", "STATUS", "IDLE", "CREATE", "DELETE"},
	sets:     []string{"1", "1:*", "*", "2:1", "1,3", "$", "4294967295", "5:*"},
	items:    []string{"FLAGS", "UID", "ENVELOPE", "BODY", "BODY[]", "BODY.PEEK[1]", "BODY[2.MIME]", "BINARY[2]", "RFC822.SIZE", "BODY[HEADER.FIELDS (SUBJECT)]<1.5>"},
	names:    []string{"INBOX", "Sent", "Nope", `"a b"`, "inbox", "Trash"},
	keys:     []string{"ALL", "UNSEEN", "1:2", "SUBJECT one", "NOT SEEN", "OR SEEN UID 1", "LARGER 10", "BODY first", "SINCE 1-Jan-2020"},
	flags:    []string{`\Seen`, `\Deleted`, "$a", "b"},
}

func randomCommand(r *rand.Rand) string {
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	switch name := pick(words.commands); name {
	case "FETCH", "UID FETCH":
		return name + " " + pick(words.sets) + " (" + pick(words.items) + " " + pick(words.items) + ")"
	case "STORE", "UID STORE":
		return name + " " + pick(words.sets) + " " + pick([]string{"", "+", "-"}) + "FLAGS" + pick([]string{"", ".SILENT"}) + " (" + pick(words.flags) + ")"
	case "SEARCH", "UID SEARCH":
		return name + pick([]string{" ", " RETURN () ", " RETURN (SAVE COUNT) "}) + pick(words.keys) + " " + pick(words.keys)
	case "COPY", "UID MOVE":
		return name + " " + pick(words.sets) + " " + pick(words.names)
	case "SELECT", "CREATE", "DELETE":
		return name + " " + pick(words.names)
	case "LIST":
		return `LIST "" *`
	case "APPEND":
		return "APPEND " + pick(words.names) + " {5+}\r\nhello"
	case "STATUS":
		return "STATUS " + pick(words.names) + " (MESSAGES UIDNEXT)"
	case "IDLE":
		return "IDLE\r\nDONE"
	default:
		return name
	}
}

// beside tells whether a command may be answered before one that was sent earlier.
func beside(command string) bool {
	return slices.ContainsFunc([]string{"FETCH ", "UID FETCH ", "SEARCH ", "UID SEARCH ", "LIST ", "STATUS "}, func(name string) bool { return strings.HasPrefix(command, name) })
}

// TestRandomConversations sends many commands that are mostly right, and checks that each is answered once, in order unless it only reads.
func TestRandomConversations(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		g := fuzzGateway(t)
		var input strings.Builder
		input.WriteString("t0 LOGIN alice secret\r\n")
		reads := map[int]bool{}
		const commands = 150
		for i := 1; i <= commands; i++ {
			if i%9 == 0 { // keeps the count of bad commands low
				fmt.Fprintf(&input, "t%d NOOP\r\n", i)
				continue
			}
			command := randomCommand(r)
			reads[i] = beside(command)
			fmt.Fprintf(&input, "t%d %s\r\n", i, command)
		}
		out := play(t, g, []byte(input.String()))
		answered := map[int]bool{}
		for line := range strings.SplitSeq(out, "\r\n") {
			var tag int
			var status string
			if n, err := fmt.Sscanf(line, "t%d %s", &tag, &status); n != 2 || err != nil {
				continue
			}
			if answered[tag] {
				t.Fatalf("seed %d: two answers to t%d came", seed, tag)
			}
			if !reads[tag] && len(answered) != tag {
				t.Fatalf("seed %d: answer to t%d came when %d were answered:\n%s\n%s", seed, tag, len(answered), input.String(), out)
			}
			answered[tag] = true
		}
		if len(answered) != commands+1 && !strings.Contains(out, "* BYE") {
			t.Fatalf("seed %d: %d of %d commands were answered:\n%s", seed, len(answered), commands+1, out[max(0, len(out)-2000):])
		}
	}
}
