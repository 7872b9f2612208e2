package session

import (
	"errors"
	"net"
	"sync"
	"time"
)

var (
	// errInterrupted ends the wait for a command when the session is to leave.
	errInterrupted = errors.New("interrupted")
	// errNudged ends it when there is something to tell meanwhile.
	errNudged = errors.New("nudged")
)

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
	watching    bool // nudges count
	nudged      bool
}

// await allows reads until a time, and lets interrupt end them.
func (c *timedConn) await(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.stall, c.waiting = until, 0, true
	c.watching, c.nudged = false, false
}

// watch is await, and lets nudge end a read, too. Such a read may be made again: nothing is lost.
func (c *timedConn) watch(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.stall, c.waiting = until, 0, true
	c.watching, c.nudged = true, false
}

// nudge ends one read of a session that watches, this one or the next.
func (c *timedConn) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching {
		c.nudged = true
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // a closed connection needs no waking
	}
}

// limit allows reads until a time (zero: no end), each at most stall long. interrupt has no effect now.
func (c *timedConn) limit(until time.Time, stall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.stall, c.waiting = until, stall, false
	c.watching, c.nudged = false, false
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
	if err != nil && n == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if why := c.calledLocked(); why != nil {
			err = why
		}
	}
	return n, err
}

// arm sets the deadline of the next read. It holds the lock while it does, so that it cannot undo an interrupt.
func (c *timedConn) arm() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := c.calledLocked(); why != nil {
		return nil, why
	}
	deadline := c.until
	if c.stall > 0 {
		if d := c.now().Add(c.stall); deadline.IsZero() || d.Before(deadline) {
			deadline = d
		}
	}
	return c.conn, c.conn.SetReadDeadline(deadline)
}

// calledLocked tells who wants the wait to end; nil: nobody.
func (c *timedConn) calledLocked() error {
	switch {
	case c.waiting && c.interrupted:
		return errInterrupted
	case c.nudged:
		c.nudged = false
		return errNudged
	}
	return nil
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
