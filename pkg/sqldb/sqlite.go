package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of a database.
type Options struct {
	Readers    int                   // snapshot readers at a time; 0 is 4
	Registerer prometheus.Registerer // may be nil
	Service    string                // the service in the metrics' names, yubin_<service>_sql_…
}

// checkpointPages is how long the log grows, in pages of 4 KiB, before a commit has to write it back into the database file: SQLite's 1000
// make one commit in a hundred wait for that.
const checkpointPages = 4000

// OpenSQLite opens a database file, and creates it (not its folder) if there is none. A committed write survives
// kill -9 and the loss of power: the log is synced at every commit (journal_mode=WAL with synchronous=FULL).
func OpenSQLite(path string, opts Options) (*DB, error) {
	if opts.Readers <= 0 {
		opts.Readers = 4
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	writer, err := sql.Open("sqlite", sqliteName(path, "journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages)))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	reader, err := sql.Open("sqlite", sqliteName(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), writer.Close())
	}
	db := newDB(SQLite, newPool(writer, 1), newPool(reader, opts.Readers), opts)
	// The first transaction creates the file in WAL mode before any reader comes.
	if err := db.Write(context.Background(), "open", func(*Tx) error { return nil }); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

func sqliteName(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append(pragmas,
		"busy_timeout(10000)", // another process, such as the CLI's backup, may hold the lock
		"foreign_keys(1)",
		"cache_size(-16384)", // 16 MiB a connection
		"temp_store(MEMORY)",
	)}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// command runs a statement outside of the statement cache.
func (c *conn) command(ctx context.Context, query string) error {
	_, err := c.ExecContext(ctx, query)
	return err
}

// Check looks for corruption and tells what it finds. It reads the whole database.
func (db *DB) Check(ctx context.Context) error {
	return db.Read(ctx, "check", func(tx *Tx) error {
		var verdict string
		if err := tx.QueryRow(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
			return fmt.Errorf("check database: %w", err)
		}
		if verdict != "ok" {
			return fmt.Errorf("check database: %w: %s", ErrCorrupt, verdict)
		}
		return nil
	})
}

// ErrCorrupt is returned by Check for a damaged database.
var ErrCorrupt = errors.New("database is damaged")

// checkpoint moves the whole log into the database file.
func (db *DB) checkpoint() error {
	ctx := context.Background()
	c, err := db.writer.get(ctx)
	if err != nil {
		return err
	}
	defer db.writer.release(c, false)
	if err := c.command(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("checkpoint database: %w", err)
	}
	return nil
}
