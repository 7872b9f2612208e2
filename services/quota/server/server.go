package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/api"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
	"github.com/yubin-mail/yubin/services/quota/internal/notice"
	"github.com/yubin-mail/yubin/services/quota/internal/reconcile"
)

// Deps are what the quota service needs from outside.
type Deps struct {
	Log            *slog.Logger
	Registerer     prometheus.Registerer // may be nil
	Health         *health.Checks        // may be nil
	Now            func() time.Time      // nil: time.Now
	Directory      directoryv1.DirectoryServiceClient
	DirectoryAdmin directoryv1.DirectoryAdminServiceClient
	Storage        storagev1.StorageServiceClient
	StorageAdmin   storagev1.StorageAdminServiceClient
}

// Server is the quota service.
type Server struct {
	db      *sqldb.DB
	health  *health.Checks
	log     *slog.Logger
	service *api.Service
	admin   *api.Admin
	loop    *reconcile.Loop
	sender  *notice.Sender
	totals  *api.Totals
}

// New opens the database: the embedded one in cfg.Dir, which is made if need be, or PostgreSQL. Components must be run to close it; no other service is called before that.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Health == nil {
		deps.Health = &health.Checks{}
	}
	db, err := cfg.database.Open(ctx, filepath.Join(cfg.Dir, "quota.db"), sqldb.Options{Registerer: deps.Registerer, Service: "quota"})
	if err != nil {
		return nil, err
	}
	s, err := assemble(ctx, cfg, deps, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	deps.Health.Set("quota", nil)
	return s, nil
}

func assemble(ctx context.Context, cfg Config, deps Deps, db *sqldb.DB) (*Server, error) {
	sender := notice.NewSender(notice.Options{
		From:       cfg.noticeFrom,
		Log:        deps.Log,
		Registerer: deps.Registerer,
		Now:        deps.Now,
		Directory:  deps.Directory,
		Storage:    deps.Storage,
	})
	l, err := ledger.New(ctx, db, ledger.Options{
		Default: ledger.Amount{Bytes: int64(cfg.defaultBytes), Messages: int64(cfg.defaultMessages)},
		TTL:     cfg.reservationTTL,
		Levels:  cfg.warnLevels.ascending(),
		Now:     deps.Now,
		Noticed: sender.Wake,
	})
	if err != nil {
		return nil, err
	}
	sender.Ledger = l
	reconciler := &reconcile.Reconciler{
		Ledger:    l,
		Storage:   deps.StorageAdmin,
		Directory: deps.DirectoryAdmin,
		Log:       deps.Log,
		Metrics:   reconcile.NewMetrics(deps.Registerer),
	}
	loop := reconcile.NewLoop(reconciler, cfg.reconcileInterval, cfg.reconcileRepair)
	service := &api.Service{Ledger: l, Directory: deps.Directory, Metrics: api.NewMetrics(deps.Registerer), Suspect: loop.Suspect}
	return &Server{
		db:      db,
		health:  deps.Health,
		log:     deps.Log,
		service: service,
		admin:   &api.Admin{Service: service, Reconciler: reconciler, LimitsByIMAP: cfg.limitsByIMAP},
		loop:    loop,
		sender:  sender,
		totals:  api.NewTotals(l, deps.Log, deps.Registerer, cfg.metricsInterval),
	}, nil
}

// Register adds the services to a gRPC server or an in-process transport.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	quotav1.RegisterQuotaServiceServer(r, s.service)
	quotav1.RegisterQuotaAdminServiceServer(r, s.admin)
}

// Components are the store, which is closed when all that is listed later has stopped, and the loops over it.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "quota store", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return s.db.Close()
		}},
		{Name: "quota database", Run: func(ctx context.Context) error {
			return s.db.Watch(ctx, func(err error) { s.health.Set("quota", err) })
		}},
		{Name: "quota sweeper", Run: func(ctx context.Context) error { return s.service.Sweep(ctx, s.log) }},
		{Name: "quota totals", Run: s.totals.Run},
		{Name: "quota notices", Run: s.sender.Run},
		{Name: "quota reconciler", Run: s.loop.Run},
	}
}
