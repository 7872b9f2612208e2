package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// Options of Open.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	// Refusal is the line that a client over the limits is sent, with its CRLF, where TLS does not come first.
	Refusal string
}

// Gateway is the listeners of a gateway, open, and the sessions that came in by them.
type Gateway struct {
	// TLS is the configuration of --<service>-tls-cert, nil without one.
	TLS *tls.Config
	// Sessions are those that are asked to leave when the gateway stops.
	Sessions *listen.Sessions

	cfg   Config
	log   *slog.Logger
	ports []Port
}

// Port is an open listener. Its connections have passed the limits.
type Port struct {
	net.Listener
	Name string
	// TLS says that connections begin with a handshake, which is left to the session.
	TLS bool

	flag, addr   string
	login, proxy bool
}

// Open opens the listeners of a service that have an address, all or none. Run must be called to serve and to close them.
func Open(ctx context.Context, service string, cfg Config, listeners []Listener, opts Options) (*Gateway, error) {
	g := &Gateway{Sessions: listen.NewSessions(), cfg: cfg, log: opts.Log}
	if cfg.TLSCert != "" {
		var err error
		if g.TLS, err = tlsconf.Load(cfg.TLSCert, cfg.TLSKey, tlsconf.Options{Log: opts.Log, Registerer: opts.Registerer}); err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		g.TLS.VerifyConnection = countHandshakes(opts.Registerer, service)
	}
	limiter, metrics := listen.NewLimiter(cfg.Limits), listen.NewMetrics(opts.Registerer, service)
	telemetry.Register(opts.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "yubin", Subsystem: service, Name: "connections_max", Help: "Most connections that are open at a time, as configured.",
	})).Set(float64(cfg.Limits.MaxConns))
	for _, p := range enabled(listeners) {
		options := listen.Options{
			Name: p.Name, Limiter: limiter, Metrics: metrics, Log: opts.Log, Proxy: p.proxy, TrustedProxies: cfg.TrustedProxies,
		}
		if !p.TLS {
			options.OnRefuse = func(c net.Conn) { _, _ = io.WriteString(c, opts.Refusal) }
		}
		var err error
		if p.Listener, err = listen.Open(ctx, p.addr, options); err != nil {
			g.close()
			return nil, listen.Explain(p.flag, err)
		}
		g.ports = append(g.ports, p)
	}
	return g, nil
}

// Addr is where the listener of a name listens, nil if it is off.
func (g *Gateway) Addr(name string) net.Addr {
	for _, p := range g.ports {
		if p.Name == name {
			return p.Addr()
		}
	}
	return nil
}

// Run calls serve for each port, and ends when ctx does or one of them fails. Then it closes the listeners and asks the sessions to leave,
// spread over the drain window; those that stay longer than the drain timeout are closed. serve returns after net.ErrClosed. Its
// context outlives ctx: it ends when all sessions have left or were closed, which is when Run waits for serve to return.
func (g *Gateway) Run(ctx context.Context, serve func(ctx context.Context, p Port) error) error {
	sessions, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, len(g.ports))
	var running sync.WaitGroup
	for _, p := range g.ports {
		g.log.Info("listening", "listener", p.Name, "address", p.Addr().String())
		running.Go(func() {
			if err := serve(sessions, p); err != nil && !errors.Is(err, net.ErrClosed) {
				failed <- fmt.Errorf("serve %s: %w", p.Name, err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	g.drain(sessions)
	cancel()
	running.Wait()
	return err
}

// Accept serves every connection of a port on a goroutine of its own. It returns when the port is closed and all of them have ended. A
// session that panics does not take the others with it.
func (g *Gateway) Accept(p Port, serve func(c net.Conn)) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		c, err := p.Accept()
		if err != nil {
			return err
		}
		running.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					_ = c.Close()
					g.log.Error("session panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				}
			}()
			serve(c)
		})
	}
}

func (g *Gateway) drain(ctx context.Context) {
	g.close()
	ctx, cancel := context.WithTimeout(ctx, g.cfg.DrainWindow+g.cfg.DrainTimeout)
	defer cancel()
	if forced := g.Sessions.Drain(ctx, g.cfg.DrainWindow, "server is shutting down, connect again"); forced > 0 {
		g.log.Warn("sessions were cut", "count", forced)
	}
}

func (g *Gateway) close() {
	for _, p := range g.ports {
		_ = p.Close()
	}
}
