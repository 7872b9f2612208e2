package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/pop3/internal/session"
)

// Deps is what the gateway needs.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Directory  directoryv1.DirectoryServiceClient
	Storage    storagev1.StorageServiceClient
}

// Server is the POP3 gateway.
type Server struct {
	config   Config
	log      *slog.Logger
	sessions *listen.Sessions
	server   *session.Server
	ports    []port
}

// port is one listener.
type port struct {
	name     string
	secure   bool // begins with TLS
	listener net.Listener
}

// New opens the listeners: "pop3", "pop3s", "pop3-proxy" and "pop3s-proxy", as far as they have an address. Components must be run to
// serve and to close them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	sessionConfig := session.Config{
		Hostname:        cfg.Hostname,
		InsecureAuth:    cfg.InsecureAuth,
		IdleTimeout:     cfg.IdleTimeout,
		WriteTimeout:    cfg.WriteTimeout,
		CallTimeout:     cfg.CallTimeout,
		LoginDelay:      cfg.LoginDelay,
		MaxAuthFailures: cfg.MaxAuthFailures,
		MaxBadCommands:  cfg.MaxBadCommands,
	}
	if cfg.TLSCert != "" {
		var err error
		sessionConfig.TLS, err = tlsconf.Load(cfg.TLSCert, cfg.TLSKey, tlsconf.Options{Log: deps.Log, Registerer: deps.Registerer})
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
	}
	s := &Server{
		config:   cfg,
		log:      deps.Log,
		sessions: listen.NewSessions(),
		server: session.NewServer(sessionConfig, session.Clients{Directory: deps.Directory, Storage: deps.Storage},
			deps.Log, session.NewMetrics(deps.Registerer)),
	}
	if err := s.open(ctx, deps.Registerer); err != nil {
		s.closeListeners()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, reg prometheus.Registerer) error {
	limiter, metrics := listen.NewLimiter(s.config.Limits), listen.NewMetrics(reg, "pop3")
	for _, p := range []struct {
		name, addr    string
		secure, proxy bool
	}{
		{"pop3", s.config.Listen, false, false},
		{"pop3s", s.config.TLSListen, true, false},
		{"pop3-proxy", s.config.ProxyListen, false, true},
		{"pop3s-proxy", s.config.TLSProxyListen, true, true},
	} {
		if p.addr == "" {
			continue
		}
		options := listen.Options{Name: p.name, Limiter: limiter, Metrics: metrics, Log: s.log, Proxy: p.proxy, TrustedProxies: s.config.TrustedProxies}
		if !p.secure {
			options.OnRefuse = func(c net.Conn) {
				_, _ = io.WriteString(c, "-ERR [SYS/TEMP] too many connections, please try again later\r\n")
			}
		}
		l, err := listen.Open(ctx, p.addr, options)
		if err != nil {
			return err
		}
		s.ports = append(s.ports, port{p.name, p.secure, l})
	}
	return nil
}

// Addr gives the address of a listener, nil if there is none of that name.
func (s *Server) Addr(listener string) net.Addr {
	for _, p := range s.ports {
		if p.name == listener {
			return p.listener.Addr()
		}
	}
	return nil
}

// Components serve until they are stopped; then the listeners close, and the sessions leave between commands, spread over the drain window.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "pop3", Run: s.run}}
}

func (s *Server) run(ctx context.Context) error {
	// Sessions outlive ctx, which only says that it is time to leave.
	sessionCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, len(s.ports))
	var running sync.WaitGroup
	for _, p := range s.ports {
		s.log.InfoContext(ctx, "listening", "listener", p.name, "address", p.listener.Addr().String())
		running.Go(func() {
			if err := s.accept(sessionCtx, p, &running); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain(sessionCtx)
	cancel()
	running.Wait()
	return err
}

func (s *Server) accept(ctx context.Context, p port, running *sync.WaitGroup) error {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve %s: %w", p.name, err)
		}
		session := s.server.New(c, p.secure)
		remove := s.sessions.Add(session)
		running.Go(func() {
			defer remove()
			s.guarded(ctx, session)
		})
	}
}

// guarded keeps a session that panics from taking the others with it.
func (s *Server) guarded(ctx context.Context, session *session.Session) {
	defer func() {
		if p := recover(); p != nil {
			_ = session.Close()
			s.log.ErrorContext(ctx, "session panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	session.Run(ctx)
}

func (s *Server) drain(ctx context.Context) {
	s.closeListeners()
	ctx, cancel := context.WithTimeout(ctx, s.config.DrainWindow+s.config.DrainTimeout)
	defer cancel()
	if forced := s.sessions.Drain(ctx, s.config.DrainWindow, "shutting down"); forced > 0 {
		s.log.WarnContext(ctx, "sessions were cut", "count", forced)
	}
}

func (s *Server) closeListeners() {
	for _, p := range s.ports {
		_ = p.listener.Close()
	}
}
