package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// packsAtOnce is how many packs one query looks at.
const packsAtOnce = 500

// AfterRestore makes a restored database that is older than what clients have seen safe to use: UIDs, modseqs and mailbox ids go on far beyond
// those that were given out since, so that none means two things, and clients learn what is true again. Nothing else may use the database
// meanwhile. It may be repeated.
func AfterRestore(ctx context.Context, cfg Config) (err error) {
	s := &Server{}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return err
	}
	if s.db, err = cfg.database.Patient().Open(ctx, filepath.Join(cfg.Dir, "storage.db"), sqldb.Options{}); err != nil {
		return err
	}
	store, err := meta.New(ctx, s.db, meta.Options{Retention: cfg.retention, Now: time.Now})
	if err != nil {
		return err
	}
	for after, more := "", true; more; more = after != "" {
		if after, err = store.LeapAccounts(ctx, after); err != nil {
			return fmt.Errorf("go on beyond what was given out: %w", err)
		}
	}
	return nil
}

// MissingInCopy gives the objects that the database in a copy of the embedded stores needs and that the copy does not hold.
func MissingInCopy(ctx context.Context, dir string) (missing []string, err error) {
	objects, err := object.OpenDir(filepath.Join(dir, "bodies"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "storage.db"), sqldb.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for after := ""; ; {
		keys, err := livePacks(ctx, db, after)
		if err != nil || len(keys) == 0 {
			return missing, err
		}
		for _, key := range keys {
			after = key
			_, err := objects.Stat(ctx, key)
			if errors.Is(err, object.ErrNotFound) {
				missing = append(missing, key)
			} else if err != nil {
				return nil, err
			}
		}
	}
}

func livePacks(ctx context.Context, db *sqldb.DB, after string) (keys []string, err error) {
	err = db.Read(ctx, "live_packs", func(tx *sqldb.Tx) error {
		keys = nil
		rows, err := tx.Query(ctx, `SELECT object_key FROM packs WHERE object_key > ? AND live_refs > 0 ORDER BY object_key`+sqldb.Limit(packsAtOnce), after)
		if err != nil {
			return err
		}
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				return errors.Join(err, rows.Close())
			}
			keys = append(keys, key)
		}
		return errors.Join(rows.Err(), rows.Close())
	})
	return keys, err
}
