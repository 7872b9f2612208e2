package meta

import (
	"database/sql"
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// maxQueue bounds the statements that wait for a round trip, and so the memory for their arguments.
const maxQueue = 2000

// queue is statements that run together.
type queue struct {
	batch sqldb.Batch
	bad   bool // one has an argument that is no text
}

// errText is the fault of a text that a database cannot hold or compare. Both refuse it, so that they do not differ.
var errText = fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "an id or a name is not UTF-8 or has a NUL")

// validText tells whether databases take a text: PostgreSQL has no NUL, and wants UTF-8.
func validText(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

func (q *queue) check(args []any) {
	for _, a := range args {
		if s, ok := a.(string); ok && !validText(s) {
			q.bad = true
		}
	}
}

// Exec is sqldb.Batch.Exec.
func (q *queue) Exec(query string, args ...any) {
	q.check(args)
	q.batch.Exec(query, args...)
}

// ExecCount is sqldb.Batch.ExecCount.
func (q *queue) ExecCount(n *int64, query string, args ...any) {
	q.check(args)
	q.batch.ExecCount(n, query, args...)
}

// Query is sqldb.Batch.Query.
func (q *queue) Query(scan func(*sqldb.Rows) error, query string, args ...any) {
	q.check(args)
	q.batch.Query(scan, query, args...)
}

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
	if t.queue.batch.Len() < maxQueue {
		return nil
	}
	return t.flush()
}

// flush runs what was left for later.
func (t *tx) flush() error {
	if t.queue.batch.Len() == 0 {
		return nil
	}
	q, checks := t.queue, t.checks
	t.queue, t.checks = queue{}, nil
	if q.bad {
		return errText
	}
	if err := t.raw.Batch(t.ctx, &q.batch); err != nil {
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

// texts sets out to the one column of a query's rows.
func (t *tx) texts(out *[]string, query string, args ...any) error {
	*out = nil
	return t.rows(func(rows *sqldb.Rows) error {
		var text string
		err := rows.Scan(&text)
		*out = append(*out, text)
		return err
	}, query, args...)
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
