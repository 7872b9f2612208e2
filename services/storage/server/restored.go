package server

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/rebuild"
)

// packsAtOnce is how many packs one query looks at.
const packsAtOnce = 500

// AfterRestore makes a restored database safe to use that is older than what clients have seen: UIDs, modseqs and mailbox ids go on far
// beyond those that were given out since, so that none means two things, and clients learn what is true again. What came into the object
// store since is taken up: mail is delivered again, and bodies are found that were moved. Nothing else may use the stores meanwhile. If it is
// cut off, calling it again goes on.
func AfterRestore(ctx context.Context, cfg Config, opts RebuildOptions) (*RebuildReport, error) {
	return offline(ctx, cfg, opts, rebuild.Merge)
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
