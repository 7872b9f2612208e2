package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/rebuild"
)

// RebuildReport is what a rebuild did.
type RebuildReport = rebuild.Report

// RebuiltAccount is one that came back.
type RebuiltAccount = rebuild.Account

// ErrNotEmpty says that a rebuild was asked for on a database that holds mail.
var ErrNotEmpty = meta.ErrNotEmpty

// RebuildOptions of Rebuild.
type RebuildOptions struct {
	// DryRun rebuilds into a database that is thrown away.
	DryRun bool
	// Parallel is how many packs are read at a time; 0 is 4.
	Parallel int
	// Progress may be nil. total is 0 where it is not known.
	Progress func(step string, done, total int)
	Log      *slog.Logger
}

// Rebuild puts mailboxes back from the object store alone, into the empty database that the settings name. Nothing else may use the stores
// meanwhile. If it is cut off, calling it again goes on. Errors: ErrNotEmpty.
func Rebuild(ctx context.Context, cfg Config, opts RebuildOptions) (*RebuildReport, error) {
	return offline(ctx, cfg, opts, rebuild.Run)
}

// offline opens the stores for work while nothing runs.
func offline(
	ctx context.Context, cfg Config, opts RebuildOptions, work func(context.Context, rebuild.Options) (*rebuild.Report, error),
) (_ *RebuildReport, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s := &Server{}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.openObjects(ctx, cfg, Deps{Log: opts.Log}); err != nil {
		return nil, err
	}
	scratch := filepath.Join(cfg.Dir, "rebuild") // the directory is locked: what is in it was left by a run that was killed
	err = os.RemoveAll(scratch)
	if err == nil {
		err = os.Mkdir(scratch, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if opts.DryRun {
		s.db, err = sqldb.OpenSQLite(filepath.Join(scratch, "storage.db"), sqldb.Options{})
	} else {
		s.db, err = cfg.database.Patient().Open(ctx, filepath.Join(cfg.Dir, "storage.db"), sqldb.Options{})
	}
	if err != nil {
		return nil, err
	}
	store, err := meta.New(ctx, s.db, meta.Options{
		Limits: meta.Limits{Mailboxes: cfg.maxMailboxes, Keywords: cfg.maxKeywords}, Retention: cfg.retention, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	spools, err := body.OpenSpools(body.SpoolConfig{Dir: filepath.Join(scratch, "spools"), Memory: 4 << 20})
	if err != nil {
		return nil, err
	}
	report, err := work(ctx, rebuild.Options{
		Meta: store, Objects: s.objects, Spools: spools, Dir: scratch, Parallel: opts.Parallel, Progress: opts.Progress, Log: opts.Log,
	})
	if opts.DryRun { // its database is in the scratch directory
		err = errors.Join(err, s.db.Close())
		s.db = nil
	}
	return report, err
}
