package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

const (
	bufferSize = 256 << 10
	patience   = 5 * time.Minute
)

// mail makes a mail of about n octets that does not compress well. No line begins with a dot.
func mail(n int) []byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	m := harness.Compose("Figures", "")
	line := make([]byte, 76)
	for len(m) < n {
		for i := range line {
			line[i] = digits[rand.IntN(len(digits))]
		}
		m = append(append(m, line...), "\r\n"...)
	}
	return m
}

// dialSMTP opens an SMTP session.
func dialSMTP(r *run, addr string) *smtp.Client {
	r.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(r, err)
	c := smtp.NewClient(conn)
	r.Cleanup(func() { _ = c.Close() })
	require.NoError(r, c.Hello("client.example"))
	return c
}

func send(c *smtp.Client, message []byte, to ...string) error {
	if err := c.Mail("sender@elsewhere.example", &smtp.MailOptions{Size: int64(len(message))}); err != nil {
		return err
	}
	for _, address := range to {
		if err := c.Rcpt(address, nil); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	return w.Close()
}

// stream is a client that throws away what it need not look at, so that it takes little of the processor that it shares with the server.
type stream struct {
	r    *run
	conn net.Conn
	br   *bufio.Reader
	tag  int
}

func dial(r *run, addr string) *stream {
	r.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(r, err)
	r.Cleanup(func() { _ = conn.Close() })
	return newStream(r, conn)
}

func newStream(r *run, conn net.Conn) *stream {
	s := &stream{r: r, conn: conn, br: bufio.NewReaderSize(conn, bufferSize)}
	require.NoError(r, conn.SetDeadline(time.Now().Add(patience)))
	s.line() // the greeting
	return s
}

func (s *stream) send(text string) {
	s.r.Helper()
	_, err := io.WriteString(s.conn, text)
	require.NoError(s.r, err)
}

// line reads a line. It is valid until the next.
func (s *stream) line() []byte {
	s.r.Helper()
	line, err := s.br.ReadSlice('\n')
	require.NoError(s.r, err)
	return line
}

// imap logs in over IMAP.
func imap(r *run, addr, user, password string) *stream {
	r.Helper()
	s := dial(r, addr)
	s.do(fmt.Sprintf("LOGIN %s %q", user, password))
	return s
}

// alice logs alice in on Yubin.
func alice(r *run, s *harness.System) *stream {
	r.Helper()
	return imap(r, s.IMAP[0], harness.Address("alice"), harness.Password)
}

var literal = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// do runs an IMAP command, which must succeed, and gives how many octets the server answered.
func (s *stream) do(command string) (octets int) {
	s.r.Helper()
	s.tag++
	tag := "a" + strconv.Itoa(s.tag) + " "
	s.send(tag + command + "\r\n")
	for {
		line := s.line()
		octets += len(line)
		if bytes.HasPrefix(line, []byte(tag)) {
			require.True(s.r, bytes.HasPrefix(line, []byte(tag+"OK")), "%.60s: %s", command, line)
			return octets
		}
		octets += s.literal(line)
	}
}

// literal passes over the literal that a line announces, if it does, and gives how many octets it had.
func (s *stream) literal(line []byte) int {
	s.r.Helper()
	if !bytes.HasSuffix(line, []byte("}\r\n")) {
		return 0
	}
	size := literal.FindSubmatch(line)
	if size == nil {
		return 0
	}
	n, err := strconv.Atoi(string(size[1]))
	require.NoError(s.r, err)
	_, err = s.br.Discard(n)
	require.NoError(s.r, err)
	return n
}

// append appends a message with a literal that does not wait (RFC 7888).
func (s *stream) append(message []byte) {
	s.r.Helper()
	s.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(message), message))
}

// until reads lines until one ends with the words.
func (s *stream) until(words string) {
	s.r.Helper()
	for !strings.HasSuffix(string(s.line()), words+"\r\n") { // the condition reads
	}
}

// fill brings a mailbox, which is selected, to n mails: it sends a few and copies them.
func (s *stream) fill(n int, deliver func()) {
	s.r.Helper()
	have := min(n, 20)
	for range have {
		deliver()
	}
	s.do("SELECT INBOX")
	for have < n {
		more := min(have, n-have)
		s.do(fmt.Sprintf("COPY 1:%d INBOX", more))
		have += more
	}
	s.do("UNSELECT")
}

// pop3 opens alice's maildrop.
func pop3(r *run, s *harness.System) *stream {
	p := dial(r, s.POP3)
	for _, command := range []string{"USER " + harness.Address("alice"), "PASS " + harness.Password} {
		p.send(command + "\r\n")
		require.Equal(r, byte('+'), p.line()[0])
	}
	return p
}

// retrieve downloads the first message and gives its octets.
func (s *stream) retrieve() (octets int) {
	s.send("RETR 1\r\n")
	require.Equal(s.r, byte('+'), s.line()[0])
	const end = "\r\n.\r\n"
	for {
		_, err := s.br.Peek(len(end))
		require.NoError(s.r, err)
		n := s.br.Buffered()
		got, err := s.br.Peek(n)
		require.NoError(s.r, err)
		if bytes.HasSuffix(got, []byte(end)) {
			octets += n - len(".\r\n")
			_, err = s.br.Discard(n)
			require.NoError(s.r, err)
			return octets
		}
		_, err = s.br.Discard(n - len(end) + 1) // what is left may begin the end
		require.NoError(s.r, err)
		octets += n - len(end) + 1
	}
}
