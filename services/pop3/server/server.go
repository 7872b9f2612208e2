package server

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/gateway"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/pop3/internal/session"
)

// Deps are what the gateway needs from outside.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Tracer     *telemetry.Tracer     // may be nil
	Directory  directoryv1.DirectoryServiceClient
	Storage    storagev1.StorageServiceClient
}

// Server is the POP3 gateway with its listeners open.
type Server struct {
	gateway  *gateway.Gateway
	sessions *session.Server
}

// New opens the listeners. Components must be run to serve and to close them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	g, err := gateway.Open(ctx, "pop3", cfg.Config, cfg.listeners(), gateway.Options{
		Log: deps.Log, Registerer: deps.Registerer,
		Refusal: "-ERR [SYS/TEMP] too many connections, please try again later\r\n",
	})
	if err != nil {
		return nil, err
	}
	sessions := session.NewServer(session.Config{
		Hostname:        cfg.Hostname,
		TLS:             g.TLS,
		InsecureAuth:    cfg.InsecureAuth,
		IdleTimeout:     cfg.IdleTimeout,
		WriteTimeout:    cfg.WriteTimeout,
		CallTimeout:     cfg.CallTimeout,
		LoginDelay:      cfg.LoginDelay,
		MaxAuthFailures: cfg.MaxAuthFailures,
		MaxBadCommands:  cfg.MaxBadCommands,
	}, session.Clients{Directory: deps.Directory, Storage: deps.Storage}, deps.Log, deps.Tracer, session.NewMetrics(deps.Registerer))
	return &Server{gateway: g, sessions: sessions}, nil
}

// Addr is where a listener listens: pop3, pop3s, or one of them with -proxy. Nil if it is off.
func (s *Server) Addr(listener string) net.Addr { return s.gateway.Addr(listener) }

// Components serves the listeners until it is stopped, and then drains.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "pop3", Run: func(ctx context.Context) error { return s.gateway.Run(ctx, s.serve) }}}
}

func (s *Server) serve(ctx context.Context, p gateway.Port) error {
	return s.gateway.Accept(p, func(c net.Conn) {
		session := s.sessions.New(c, p.TLS)
		defer s.gateway.Sessions.Add(session)()
		session.Run(ctx)
	})
}
