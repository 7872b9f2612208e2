package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	"github.com/yubin-mail/yubin/services/smtp/internal/intake"
	"github.com/yubin-mail/yubin/services/smtp/internal/session"
	"github.com/yubin-mail/yubin/services/smtp/internal/wire"
)

// Deps are what the server needs from outside.
type Deps struct {
	session.Clients
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Clients are the services that the ingress asks.
type Clients = session.Clients

// Server is the SMTP ingress with its listeners open.
type Server struct {
	cfg      Config
	log      *slog.Logger
	tls      *tls.Config
	sessions *listen.Sessions
	ports    []*port
}

// port is one listener and the go-smtp server behind it.
type port struct {
	name     string
	listener net.Listener
	server   *smtp.Server
}

// New opens the listeners; Components serves them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	s := &Server{cfg: cfg, log: deps.Log, sessions: listen.NewSessions()}
	if cfg.TLSCert != "" {
		var err error
		if s.tls, err = tlsconf.Load(cfg.TLSCert, cfg.TLSKey, tlsconf.Options{Log: deps.Log, Registerer: deps.Registerer}); err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
	}
	limiter := listen.NewLimiter(cfg.Limits)
	metrics := listen.NewMetrics(deps.Registerer, "smtp")
	sessionMetrics := session.NewMetrics(deps.Registerer)
	sessionConfig := session.Config{
		Hostname:              cfg.Hostname,
		Limits:                intake.Limits{Message: int64(cfg.MaxMessageSize), Header: int(cfg.MaxHeaderSize)},
		MaxHops:               cfg.MaxHops,
		RejectFullTemporarily: cfg.OverQuotaCode == 452,
		CallTimeout:           cfg.CallTimeout,
	}
	for _, p := range []struct {
		name, addr string
		role       session.Role
		tls, proxy bool
	}{
		{"smtp", cfg.Listen, session.RoleMX, false, false},
		{"submission", cfg.SubmissionListen, session.RoleSubmission, false, false},
		{"submissions", cfg.SubmissionsListen, session.RoleSubmission, true, false},
		{"lmtp", cfg.LMTPListen, session.RoleLMTP, false, false},
		{"smtp-proxy", cfg.ProxyListen, session.RoleMX, false, true},
		{"submission-proxy", cfg.SubmissionProxyListen, session.RoleSubmission, false, true},
		{"submissions-proxy", cfg.SubmissionsProxyListen, session.RoleSubmission, true, true},
	} {
		if p.addr == "" {
			continue
		}
		options := listen.Options{Name: p.name, Limiter: limiter, Metrics: metrics, Log: deps.Log, Proxy: p.proxy, TrustedProxies: cfg.TrustedProxies}
		farewell := session.Farewell(cfg.Hostname)
		if p.tls {
			farewell = ""
		} else {
			options.OnRefuse = func(c net.Conn) {
				_, _ = fmt.Fprintf(c, "421 4.7.0 %s Too many connections, please try again later\r\n", cfg.Hostname)
			}
		}
		inner, err := listen.Open(ctx, p.addr, options)
		if err != nil {
			s.close()
			return nil, err
		}
		var listener net.Listener = &wire.Listener{Listener: inner, Sessions: s.sessions, Farewell: farewell, Timeouts: wire.Timeouts{
			Command: cfg.CommandTimeout, Data: cfg.DataTimeout, Message: cfg.MessageTimeout, Write: cfg.WriteTimeout,
		}}
		if p.tls {
			listener = tls.NewListener(listener, s.tls)
		}
		backend := session.NewBackend(sessionConfig, p.role, deps.Clients, deps.Log, deps.Now, sessionMetrics)
		s.ports = append(s.ports, &port{name: p.name, listener: listener, server: s.newServer(backend, p.role)})
	}
	return s, nil
}

// newServer sets up go-smtp. Time limits are those of wire.Conn.
func (s *Server) newServer(backend smtp.Backend, role session.Role) *smtp.Server {
	server := smtp.NewServer(backend)
	server.LMTP = role == session.RoleLMTP
	server.Domain = s.cfg.Hostname
	server.TLSConfig = s.tls
	server.AllowInsecureAuth = s.cfg.InsecureAuth
	server.MaxRecipients = s.cfg.MaxRecipients
	server.MaxMessageBytes = int64(s.cfg.MaxMessageSize)
	server.MaxLineLength = int(s.cfg.MaxLineLength)
	server.EnableSMTPUTF8 = true
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	return server
}

// Addr is where a listener listens: smtp, submission, submissions, lmtp, or one of the first three with -proxy. Nil if it is off.
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
	return []lifecycle.Component{{Name: "smtp", Run: s.run}}
}

func (s *Server) run(ctx context.Context) error {
	failed := make(chan error, len(s.ports))
	for _, p := range s.ports {
		s.log.Info("listening", "listener", p.name, "address", p.listener.Addr().String())
		go func() {
			if err := p.server.Serve(p.listener); err != nil && !errors.Is(err, net.ErrClosed) {
				failed <- fmt.Errorf("serve %s: %w", p.name, err)
			}
		}()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain(context.WithoutCancel(ctx))
	return err
}

// drain ends sessions between commands, spread over the window; a message that is coming in may end.
func (s *Server) drain(ctx context.Context) {
	s.close()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainWindow+s.cfg.DrainTimeout)
	defer cancel()
	if forced := s.sessions.Drain(ctx, s.cfg.DrainWindow, "shutting down"); forced > 0 {
		s.log.Warn("sessions were cut", "count", forced)
	}
	for _, p := range s.ports {
		if err := p.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Debug("close listener", "listener", p.name, "error", err)
		}
	}
}

func (s *Server) close() {
	for _, p := range s.ports {
		_ = p.listener.Close()
	}
}
