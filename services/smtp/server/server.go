package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/gateway"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/intake"
	"github.com/yubin-mail/yubin/services/smtp/internal/session"
	"github.com/yubin-mail/yubin/services/smtp/internal/wire"
)

// Deps are what the ingress needs from outside.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Tracer     *telemetry.Tracer     // may be nil
	Now        func() time.Time
	Directory  directoryv1.DirectoryServiceClient
	Quota      quotav1.QuotaServiceClient
	Storage    storagev1.StorageServiceClient
}

// Server is the SMTP ingress with its listeners open.
type Server struct {
	cfg      Config
	deps     Deps
	gateway  *gateway.Gateway
	sessions session.Config
	metrics  *session.Metrics
}

// New opens the listeners. Components must be run to serve and to close them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	g, err := gateway.Open(ctx, "smtp", cfg.Config, cfg.listeners(), gateway.Options{
		Log: deps.Log, Registerer: deps.Registerer,
		Refusal: "421 4.7.0 " + cfg.Hostname + " Too many connections, please try again later\r\n",
	})
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, deps: deps, gateway: g, metrics: session.NewMetrics(deps.Registerer),
		sessions: session.Config{
			Hostname:              cfg.Hostname,
			TLS:                   g.TLS,
			Limits:                intake.Limits{Message: int64(cfg.MaxMessageSize), Header: int(cfg.MaxHeaderSize)},
			MaxHops:               cfg.MaxHops,
			MaxAuthFailures:       cfg.MaxAuthFailures,
			RejectFullTemporarily: cfg.OverQuotaCode == 452,
			CallTimeout:           cfg.CallTimeout,
		},
	}, nil
}

// Addr is where a listener listens: smtp, submission, submissions, lmtp, or one of the first three with -proxy. Nil if it is off.
func (s *Server) Addr(listener string) net.Addr { return s.gateway.Addr(listener) }

// Components serves the listeners until it is stopped, and then drains.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "smtp", Run: func(ctx context.Context) error { return s.gateway.Run(ctx, s.serve) }}}
}

// serve gives a port to go-smtp. Time limits and the polite end of sessions are those of wire.Conn.
func (s *Server) serve(ctx context.Context, p gateway.Port) error {
	conns := &wire.Listener{Listener: p.Listener, Sessions: s.gateway.Sessions, Timeouts: wire.Timeouts{
		Command: s.cfg.CommandTimeout, Data: s.cfg.DataTimeout, Message: s.cfg.MessageTimeout, Write: s.cfg.WriteTimeout,
	}}
	var listener net.Listener = conns
	if p.TLS {
		listener = tls.NewListener(conns, s.gateway.TLS)
	} else {
		conns.Farewell = session.Farewell(s.cfg.Hostname)
	}
	server := s.newServer(role(p.Name))
	err := server.Serve(listener)
	if errors.Is(err, net.ErrClosed) {
		<-ctx.Done() // the sessions have left, or were closed
		err = nil
	}
	// A session that waits for storage does not see that its connection is closed: this ends its calls.
	if closeErr := server.Close(); !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, closeErr)
	}
	return err
}

// role is what the listener of a name is for.
func role(listener string) session.Role {
	switch strings.TrimSuffix(listener, "-proxy") {
	case nameSubmission, nameSubmissions:
		return session.RoleSubmission
	case nameLMTP:
		return session.RoleLMTP
	default:
		return session.RoleMX
	}
}

func (s *Server) newServer(role session.Role) *smtp.Server {
	clients := session.Clients{Directory: s.deps.Directory, Quota: s.deps.Quota, Storage: s.deps.Storage}
	server := smtp.NewServer(session.NewBackend(s.sessions, role, clients, s.deps.Log, s.deps.Now, s.deps.Tracer, s.metrics))
	server.LMTP = role == session.RoleLMTP
	server.Domain = s.cfg.Hostname
	server.TLSConfig = s.gateway.TLS
	server.AllowInsecureAuth = s.cfg.InsecureAuth
	server.MaxRecipients = s.cfg.MaxRecipients
	server.MaxMessageBytes = int64(s.cfg.MaxMessageSize)
	server.MaxLineLength = int(s.cfg.MaxLineLength)
	server.EnableSMTPUTF8 = true
	server.ErrorLog = logger{s.deps.Log}
	return server
}

// logger takes what go-smtp reports: panics, and connections that broke off.
type logger struct{ log *slog.Logger }

// Printf implements smtp.Logger.
func (l logger) Printf(format string, args ...any) {
	level := slog.LevelDebug
	if strings.HasPrefix(format, "panic") {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "go-smtp: "+fmt.Sprintf(format, args...))
}

// Println implements smtp.Logger.
func (l logger) Println(args ...any) {
	l.log.Debug("go-smtp: " + strings.TrimSpace(fmt.Sprintln(args...)))
}
