package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"time"
)

// ErrNewer is returned by Migrate if the database was made by a newer version of the program.
var ErrNewer = errors.New("database is newer than this program")

type migration struct {
	version int
	name    string
	script  string
}

// migrationName matches 0001_create_accounts.sql.
var migrationName = regexp.MustCompile(`^(\d{4})_[a-z0-9_]+\.sql$`)

// Migrate brings the schema up to date with the files NNNN_what.sql at the root of fsys, numbered from 0001
// without gaps. Each runs in a transaction of its own, once; table schema_migrations remembers which did.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS) error {
	migrations, err := readMigrations(fsys)
	if err != nil {
		return err
	}
	err = db.Write(ctx, "migrate", func(tx *Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
			version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`)
		return err
	})
	if err != nil {
		return fmt.Errorf("create schema_migrations: %w", err)
	}
	for {
		more, err := db.migrateNext(ctx, migrations)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// migrateNext applies one migration. It looks for the version in the same transaction, as another replica may be migrating too.
func (db *DB) migrateNext(ctx context.Context, migrations []migration) (more bool, err error) {
	err = db.Write(ctx, "migrate", func(tx *Tx) error {
		var at int
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_migrations").Scan(&at); err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		if at > len(migrations) {
			return fmt.Errorf("%w: its schema has version %d, this program knows up to %d; run a newer program or restore a backup",
				ErrNewer, at, len(migrations))
		}
		if more = at < len(migrations); !more {
			return nil
		}
		m := migrations[at]
		if err := tx.conn.command(ctx, m.script); err != nil {
			return fmt.Errorf("migrate to %04d %s: %w", m.version, m.name, err)
		}
		_, err := tx.Exec(ctx, "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)",
			m.version, m.name, time.Now().Unix())
		return err
	})
	return more, err
}

func readMigrations(fsys fs.FS) ([]migration, error) {
	entries, err := fs.ReadDir(fsys, ".") // sorted by name
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var out []migration
	for _, e := range entries {
		match := migrationName.FindStringSubmatch(e.Name())
		if match == nil {
			return nil, fmt.Errorf("read migrations: %q is not named like 0001_what.sql", e.Name())
		}
		version, err := strconv.Atoi(match[1])
		if err != nil || version != len(out)+1 {
			return nil, fmt.Errorf("read migrations: %q should have number %04d", e.Name(), len(out)+1)
		}
		script, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		out = append(out, migration{version, e.Name(), string(script)})
	}
	return out, nil
}
