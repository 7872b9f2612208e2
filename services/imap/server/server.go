package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/session"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// Deps are what the gateway needs from outside.
type Deps struct {
	Directory  directoryv1.DirectoryServiceClient
	Quota      quotav1.QuotaServiceClient
	Storage    storagev1.StorageServiceClient
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time
	// Version is told to clients that ask by ID.
	Version string
}

// Server is the IMAP gateway with its listeners open.
type Server struct {
	cfg      Config
	log      *slog.Logger
	views    *view.Manager
	engine   *session.Engine
	sessions *listen.Sessions
	ports    []port
}

type port struct {
	name     string
	tls      bool
	listener net.Listener
}

// New opens the listeners; Components serves them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	var tlsConfig *tls.Config
	if cfg.TLSCert != "" {
		var err error
		if tlsConfig, err = tlsconf.Load(cfg.TLSCert, cfg.TLSKey, tlsconf.Options{Log: deps.Log, Registerer: deps.Registerer}); err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
	}
	s := &Server{cfg: cfg, log: deps.Log, sessions: listen.NewSessions()}
	if err := s.open(ctx, deps); err != nil {
		s.close()
		return nil, err
	}
	s.views = view.NewManager(deps.Storage, view.Options{Log: deps.Log, Registerer: deps.Registerer, PollInterval: cfg.PollInterval})
	s.engine = session.New(session.Options{
		Log: deps.Log, Registerer: deps.Registerer, Now: deps.Now,
		Storage: deps.Storage, Directory: deps.Directory, Quota: deps.Quota,
		Views: s.views, Sessions: s.sessions,
		TLS: tlsConfig, InsecureAuth: cfg.InsecureAuth, Hostname: cfg.Hostname, Version: deps.Version,
		Limits: session.Limits{
			LoginTimeout: cfg.LoginTimeout, Idle: cfg.IdleTimeout, Command: cfg.CommandTimeout, Stall: cfg.StallTimeout,
			Write: cfg.WriteTimeout, RPC: cfg.CallTimeout, Bulk: cfg.BulkTimeout, MessageSize: int64(cfg.MaxMessageSize),
			AccountSessions: cfg.AccountSessions, LoginFailures: cfg.LoginFailures, BadCommands: cfg.BadCommands,
		},
	})
	return s, nil
}

func (s *Server) open(ctx context.Context, deps Deps) error {
	limiter, metrics := listen.NewLimiter(s.cfg.Limits), listen.NewMetrics(deps.Registerer, "imap")
	for _, p := range []struct {
		name, addr string
		tls, proxy bool
	}{
		{"imap", s.cfg.Listen, false, false},
		{"imaps", s.cfg.TLSListen, true, false},
		{"imap-proxy", s.cfg.ProxyListen, false, true},
		{"imaps-proxy", s.cfg.TLSProxyListen, true, true},
	} {
		if p.addr == "" {
			continue
		}
		options := listen.Options{Name: p.name, Limiter: limiter, Metrics: metrics, Log: deps.Log, Proxy: p.proxy, TrustedProxies: s.cfg.TrustedProxies}
		if !p.tls {
			options.OnRefuse = func(c net.Conn) {
				_, _ = io.WriteString(c, "* BYE [UNAVAILABLE] too many connections, try again later\r\n")
			}
		}
		listener, err := listen.Open(ctx, p.addr, options)
		if err != nil {
			return err
		}
		s.ports = append(s.ports, port{p.name, p.tls, listener})
	}
	return nil
}

// Addr is where a listener listens: imap, imaps, imap-proxy or imaps-proxy. Nil if it is off.
func (s *Server) Addr(name string) net.Addr {
	for _, p := range s.ports {
		if p.name == name {
			return p.listener.Addr()
		}
	}
	return nil
}

// Components serves the listeners until the context ends, and then drains.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "imap", Run: s.run}}
}

func (s *Server) run(ctx context.Context) error {
	// Sessions outlive ctx: they are asked to leave. The views follow changes until the last one has.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var sessions, views sync.WaitGroup
	views.Go(func() { s.views.Run(base) })
	defer func() {
		cancel()
		s.views.Close()
		views.Wait()
	}()
	failed := make(chan error, len(s.ports))
	for _, p := range s.ports {
		s.log.Info("listening", "listener", p.name, "address", p.listener.Addr().String())
		sessions.Go(func() {
			if err := s.accept(base, p, &sessions); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.close()
	drain, stop := context.WithTimeout(base, s.cfg.DrainWindow+s.cfg.DrainTimeout)
	defer stop()
	if forced := s.sessions.Drain(drain, s.cfg.DrainWindow, "server is shutting down, connect again"); forced > 0 {
		s.log.Warn("sessions were cut", "count", forced)
	}
	cancel()
	sessions.Wait()
	return err
}

func (s *Server) accept(ctx context.Context, p port, sessions *sync.WaitGroup) error {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve %s: %w", p.name, err)
		}
		sessions.Go(func() { s.engine.Serve(ctx, conn, p.tls) })
	}
}

func (s *Server) close() {
	for _, p := range s.ports {
		_ = p.listener.Close()
	}
}
