package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

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
	db := newDB(SQLite, &sqliteSource{newSQLitePool(writer, 1), newSQLitePool(reader, opts.Readers)}, opts)
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
