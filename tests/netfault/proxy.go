// Package netfault stands between two processes as a network that can be cut, go silent or become slow.
package netfault

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// State is what a Link does.
type State struct {
	// Cut breaks connections and refuses new ones.
	Cut bool
	// Silent lets nothing through, and breaks nothing: as a cable that is pulled.
	Silent bool
	// Mute lets through what goes to the target and nothing that comes back; when it ends connections break, so that answers are lost.
	Mute bool
	// Delay is added to each piece of data, in each direction.
	Delay time.Duration
}

// Link is a proxy from an address of its own to another.
type Link struct {
	// From and To are names, for those who choose among links.
	From, To string

	target   string
	listener net.Listener

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed when the state changes
	conns   map[net.Conn]struct{}
	closed  bool
}

// New opens a link to target. The test's end closes it.
func New(tb testing.TB, from, to, target string) *Link {
	tb.Helper()
	var c net.ListenConfig
	listener, err := c.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("open link: %v", err)
	}
	l := &Link{From: from, To: to, target: target, listener: listener, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	var group sync.WaitGroup
	group.Go(func() { l.accept(&group) })
	tb.Cleanup(func() {
		l.close()
		group.Wait()
	})
	return l
}

// Addr is where the link takes connections.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Set changes what the link does.
func (l *Link) Set(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Cut || l.state.Mute {
		l.breakAll()
	}
	l.state = s
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) breakAll() {
	for c := range l.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // a reset, not an end
		_ = c.Close()
	}
}

func (l *Link) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.breakAll()
}

// now gives the state, and a channel that tells of the next one.
func (l *Link) now() (s State, changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.changed, l.closed
}

// add takes a connection in, if the link takes any.
func (l *Link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.state.Cut {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) remove(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}

func (l *Link) accept(group *sync.WaitGroup) {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		if l.add(c) {
			group.Go(func() {
				defer l.remove(c)
				l.serve(c)
			})
		}
	}
}

func (l *Link) serve(client net.Conn) {
	if !l.pass(false) {
		return
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	server, err := d.DialContext(context.Background(), "tcp", l.target)
	if err != nil || !l.add(server) {
		return
	}
	defer l.remove(server)
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, false) })
	both.Go(func() { l.copy(client, server, true) })
	both.Wait()
}

// copy passes data on until one side ends.
func (l *Link) copy(to, from net.Conn, back bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !l.pass(back) {
				break
			}
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err == io.EOF { //nolint:errorlint // of a net.Conn
			if half, ok := to.(*net.TCPConn); ok && l.pass(back) && half.CloseWrite() == nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

// pass waits as long as the link lets nothing through in this direction, and its delay. It tells whether the link is still open.
func (l *Link) pass(back bool) bool {
	for {
		s, changed, closed := l.now()
		switch {
		case closed:
			return false
		case s.Silent || s.Mute && back:
		default:
			time.Sleep(s.Delay)
			return true
		}
		<-changed
	}
}
