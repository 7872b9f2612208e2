// Package store keeps domains, accounts, aliases and credentials in a database. Addresses that come in must be normalised
// (package address); what the values mean is the callers' business.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	ErrNoDomain = errors.New("domain not found")
	ErrExists   = errors.New("exists already")
	ErrNotEmpty = errors.New("domain is not empty")
	ErrTooMany  = errors.New("too many")
)

// Store is a directory in a database. It is safe for concurrent use, also by several processes on one database: a transaction locks the
// rows of the domains or the account by which it decides.
type Store struct {
	db   *sqldb.DB
	lock string // ends a SELECT whose rows are to be locked
}

//go:embed migrations
var migrations embed.FS

// Open brings the schema of the database up to date. The store owns db from then on.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("find migrations: %w", err)
	}
	if err := db.Migrate(ctx, dir); err != nil {
		return nil, fmt.Errorf("migrate directory: %w", err)
	}
	return &Store{db: db, lock: db.Dialect().ForUpdate}, nil
}

// lockAccounts ends a SELECT of accounts of which those rows, not their domains', are to be locked.
func (s *Store) lockAccounts() string {
	if s.lock == "" {
		return ""
	}
	return s.lock + " OF a"
}

// Watch tells set whether the database can be reached, until ctx ends.
func (s *Store) Watch(ctx context.Context, set func(error)) error { return s.db.Watch(ctx, set) }

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Snapshot is one consistent view of the directory. It is valid within the function it was given to, for one goroutine.
type Snapshot struct {
	tx *sqldb.Tx
}

// Read runs fn on a snapshot. class is a metric label.
func (s *Store) Read(ctx context.Context, class string, fn func(Snapshot) error) error {
	return s.db.Read(ctx, class, func(tx *sqldb.Tx) error { return fn(Snapshot{tx}) })
}

// Setting gives the value of a setting, after setting it to value if it was not there. Of several replicas that start at once one wins.
func (s *Store) Setting(ctx context.Context, name, value string) (string, error) {
	err := s.db.Write(ctx, "setting", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, name, value); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
	})
	if err != nil {
		return "", fmt.Errorf("read setting %s: %w", name, err)
	}
	return value, nil
}

// exists tells whether a query gives a row.
func exists(ctx context.Context, tx *sqldb.Tx, query string, args ...any) (bool, error) {
	var one int
	err := tx.QueryRow(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// changed tells whether a statement changed a row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// collect scans every row of a query.
func collect[T any](ctx context.Context, tx *sqldb.Tx, scan func(row scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var out []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		out = append(out, item)
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// scanner is a row, one of several or the only one.
type scanner interface{ Scan(dest ...any) error }

// notFound turns the absence of a row into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// Lists of addresses are kept as text: they are read and written whole.
func joinAddresses(list []address.Address) string {
	lines := make([]string, len(list))
	for i, a := range list {
		lines[i] = a.String()
	}
	return strings.Join(lines, "\n")
}

func splitAddresses(text string) ([]address.Address, error) {
	if text == "" {
		return nil, nil
	}
	var list []address.Address
	for line := range strings.SplitSeq(text, "\n") {
		a, err := address.Parse(line)
		if err != nil {
			return nil, fmt.Errorf("read stored address: %w", err)
		}
		list = append(list, a)
	}
	return list, nil
}
