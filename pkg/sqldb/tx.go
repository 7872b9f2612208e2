package sqldb

import (
	"context"
	"database/sql"
	"errors"
)

// Tx is a transaction. It is valid until the function it was given to returns, for one goroutine.
type Tx struct {
	on    session
	binds *rebinder
	open  map[*Rows]struct{}
	begun bool  // the database has begun it
	seen  bool  // the function has been given something that it may have kept
	left  int   // how many statements may still be run; negative: any number
	fault error // the first error of the database; the function may have turned it into another
}

// spend fails if the transaction may not run n more statements.
func (tx *Tx) spend(n int) error {
	switch {
	case tx.on == nil:
		return ErrDone
	case tx.left < 0:
		return nil
	case tx.left < n:
		return ErrOneOnly
	}
	tx.left -= n
	return nil
}

// note remembers an error of the database.
func (tx *Tx) note(err error) error {
	if tx.fault == nil {
		tx.fault = err
	}
	return err
}

// Exec runs a statement that gives no rows. The result has RowsAffected only.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := tx.spend(1); err != nil {
		return nil, err
	}
	result, err := tx.on.exec(ctx, tx.binds.rebind(query), args)
	if err != nil {
		return nil, tx.note(err)
	}
	tx.seen = true
	return result, nil
}

// Query runs a statement that gives rows. They end with the transaction if they are not closed before. Other statements
// may run while they are read.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	if err := tx.spend(1); err != nil {
		return nil, err
	}
	rows, err := tx.on.query(ctx, tx.binds.rebind(query), args)
	if err != nil {
		return nil, tx.note(err)
	}
	out := &Rows{cursor: rows, tx: tx}
	tx.open[out] = struct{}{}
	return out, nil
}

// QueryRow runs a statement for its first row; what goes wrong comes from Scan.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := tx.Query(ctx, query, args...)
	return &Row{rows, err}
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
	tx.on = nil
}

// Rows are the rows of a query, read one after the other as those of package database/sql.
type Rows struct {
	cursor
	tx *Tx
}

// Next makes the next row the current one, if there is one.
func (r *Rows) Next() bool {
	more := r.cursor.Next()
	if more {
		r.tx.seen = true
	}
	return more
}

// Err is why Next was false, nil after the last row.
func (r *Rows) Err() error {
	err := r.cursor.Err()
	if err == nil {
		r.tx.seen = true
	}
	return r.tx.note(err)
}

// Close ends the reading of rows. It may be called again.
func (r *Rows) Close() error {
	delete(r.tx.open, r)
	return r.tx.note(r.cursor.Close())
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
