// Package wire is the connection under an SMTP session: its time limits, and how it is left politely.
package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// ErrMessageTimeout is what reading gives when a message's time is over. It is an answer, because go-smtp shows errors that are none to the client.
var ErrMessageTimeout = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "The message took too long"}

// Timeouts of a connection.
type Timeouts struct {
	// Command is how long a client may be silent between commands (RFC 5321 section 4.5.3.2.7: 5 minutes).
	Command time.Duration
	// Data is how long it may be silent within a message (section 4.5.3.2.5: 3 minutes).
	Data time.Duration
	// Message is how long one message may take in all.
	Message time.Duration
	// Write is how long the client may take to read an answer.
	Write time.Duration
}

// Conn bounds the time of every read and write, and ends a session between commands when asked to. Deadlines that others set on it are
// ignored.
type Conn struct {
	net.Conn
	timeouts Timeouts
	since    time.Time

	mu       sync.Mutex
	awaiting bool      // a command is awaited
	message  time.Time // when the message that is coming in must be whole; zero between messages
	farewell func()    // writes the last answer
	removed  func()    // tells the register of sessions that this one has gone
	expired  bool      // a message took too long: nothing more is read
	leaving  bool
	left     bool
	closed   bool
}

// newConn wraps a connection, which is left without a word until OnLeave.
func newConn(c net.Conn, t Timeouts) *Conn {
	return &Conn{Conn: c, timeouts: t, since: time.Now(), farewell: func() {}, removed: func() {}}
}

// Since is when the connection was made.
func (c *Conn) Since() time.Time { return c.since }

// onClose sets what is called when the connection is closed, any number of times; at once if it is closed already.
func (c *Conn) onClose(removed func()) {
	c.mu.Lock()
	c.removed = removed
	closed := c.closed
	c.mu.Unlock()
	if closed {
		removed()
	}
}

// OnLeave sets how the session says goodbye. farewell is called on any goroutine.
func (c *Conn) OnLeave(farewell func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.farewell = farewell
}

// BeginMessage says that a message comes in from now on: Leave waits for its end.
func (c *Conn) BeginMessage() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message = time.Now().Add(c.timeouts.Message)
}

// EndMessage says that the message is whole or given up.
func (c *Conn) EndMessage() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message = time.Time{}
}

// Read implements net.Conn. After the end of a message's time it gives io.EOF: the answer can still be written.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.enterRead(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaiting = false
	if c.left && err != nil {
		return n, io.EOF
	}
	// go-smtp skips the rest of a message that failed: a client must not stay there for ever by sending an octet now and then.
	if !c.message.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) {
		c.expired = true
		return n, ErrMessageTimeout
	}
	return n, err
}

// enterRead sets the deadline of a read. It gives io.EOF if nothing more is to be read.
func (c *Conn) enterRead() error {
	c.mu.Lock()
	if c.expired {
		c.mu.Unlock()
		return io.EOF
	}
	c.awaiting = c.message.IsZero()
	if c.awaiting && c.leaving {
		c.mu.Unlock()
		c.leave()
		return io.EOF
	}
	defer c.mu.Unlock()
	wait := c.timeouts.Command
	if !c.awaiting {
		wait = min(c.timeouts.Data, time.Until(c.message))
	}
	return c.Conn.SetReadDeadline(time.Now().Add(wait))
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeouts.Write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Leave implements listen.Session: it ends the session at the next point between commands.
func (c *Conn) Leave(string) {
	c.mu.Lock()
	c.leaving = true
	awaiting := c.awaiting
	c.mu.Unlock()
	if awaiting {
		go c.leave()
	}
}

// leave says goodbye and closes the connection, once.
func (c *Conn) leave() {
	c.mu.Lock()
	done := c.left
	c.left = true
	farewell := c.farewell
	c.mu.Unlock()
	if done {
		return
	}
	farewell()
	_ = c.Close()
}

// Close implements net.Conn and listen.Session.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	c.closed = true
	removed := c.removed
	c.mu.Unlock()
	removed()
	return err
}

// NetConn gives the connection below, as *tls.Conn does.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// SetDeadline does nothing: every read and write sets its own.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, as SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Unwrap finds the Conn below TLS, nil if there is none.
func Unwrap(c net.Conn) *Conn {
	for c != nil {
		if w, ok := c.(*Conn); ok {
			return w
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = inner.NetConn()
	}
	return nil
}
