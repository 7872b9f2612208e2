package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/yubin-mail/yubin/services/directory/internal/oauth"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// Deps are what the directory needs from outside.
type Deps struct {
	Log        *slog.Logger
	Audit      *slog.Logger          // is told of every login; may be nil
	Registerer prometheus.Registerer // may be nil
	Health     *health.Checks        // may be nil
	Now        func() time.Time      // nil: time.Now
}

// Server is the directory service.
type Server struct {
	log      *slog.Logger
	health   *health.Checks
	store    *store.Store
	api      api.Options
	tokens   *oauth.Verifier // nil without OAuth
	throttle *throttle.Throttle
	sharer   *throttle.Sharer // nil with the embedded database, which has one process
}

// New opens the database: the embedded one in cfg.Dir, which is made if need be, or PostgreSQL. Components must be run to close it.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Health == nil {
		deps.Health = &health.Checks{}
	}
	db, err := cfg.database.Open(ctx, filepath.Join(cfg.Dir, "directory.db"), sqldb.Options{Registerer: deps.Registerer, Service: "directory"})
	if err != nil {
		return nil, err
	}
	s, err := assemble(ctx, cfg, deps, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	deps.Health.Set("directory", nil)
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
	s := &Server{log: deps.Log, health: deps.Health, store: st}
	limits := throttle.Options{
		HostFailures: cfg.throttleFailures, NetworkFailures: cfg.throttleNetworkFailures, AccountFailures: cfg.throttleAccountFailures,
		MaxDelay: cfg.throttleMaxDelay, Exempt: cfg.throttleExempt, Entries: cfg.throttleEntries,
		Now: deps.Now, Registerer: deps.Registerer,
	}
	if !cfg.database.Embedded() {
		s.sharer = throttle.NewSharer(st, deps.Log, deps.Now)
		limits.Changed = s.sharer.Note
	}
	s.throttle = throttle.New(limits)
	if cfg.oauth.enabled() {
		o, err := cfg.oauth.options(deps)
		if err != nil {
			return nil, err
		}
		s.tokens = oauth.New(o)
	}
	s.api = api.Options{
		Log: deps.Log, Audit: deps.Audit, Registerer: deps.Registerer, Now: deps.Now, Store: st, Hasher: hasher, Keys: keys,
		Postmaster: postmaster, ExchangeTimeout: cfg.exchangeTimeout,
		Login: login.New(login.Options{
			Log: deps.Log, Registerer: deps.Registerer, Now: deps.Now, Store: st, Hasher: hasher, Keys: keys, Tokens: s.tokens,
			CacheTTL: cfg.cacheTTL, CacheEntries: cfg.cacheEntries,
			Throttle: s.throttle, Bind: cfg.bind,
		}),
	}
	return s, nil
}

// Register adds the services to a gRPC server or an in-process transport.
func (s *Server) Register(r grpc.ServiceRegistrar) { api.Register(r, s.api) }

// Components are the store, which is closed when all that is listed later has stopped, and the loops over it.
func (s *Server) Components() []lifecycle.Component {
	components := []lifecycle.Component{
		{Name: "directory store", Run: func(ctx context.Context) error {
			<-ctx.Done()
			if err := s.store.Close(); err != nil {
				return fmt.Errorf("close directory: %w", err)
			}
			return nil
		}},
		{Name: "directory database", Run: func(ctx context.Context) error {
			return s.store.Watch(ctx, func(err error) { s.health.Set("directory", err) })
		}},
	}
	if s.tokens != nil {
		components = append(components, lifecycle.Component{Name: "directory oauth", Run: s.prepareTokens})
	}
	if s.sharer != nil {
		components = append(components, lifecycle.Component{Name: "directory throttle", Run: func(ctx context.Context) error {
			return s.sharer.Run(ctx, s.throttle)
		}})
	}
	return components
}

// prepareRetry is how often the issuer of access tokens is asked for its keys until it has answered.
const prepareRetry = 30 * time.Second

// prepareTokens gets the keys of tokens before the first login needs them, and has the log tell while it cannot. Other logins do not wait for it.
func (s *Server) prepareTokens(ctx context.Context) error {
	for {
		err := s.tokens.Prepare(ctx)
		if err == nil {
			<-ctx.Done()
			return nil
		}
		if ctx.Err() == nil {
			s.log.Error("logins by access token are not possible", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(prepareRetry):
		}
	}
}
