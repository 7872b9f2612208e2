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
	oldest  int // the version that programs must know to run beside it
}

// migrationName matches 0001_create_accounts.sql.
var migrationName = regexp.MustCompile(`^(\d{4})_[a-z0-9_]+\.sql$`)

// beside matches the line by which a migration says which programs may run beside it: those that know at least
// that migration. Without it older programs refuse to start.
var beside = regexp.MustCompile(`(?m)^-- beside: (\d{4})$`)

// Migrate brings the schema up to date with the files NNNN_what.sql at the root of fsys, numbered from 0001
// without gaps. Each runs in a transaction of its own, once, also if several programs start at the same time; table
// schema_migrations remembers which did. A database that a newer program has migrated is left as it is, if the line
// "-- beside: NNNN" of every migration that this program does not know names one that it does; else the error is ErrNewer.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS) error {
	migrations, err := readMigrations(fsys)
	if err != nil {
		return err
	}
	if err := db.prepareMigrations(ctx); err != nil {
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

// prepareMigrations makes the tables about the schema. The row of schema_state is locked by who migrates.
func (db *DB) prepareMigrations(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := db.repeat(ctx, "migrate", migrating, func(tx *Tx) error {
			for _, statement := range []string{
				`CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`,
				`CREATE TABLE IF NOT EXISTS schema_state (id BIGINT PRIMARY KEY, oldest BIGINT NOT NULL)`,
				`INSERT INTO schema_state (id, oldest) SELECT 1, COALESCE(MAX(version), 0) FROM schema_migrations WHERE 1 = 1 ON CONFLICT (id) DO NOTHING`,
			} {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		})
		// PostgreSQL's IF NOT EXISTS does not expect others who create the same table at the same moment.
		if err == nil || attempt == maxConflicts || !createdMeanwhile(err) {
			return err
		}
	}
}

// migrateNext applies one migration. It looks for the version under the lock, as another replica may be migrating too.
func (db *DB) migrateNext(ctx context.Context, migrations []migration) (more bool, err error) {
	err = db.repeat(ctx, "migrate", migrating, func(tx *Tx) error {
		var at, oldest int
		if err := tx.QueryRow(ctx, "SELECT oldest FROM schema_state WHERE id = 1"+db.dialect.ForUpdate).Scan(&oldest); err != nil {
			return fmt.Errorf("lock schema: %w", err)
		}
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_migrations").Scan(&at); err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		if at > len(migrations) && oldest > len(migrations) {
			return fmt.Errorf("%w: its schema has version %d and needs programs that know version %d, this one knows up to %d; run a newer program or restore a backup",
				ErrNewer, at, oldest, len(migrations))
		}
		if more = at < len(migrations); !more {
			return nil
		}
		m := migrations[at]
		if err := tx.on.script(ctx, m.script); err != nil {
			return fmt.Errorf("migrate to %04d %s: %w", m.version, m.name, tx.note(err))
		}
		if _, err := tx.Exec(ctx, "UPDATE schema_state SET oldest = ? WHERE id = 1 AND oldest < ?", m.oldest, m.oldest); err != nil {
			return err
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
		m := migration{version, e.Name(), string(script), version}
		if match := beside.FindStringSubmatch(m.script); match != nil {
			if m.oldest, err = strconv.Atoi(match[1]); err != nil || m.oldest >= version {
				return nil, fmt.Errorf("read migrations: %q says %q, which must name an earlier one", e.Name(), match[0])
			}
		}
		out = append(out, m)
	}
	return out, nil
}
