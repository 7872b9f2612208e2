package session

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

var (
	// errInterrupted ends the wait for a command when the session is to leave.
	errInterrupted = errors.New("interrupted")
	// errNudged ends it when there is something to tell meanwhile.
	errNudged = errors.New("nudged")
	// errQuiet ends it when the client is silent and rest can wait for it. Then the wait is to be made again.
	errQuiet = errors.New("the client is silent")
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
	quiet       bool  // a read does not wait, but gives errQuiet
	rested      bool  // rest has waited for the read that comes
	restless    error // how rest ended; nil: the client has sent something

	socket syscall.RawConn // below conn, for rest; nil if it cannot be waited for
}

func newTimedConn(conn net.Conn, writeTimeout time.Duration, now func() time.Time) *timedConn {
	return &timedConn{conn: conn, writeTimeout: writeTimeout, now: now, socket: socketOf(conn)}
}

// await allows reads until a time, and lets interrupt end them. With quiet they may end with errQuiet.
func (c *timedConn) await(until time.Time, quiet bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(until, quiet)
	c.watching = false
}

// watch is await with quiet, and lets nudge end a read, too. Such a read may be made again: nothing is lost.
func (c *timedConn) watch(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(until, true)
	c.watching = true
}

// begin begins a wait, or goes on with one after a rest. The lock is held.
func (c *timedConn) begin(until time.Time, quiet bool) {
	if !c.rested {
		c.until, c.nudged = until, false
	}
	c.stall, c.waiting = 0, true
	c.quiet = quiet && c.socket != nil
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
	c.quiet, c.rested = false, false
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
	conn, atOnce, err := c.arm()
	if err != nil {
		return 0, err
	}
	n, err := conn.Read(p)
	if err != nil && n == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if why := c.calledLocked(); why != nil {
			err = why
		} else if atOnce && timedOut(err) {
			if err = conn.SetReadDeadline(c.until); err == nil {
				err = errQuiet
			}
		}
	}
	return n, err
}

// rest waits after errQuiet, until the read that comes need not: the client has sent something, or the wait is over. It waits for the socket alone: below TLS, and on
// little of a stack.
func (c *timedConn) rest() {
	err := c.socket.Read(readable)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rested, c.restless = true, err
}

// arm sets the deadline of the next read. It holds the lock while it does, so that it cannot undo an interrupt. atOnce: the read gives what is there already, in TLS.
func (c *timedConn) arm() (conn net.Conn, atOnce bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rested := c.rested
	c.rested = false
	if why := c.calledLocked(); why != nil {
		return nil, false, why
	}
	if rested && c.restless != nil {
		return nil, false, c.restless
	}
	if c.quiet && !rested {
		return c.conn, true, c.conn.SetReadDeadline(time.Unix(1, 0))
	}
	deadline := c.until
	if c.stall > 0 {
		if d := c.now().Add(c.stall); deadline.IsZero() || d.Before(deadline) {
			deadline = d
		}
	}
	return c.conn, false, c.conn.SetReadDeadline(deadline)
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
