package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Tx is a transaction. It is valid until the function it was given to returns, for one goroutine.
type Tx struct {
	conn  *conn
	binds *rebinder
	open  map[*Rows]struct{}
}

// ErrDone is returned when a Tx is used after its function has returned.
var ErrDone = errors.New("transaction has ended")

// Exec runs a statement that gives no rows.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query, stmt, err := tx.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	defer tx.conn.put(query, stmt)
	return stmt.ExecContext(ctx, args...)
}

// Query runs a statement that gives rows. They end with the transaction if they are not closed before.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	query, stmt, err := tx.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args...) //nolint:rowserrcheck // the caller reads the rows, and their Err
	if err != nil {
		tx.conn.put(query, stmt)
		return nil, err
	}
	out := &Rows{Rows: rows, tx: tx, query: query, stmt: stmt}
	tx.open[out] = struct{}{}
	return out, nil
}

// QueryRow runs a statement for its first row; what goes wrong comes from Scan.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := tx.Query(ctx, query, args...)
	return &Row{rows, err}
}

func (tx *Tx) statement(ctx context.Context, query string) (string, *sql.Stmt, error) {
	if tx.conn == nil {
		return "", nil, ErrDone
	}
	query = tx.binds.rebind(query)
	stmt, err := tx.conn.take(ctx, query)
	if err != nil {
		return "", nil, fmt.Errorf("prepare statement: %w", err)
	}
	return query, stmt, nil
}

// closeRows closes what the transaction's function left open.
func (tx *Tx) closeRows() {
	for rows := range tx.open {
		_ = rows.Close()
	}
}

// finish makes every later use of the transaction an error.
func (tx *Tx) finish() {
	tx.closeRows()
	tx.conn = nil
}

// Rows is *sql.Rows whose statement is used again after Close.
type Rows struct {
	*sql.Rows
	tx    *Tx
	query string
	stmt  *sql.Stmt
}

// Close ends the reading of rows. It may be called again.
func (r *Rows) Close() error {
	err := r.Rows.Close()
	if _, open := r.tx.open[r]; open {
		delete(r.tx.open, r)
		r.tx.conn.put(r.query, r.stmt)
	}
	return err
}

// Row is the outcome of QueryRow.
type Row struct {
	rows *Rows
	err  error
}

// Scan copies the columns of the row. It returns sql.ErrNoRows if there is none.
func (r *Row) Scan(dest ...any) (err error) {
	if r.err != nil {
		return r.err
	}
	defer func() { err = errors.Join(err, r.rows.Close()) }()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	return r.rows.Scan(dest...)
}
