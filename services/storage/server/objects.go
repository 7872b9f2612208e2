package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/object/s3"
)

// openObjects opens the store of bodies that the settings name, if the caller has none, and locks the data directory, so that no second
// process takes its temporary files for those of a dead one.
func (s *Server) openObjects(ctx context.Context, cfg Config, deps Deps) (err error) {
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return err
	}
	switch {
	case deps.Objects != nil:
		s.objects = deps.Objects
	case cfg.s3.Enabled():
		if s.bucket, err = s3.New(cfg.s3, deps.Log, deps.Registerer); err != nil {
			return err
		}
		s.objects = s.bucket
		return s.bucket.Check(ctx)
	default:
		if s.dir, err = object.OpenDir(filepath.Join(cfg.Dir, "bodies")); err != nil {
			return err
		}
		s.objects = s.dir
	}
	return nil
}

// lockDir locks a directory until the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory %s (is another process using it?): %w", dir, err), f.Close())
	}
	return f, nil
}

// tidyBucket removes unfinished uploads from the bucket, if there is one, until ctx ends.
func (s *Server) tidyBucket(ctx context.Context) error {
	if s.bucket == nil {
		return nil
	}
	return s.bucket.Run(ctx)
}
