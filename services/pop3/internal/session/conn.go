package session

import (
	"bufio"
	"net"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/services/pop3/internal/wire"
)

const writeBuffer = 32 << 10

// conn is a connection with a deadline on each write, that can be interrupted while it waits for a command.
type conn struct {
	writeTimeout time.Duration

	mu      sync.Mutex
	raw     net.Conn
	waiting bool // for a command
	stopped bool // no command is to be waited for any more
}

func newConn(c net.Conn, writeTimeout time.Duration) *conn {
	return &conn{raw: c, writeTimeout: writeTimeout}
}

func (c *conn) current() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw
}

// replace puts TLS over the connection.
func (c *conn) replace(over net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = over
}

// Read implements io.Reader.
func (c *conn) Read(p []byte) (int, error) { return c.current().Read(p) }

// Write implements io.Writer.
func (c *conn) Write(p []byte) (int, error) {
	raw := c.current()
	if err := raw.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	return raw.Write(p)
}

// wait begins to wait for a command until the deadline. It is false if the session is to end.
func (c *conn) wait(deadline time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = !c.stopped
	_ = c.raw.SetReadDeadline(deadline)
	return c.waiting
}

// got ends the waiting. It is false if the session is to end.
func (c *conn) got() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	return !c.stopped
}

// interrupt makes wait and got tell that the session is to end, and ends a wait. A command that runs is not disturbed.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.waiting {
		_ = c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close closes the connection.
func (c *conn) Close() error { return c.current().Close() }

// flushing writes what is pending before it reads: answers to pipelined commands (RFC 2449 section 6.6) go out together, and none is
// held back while the server waits for the client.
type flushing struct {
	*conn
	w *bufio.Writer
}

// Read implements io.Reader.
func (f flushing) Read(p []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.conn.Read(p)
}

// attach makes reader and writer anew. What the old reader has buffered is gone.
func (s *Session) attach(c *conn) {
	s.w = bufio.NewWriterSize(c, writeBuffer)
	s.r = wire.NewReader(flushing{c, s.w})
}
