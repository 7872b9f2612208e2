package meta

import (
	"database/sql"
	"errors"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// maxQueue bounds the statements that wait for a round trip, and so the memory for their arguments.
const maxQueue = 2000

// later runs a statement before the next query, or at the end of the transaction: with others in one round trip. Its errors come from there.
func (t *tx) later(query string, args ...any) error {
	t.queue.Exec(query, args...)
	return t.overflow()
}

// laterOne is later for a statement that must change exactly one row; failure is the error if it does not.
func (t *tx) laterOne(failure error, query string, args ...any) error {
	n := new(int64)
	t.queue.ExecCount(n, query, args...)
	t.checks = append(t.checks, func() error {
		if *n != 1 {
			return failure
		}
		return nil
	})
	return t.overflow()
}

func (t *tx) overflow() error {
	if t.queue.Len() < maxQueue {
		return nil
	}
	return t.flush()
}

// flush runs what was left for later.
func (t *tx) flush() error {
	if t.queue.Len() == 0 {
		return nil
	}
	batch, checks := t.queue, t.checks
	t.queue, t.checks = sqldb.Batch{}, nil
	if err := t.raw.Batch(t.ctx, &batch); err != nil {
		return err
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// exec runs a statement and tells how many rows it changed.
func (t *tx) exec(query string, args ...any) (n int64, err error) {
	t.queue.ExecCount(&n, query, args...)
	err = t.flush()
	return n, err
}

// rows runs a query and calls scan for each row. scan runs no other statements.
func (t *tx) rows(scan func(*sqldb.Rows) error, query string, args ...any) error {
	t.queue.Query(scan, query, args...)
	return t.flush()
}

// row is a query for its first row.
type row struct {
	tx    *tx
	query string
	args  []any
}

// row makes a query for its first row. It runs when the row is scanned: sql.ErrNoRows if there is none.
func (t *tx) row(query string, args ...any) row { return row{t, query, args} }

// Scan runs the query and copies the columns.
func (r row) Scan(dest ...any) error {
	found := false
	err := r.tx.rows(func(rows *sqldb.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(dest...)
	}, r.query, r.args...)
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

// isNone tells whether an error says that a query has no row.
func isNone(err error) bool { return errors.Is(err, sql.ErrNoRows) }
