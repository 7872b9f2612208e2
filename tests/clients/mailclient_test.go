package clients

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// conversation is a connection over which a test says what a mail program says, word for word.
type conversation struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	w    io.Writer
	tag  int
	// hear is told each untagged answer, in order.
	hear func(answer)
}

// answer is one line of a server, without CRLF. Where it has literals, line has {#0}, {#1}, … instead.
type answer struct {
	line     string
	literals []string
}

// talk connects without TLS and reads the greeting.
func talk(t *testing.T, addr string) *conversation {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	c := &conversation{t: t, conn: conn, r: bufio.NewReader(conn), w: conn, hear: func(answer) {}}
	require.Regexp(t, `^\* OK `, c.read().line)
	return c
}

var announced = regexp.MustCompile(`~?\{(\d+)\}$`)

func (c *conversation) read() (a answer) {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		require.NoError(c.t, err, "after %q", a.line)
		require.True(c.t, strings.HasSuffix(line, "\r\n"), "%q", line)
		a.line += strings.TrimSuffix(line, "\r\n")
		m := announced.FindStringSubmatch(a.line)
		if m == nil {
			return a
		}
		n, err := strconv.Atoi(m[1])
		require.NoError(c.t, err)
		literal := make([]byte, n)
		_, err = io.ReadFull(c.r, literal)
		require.NoError(c.t, err)
		a.line = strings.TrimSuffix(a.line, m[0]) + fmt.Sprintf("{#%d}", len(a.literals))
		a.literals = append(a.literals, string(literal))
	}
}

// send sends as it is.
func (c *conversation) send(s string) {
	c.t.Helper()
	_, err := io.WriteString(c.w, s)
	require.NoError(c.t, err)
}

// wait reads until a line begins with a prefix, and gives that one.
func (c *conversation) wait(prefix string) string {
	c.t.Helper()
	for {
		a := c.read()
		if strings.HasPrefix(a.line, prefix) {
			return a.line
		}
		require.True(c.t, strings.HasPrefix(a.line, "* "), "%q while waiting for %q", a.line, prefix)
		c.hear(a)
	}
}

// say sends a command and gives the tagged answer, without the tag.
func (c *conversation) say(format string, args ...any) string {
	c.t.Helper()
	c.tag++
	c.send(fmt.Sprintf("%d %s\r\n", c.tag, fmt.Sprintf(format, args...)))
	return c.end()
}

// end waits for the end of the command.
func (c *conversation) end() string {
	c.t.Helper()
	tag := strconv.Itoa(c.tag) + " "
	return strings.TrimPrefix(c.wait(tag), tag)
}

// ok is say for what must succeed.
func (c *conversation) ok(format string, args ...any) string {
	c.t.Helper()
	got := c.say(format, args...)
	require.True(c.t, strings.HasPrefix(got, "OK"), "%s: %s", fmt.Sprintf(format, args...), got)
	return got
}

// startTLS goes on over TLS.
func (c *conversation) startTLS(s *harness.System) {
	c.t.Helper()
	c.ok("STARTTLS")
	conn := tls.Client(c.conn, s.TLS(c.t))
	require.NoError(c.t, conn.HandshakeContext(c.t.Context()))
	c.conn, c.r, c.w = conn, bufio.NewReader(conn), conn
}

// authenticate logs in by PLAIN, the answer after the continuation.
func (c *conversation) authenticate(name string) {
	c.t.Helper()
	c.tag++
	c.send(fmt.Sprintf("%d authenticate PLAIN\r\n", c.tag))
	c.wait("+")
	c.send(base64.StdEncoding.EncodeToString([]byte("\x00"+harness.Address(name)+"\x00"+harness.Password)) + "\r\n")
	require.Regexp(c.t, `^OK `, c.end())
}

// compress goes on with DEFLATE: RFC 4978.
func (c *conversation) compress() {
	c.t.Helper()
	c.ok("COMPRESS DEFLATE")
	w, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	require.NoError(c.t, err)
	c.w, c.r = flushing{w}, bufio.NewReader(flate.NewReader(c.r))
}

type flushing struct{ *flate.Writer }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}
