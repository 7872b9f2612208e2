package session

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errInterrupted ends the wait for a command when the session is to leave.
var errInterrupted = errors.New("interrupted")

// timedConn gives each read and each write of a connection a deadline, so that neither a client that stalls nor
// one that does not read holds a session for ever.
type timedConn struct {
	writeTimeout time.Duration
	now          func() time.Time

	mu          sync.Mutex
	conn        net.Conn
	until       time.Time     // no read lasts longer than that; zero: for ever
	stall       time.Duration // nor does one read take longer; 0: as long as it likes
	waiting     bool          // between commands
	interrupted bool
}

// await allows reads until a time, and lets interrupt end them.
func (c *timedConn) await(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.stall, c.waiting = until, 0, true
}

// limit allows reads until a time (zero: no end), each at most stall long. interrupt has no effect now.
func (c *timedConn) limit(until time.Time, stall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.stall, c.waiting = until, stall, false
}

// interrupt ends reads while the session waits, now and later.
func (c *timedConn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.waiting {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // a closed connection needs no waking
	}
}

// Read implements io.Reader.
func (c *timedConn) Read(p []byte) (int, error) {
	conn, err := c.arm()
	if err != nil {
		return 0, err
	}
	n, err := conn.Read(p)
	if err != nil && n == 0 && c.stopped() {
		err = errInterrupted
	}
	return n, err
}

// arm sets the deadline of the next read. It holds the lock while it does, so that it cannot undo an interrupt.
func (c *timedConn) arm() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && c.interrupted {
		return nil, errInterrupted
	}
	deadline := c.until
	if c.stall > 0 {
		if d := c.now().Add(c.stall); deadline.IsZero() || d.Before(deadline) {
			deadline = d
		}
	}
	return c.conn, c.conn.SetReadDeadline(deadline)
}

func (c *timedConn) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting && c.interrupted
}

// Write implements io.Writer.
func (c *timedConn) Write(p []byte) (int, error) {
	conn := c.inner()
	if err := conn.SetWriteDeadline(c.now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	return conn.Write(p)
}

func (c *timedConn) inner() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// replace puts a TLS connection over the plain one.
func (c *timedConn) replace(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
