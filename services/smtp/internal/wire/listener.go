package wire

import (
	"net"

	"github.com/yubin-mail/yubin/pkg/listen"
)

// Listener wraps the connections of a listener in Conn and registers them as sessions for draining.
type Listener struct {
	net.Listener
	Timeouts Timeouts
	Sessions *listen.Sessions
	// Farewell is the last answer to a client that has not said who it is; empty where TLS comes first.
	Farewell string
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newConn(inner, l.Timeouts)
	if l.Farewell != "" {
		c.OnLeave(func() { _, _ = c.Write([]byte(l.Farewell)) })
	}
	c.onClose(l.Sessions.Add(c))
	return c, nil
}
