package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/directory/internal/api"
	"github.com/yubin-mail/yubin/services/directory/internal/login"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// Deps are what the directory needs from outside.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Health     *health.Checks        // may be nil
	Now        func() time.Time      // nil: time.Now
}

// Server is the directory service.
type Server struct {
	store *store.Store
	api   api.Options
}

// New opens the database in cfg.Dir, which is made if need be. Components must be run to close it.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	db, err := sqldb.OpenSQLite(filepath.Join(cfg.Dir, "directory.db"), sqldb.Options{Registerer: deps.Registerer, Service: "directory"})
	if err != nil {
		return nil, err
	}
	s, err := assemble(ctx, cfg, deps, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if deps.Health != nil {
		deps.Health.Set("directory", nil)
	}
	return s, nil
}

func assemble(ctx context.Context, cfg Config, deps Deps, db *sqldb.DB) (*Server, error) {
	st, err := store.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	keys, err := login.LoadKeys(ctx, st, cfg.scramIterations, cfg.scram)
	if err != nil {
		return nil, err
	}
	if keys.Iterations() != cfg.scramIterations {
		deps.Log.Warn("--directory-scram-iterations has no effect: the directory was made with another number", "iterations", keys.Iterations())
	}
	postmaster, err := cfg.postmasterAddress()
	if err != nil {
		return nil, fmt.Errorf("parse postmaster: %w", err)
	}
	hasher := password.NewHasher(password.Params{
		Memory:  uint32(cfg.argon2Memory / config.KiB),
		Time:    uint32(cfg.argon2Time),
		Threads: uint8(cfg.argon2Threads),
	}, cfg.argon2Parallel, cfg.argon2Wait, deps.Registerer)
	return &Server{store: st, api: api.Options{
		Log: deps.Log, Registerer: deps.Registerer, Now: deps.Now, Store: st, Hasher: hasher, Keys: keys,
		Postmaster: postmaster, ExchangeTimeout: cfg.exchangeTimeout,
		Login: login.New(login.Options{
			Log: deps.Log, Registerer: deps.Registerer, Now: deps.Now, Store: st, Hasher: hasher, Keys: keys,
			CacheTTL: cfg.cacheTTL, CacheEntries: cfg.cacheEntries,
			Throttle: throttle.New(throttle.Options{
				HostFailures: cfg.throttleFailures, NetworkFailures: cfg.throttleNetworkFailures, AccountFailures: cfg.throttleAccountFailures,
				MaxDelay: cfg.throttleMaxDelay, Exempt: cfg.throttleExempt, Entries: cfg.throttleEntries,
				Now: deps.Now, Registerer: deps.Registerer,
			}),
		}),
	}}, nil
}

// Register adds the services to a gRPC server or an in-process transport.
func (s *Server) Register(r grpc.ServiceRegistrar) { api.Register(r, s.api) }

// Components are the store, which is closed when all that is listed later has stopped.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "directory store", Run: func(ctx context.Context) error {
		<-ctx.Done()
		if err := s.store.Close(); err != nil {
			return fmt.Errorf("close directory: %w", err)
		}
		return nil
	}}}
}
