package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/config"
)

const (
	// headerTimeout is how long a trusted proxy may take to send the PROXY header.
	headerTimeout = 5 * time.Second
	// refuseTimeout is how long OnRefuse may take to tell a client why it is refused.
	refuseTimeout = time.Second
	// maxRefusing bounds the clients being told at a time; others are just closed.
	maxRefusing = 128
	// acceptBackoff is the longest pause after a failed accept, such as for want of file descriptors.
	acceptBackoff = time.Second
)

// Options of Open.
type Options struct {
	Name    string   // metric label, such as "imaps"
	Limiter *Limiter // shared by the listeners of a gateway; required
	Metrics *Metrics // required
	Log     *slog.Logger
	// Proxy says that every connection comes from a proxy in TrustedProxies, begins with a PROXY
	// header of version 1 or 2, and is its client's, not the proxy's. Others are refused.
	Proxy          bool
	TrustedProxies config.Prefixes
	// OnRefuse may tell a client over the limits why it is refused, such as with 421. The connection has a
	// write deadline of a second and is closed afterwards. Leave it nil where TLS comes first.
	OnRefuse func(net.Conn)
}

// Open listens on addr (host:port). The connections it accepts have passed the limits, and
// their RemoteAddr is the client's, also behind a proxy.
func Open(ctx context.Context, addr string, opts Options) (net.Listener, error) {
	inner, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open %s listener: %w", opts.Name, err)
	}
	return wrap(inner, opts), nil
}

// Explain adds to the error of a listener which flag changes its address, if another program has it.
func Explain(flag string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("--%s: another program has this port, perhaps a Yubin that runs already: %w", flag, err)
	}
	return err
}

// wrap puts limits and the PROXY protocol over any listener.
func wrap(inner net.Listener, opts Options) *listener {
	l := &listener{
		Listener: inner,
		opts:     opts,
		ready:    make(chan net.Conn),
		closed:   make(chan struct{}),
		refusing: make(chan struct{}, maxRefusing),
	}
	l.metrics()
	go l.loop()
	return l
}

type listener struct {
	net.Listener
	opts     Options
	ready    chan net.Conn
	refusing chan struct{}

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

// metrics makes the listener's series exist from the start.
func (l *listener) metrics() {
	l.opts.Metrics.open.WithLabelValues(l.opts.Name)
	l.opts.Metrics.accepted.WithLabelValues(l.opts.Name)
	for _, reason := range []string{reasonTotal, reasonNetwork, reasonUntrusted, reasonHeader} {
		l.opts.Metrics.refused.WithLabelValues(l.opts.Name, reason)
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that were accepted stay open.
func (l *listener) Close() error {
	l.closeOnce.Do(func() {
		close(l.closed)
		l.closeErr = l.Listener.Close()
	})
	return l.closeErr
}

// loop takes connections from the network until the listener is closed.
func (l *listener) loop() {
	pause := time.Duration(0)
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				_ = l.Close()
				return
			}
			pause = min(max(2*pause, 5*time.Millisecond), acceptBackoff)
			l.opts.Log.Error("accept failed", "listener", l.opts.Name, "error", err, "retry", pause)
			select {
			case <-time.After(pause):
			case <-l.closed:
				return
			}
			continue
		}
		pause = 0
		l.admit(c)
	}
}

// admit must not block: what waits for the client is done elsewhere.
func (l *listener) admit(c net.Conn) {
	if l.opts.Proxy && !l.opts.TrustedProxies.Contains(addrOf(c.RemoteAddr())) {
		// Whoever may say which client it is must be trusted (PROXY protocol, section 2).
		l.refuse(c, reasonUntrusted)
		return
	}
	if !l.opts.Limiter.acquireTotal() {
		l.refuse(c, reasonTotal)
		return
	}
	go l.identify(c)
}

// identify finds out who the client is, and hands its connection to Accept.
func (l *listener) identify(raw net.Conn) {
	c := raw
	if l.opts.Proxy {
		pc := proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(headerTimeout))
		if pc.ProxyHeader() == nil {
			l.opts.Limiter.releaseTotal()
			l.refuse(raw, reasonHeader)
			return
		}
		c = pc
	}
	network := l.opts.Limiter.network(addrOf(c.RemoteAddr()))
	if !l.opts.Limiter.acquireNetwork(network) {
		l.opts.Limiter.releaseTotal()
		l.refuse(c, reasonNetwork)
		return
	}
	open := l.opts.Metrics.open.WithLabelValues(l.opts.Name)
	open.Inc()
	counted := &conn{Conn: c, in: l.opts.Metrics.in, out: l.opts.Metrics.out, release: func() {
		open.Dec()
		l.opts.Limiter.releaseNetwork(network)
		l.opts.Limiter.releaseTotal()
	}}
	select {
	case l.ready <- counted:
		l.opts.Metrics.accepted.WithLabelValues(l.opts.Name).Inc()
	case <-l.closed:
		_ = counted.Close()
	}
}

// refuse closes a connection, after OnRefuse has had its say if the client is one that should hear it.
func (l *listener) refuse(c net.Conn, reason string) {
	l.opts.Metrics.refused.WithLabelValues(l.opts.Name, reason).Inc()
	l.opts.Log.Debug("connection refused", "listener", l.opts.Name, "reason", reason)
	if l.opts.OnRefuse == nil || reason == reasonUntrusted || reason == reasonHeader {
		_ = c.Close()
		return
	}
	select {
	case l.refusing <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	go func() {
		defer func() { <-l.refusing }()
		defer func() { _ = c.Close() }()
		if c.SetDeadline(time.Now().Add(refuseTimeout)) == nil {
			l.opts.OnRefuse(c)
		}
	}()
}

// conn counts octets, and gives its places back when it is closed.
type conn struct {
	net.Conn
	in, out prometheus.Counter
	once    sync.Once
	release func()
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(float64(n))
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(float64(n))
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// NetConn gives the connection below, as *tls.Conn does.
func (c *conn) NetConn() net.Conn { return c.Conn }

func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		addr, _ := netip.AddrFromSlice(tcp.IP)
		return addr.Unmap()
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
