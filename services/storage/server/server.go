package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/api"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/feed"
	"github.com/yubin-mail/yubin/services/storage/internal/indexer"
	"github.com/yubin-mail/yubin/services/storage/internal/maildrop"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/object/s3"
	"github.com/yubin-mail/yubin/services/storage/internal/settle"
	"github.com/yubin-mail/yubin/services/storage/internal/space"
)

// Deps are what the storage service needs from outside.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Health     *health.Checks        // may be nil
	Now        func() time.Time      // nil: time.Now
	Quota      quotav1.QuotaServiceClient
	// Objects is where bodies are kept; nil: in a directory of Config.Dir. The caller closes it.
	Objects object.Store
}

// closeTimeout bounds the storing of what waits when the service stops.
const closeTimeout = 20 * time.Second

// Server is the storage service.
type Server struct {
	db       *sqldb.DB
	lock     *os.File
	dir      *object.Dir // if the objects are in a directory of ours
	bucket   *s3.Store   // if they are in a bucket
	cache    *body.DiskCache
	objects  object.Store
	capacity *capacity.Reserver
	writer   *delivery.Writer
	settler  *settle.Settler
	leases   *maildrop.Keeper
	*upkeep
	catalog  []lifecycle.Component
	indexer  *indexer.Indexer // nil: there is no index
	service  *api.Service
	replicas *feed.Replicas // nil: the embedded database has one
}

// New opens the database and the stores in cfg.Dir, which is made if need be. Components must be run to close them; no other service is called before that.
func New(ctx context.Context, cfg Config, deps Deps) (_ *Server, err error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s := &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err = s.openObjects(ctx, cfg, deps); err != nil {
		return nil, err
	}
	s.db, err = cfg.database.Open(ctx, filepath.Join(cfg.Dir, "storage.db"), sqldb.Options{Registerer: deps.Registerer, Service: "storage", Readers: 8})
	if err != nil {
		return nil, err
	}
	if err := s.assemble(ctx, cfg, deps); err != nil {
		return nil, err
	}
	if deps.Health != nil {
		deps.Health.Set("storage", nil)
	}
	return s, nil
}

func (s *Server) assemble(ctx context.Context, cfg Config, deps Deps) error {
	var bus feed.Bus = feed.NewMemory(deps.Registerer)
	store, err := meta.New(ctx, s.db, meta.Options{
		Limits:    meta.Limits{Mailboxes: cfg.maxMailboxes, Keywords: cfg.maxKeywords},
		Retention: cfg.retention,
		Now:       deps.Now,
		Committed: func(c meta.Commit) {
			bus.Publish(c.Changes)
			s.settler.Wake(c.Events...)
			s.indexer.Note(c.Changes)
		},
	})
	if err != nil {
		return err
	}
	if rebuilding, err := store.Rebuilding(ctx); err != nil || rebuilding {
		return cmp.Or(err, errRebuilding)
	}
	if !cfg.database.Embedded() {
		if s.replicas, err = feed.Join(cfg.feed, store, deps.Log, deps.Registerer); err != nil {
			return err
		}
		bus = s.replicas
	}
	s.settler = settle.New(store, deps.Quota, deps.Log, deps.Registerer)
	if cfg.database.Embedded() {
		// This process is the only one on it: leases are of one that has died.
		if err := store.ForgetLeases(ctx); err != nil {
			return fmt.Errorf("end old maildrop leases: %w", err)
		}
	}
	if err := store.ShortenRetention(ctx); err != nil {
		return fmt.Errorf("shorten retention: %w", err)
	}
	if cfg.readCacheDir != "" {
		if s.cache, err = body.OpenDiskCache(cfg.readCacheDir, int64(cfg.readCacheDisk), deps.Log, deps.Registerer); err != nil {
			return err
		}
	}
	bodies, err := body.NewStore(body.Config{
		Disk: s.cache, Objects: s.objects, CacheBytes: int64(cfg.readCache), LargeBytes: int64(cfg.largeBody), Now: deps.Now, Registerer: deps.Registerer,
	})
	if err != nil {
		return err
	}
	disks := []space.Source{space.Disk(cfg.Dir)}
	if limited, ok := s.objects.(object.Limited); ok {
		disks = append(disks, limited)
	}
	guard := space.New(int64(cfg.minFree), disks, time.Now, deps.Log, deps.Registerer)
	spools, err := body.OpenSpools(body.SpoolConfig{
		Dir: filepath.Join(cfg.Dir, "tmp"), Memory: int64(cfg.spoolMemory), TotalMemory: int64(cfg.spoolTotalMemory),
		Admit: guard.Admit, Registerer: deps.Registerer,
	})
	if err != nil {
		return err
	}
	s.capacity = capacity.New(deps.Quota, deps.Log)
	s.capacity.Patience = cfg.quotaPatience
	s.writer = delivery.New(delivery.Config{
		MaxMessageSize: int64(cfg.maxMessageSize), Wait: cmp.Or(cfg.groupWait, -1), Remote: s.bucket != nil,
	}, delivery.Deps{
		Meta: store, Bodies: bodies, Spools: spools, Capacity: s.capacity, Space: guard, Log: deps.Log, Registerer: deps.Registerer, Now: deps.Now,
	})
	s.leases = maildrop.New(store, deps.Log)
	s.upkeep = cfg.upkeep.assemble(store, s.objects, guard, s.writer.Busy, deps)
	s.catalog = cfg.catalog.components(store, s.objects, spools, s.jobs, deps)
	s.indexer = cfg.index.assemble(store, bodies, s, deps)
	s.service = api.New(api.Deps{
		Meta: store, Bodies: bodies, Writer: s.writer, Capacity: s.capacity, Space: guard, Feed: bus, Leases: s.leases,
		Auditor: s.auditor, Compactor: s.compactor, Reclaimer: s.reclaimer, Log: deps.Log, Registerer: deps.Registerer, MaxRecipients: cfg.maxRecipients,
		Index: s.indexer, SearchBytes: int64(cfg.index.searchBytes), SearchTime: cfg.index.searchTime,
	})
	return nil
}

func (s *Server) close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.dir != nil {
		errs = append(errs, s.dir.Close())
	}
	if s.cache != nil {
		errs = append(errs, s.cache.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Register adds the services to a gRPC server or an in-process transport.
func (s *Server) Register(r grpc.ServiceRegistrar) { s.service.Register(r) }

// Components are the stores, which are closed when all that is listed later has stopped, and the loops over them.
func (s *Server) Components() []lifecycle.Component {
	return append([]lifecycle.Component{
		{Name: "storage stores", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return s.close()
		}},
		{Name: "storage feed", Run: func(ctx context.Context) error {
			if s.replicas == nil {
				return nil
			}
			return s.replicas.Run(ctx)
		}},
		{Name: "storage bucket", Run: s.tidyBucket},
		{Name: "storage settler", Run: s.settler.Run},
		{Name: "storage maildrop leases", Run: s.leases.Run},
		{Name: "storage writer", Run: func(ctx context.Context) error {
			<-ctx.Done()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			err := s.writer.Close(last)
			s.capacity.Wait()
			return err
		}},
	}, slices.Concat(s.components(), s.catalog, s.indexing())...)
}
