package server

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/gateway"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/session"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// Deps are what the gateway needs from outside.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Tracer     *telemetry.Tracer     // may be nil
	Now        func() time.Time
	// Version is told to clients that ask by ID.
	Version   string
	Directory directoryv1.DirectoryServiceClient
	Quota     quotav1.QuotaServiceClient
	Storage   storagev1.StorageServiceClient
	// QuotaAdmin sets limits for operators.
	QuotaAdmin quotav1.QuotaAdminServiceClient
}

// Server is the IMAP gateway with its listeners open.
type Server struct {
	gateway  *gateway.Gateway
	views    *view.Manager
	sessions *session.Engine
}

// New opens the listeners. Components must be run to serve and to close them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	g, err := gateway.Open(ctx, "imap", cfg.Config, cfg.listeners(), gateway.Options{
		Log: deps.Log, Registerer: deps.Registerer,
		Refusal: "* BYE [UNAVAILABLE] too many connections, please try again later\r\n",
	})
	if err != nil {
		return nil, err
	}
	views := view.NewManager(deps.Storage, view.Options{Log: deps.Log, Registerer: deps.Registerer, PollInterval: cfg.PollInterval})
	sessions := session.New(session.Options{
		Log: deps.Log, Registerer: deps.Registerer, Tracer: deps.Tracer, Now: deps.Now,
		Storage: deps.Storage, Directory: deps.Directory, Quota: deps.Quota, QuotaAdmin: deps.QuotaAdmin, Operators: cfg.operators(),
		Views: views, Sessions: g.Sessions,
		TLS: g.TLS, InsecureAuth: cfg.InsecureAuth, StrictUTF8: cfg.StrictUTF8, Hostname: cfg.Hostname, Version: deps.Version,
		Limits: session.Limits{
			LoginTimeout: cfg.LoginTimeout, Idle: cfg.IdleTimeout, Command: cfg.CommandTimeout, Stall: cfg.StallTimeout,
			Write: cfg.WriteTimeout, RPC: cfg.CallTimeout, Bulk: cfg.BulkTimeout, MessageSize: int64(cfg.MaxMessageSize),
			AccountSessions: cfg.MaxSessionsPerAccount, LoginFailures: cfg.MaxAuthFailures, BadCommands: cfg.MaxBadCommands, Messages: cfg.MessageLimit, Compress: cfg.Compress, Pipeline: cfg.Pipeline,
		},
	})
	return &Server{gateway: g, views: views, sessions: sessions}, nil
}

// Addr is where a listener listens: imap, imaps, or one of them with -proxy. Nil if it is off.
func (s *Server) Addr(listener string) net.Addr { return s.gateway.Addr(listener) }

// Components serves the listeners until it is stopped, and then drains.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "imap", Run: s.run}}
}

func (s *Server) run(ctx context.Context) error {
	// The views follow changes until the last session has left.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var views sync.WaitGroup
	views.Go(func() { s.views.Run(base) })
	defer func() {
		cancel()
		s.views.Close()
		views.Wait()
	}()
	return s.gateway.Run(ctx, func(ctx context.Context, p gateway.Port) error {
		return s.gateway.Accept(p, func(c net.Conn) { s.sessions.Serve(ctx, c, p.TLS) })
	})
}
