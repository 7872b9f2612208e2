package sqldb

import (
	"context"
	"database/sql"
)

// kind of a transaction.
type kind int

const (
	reading kind = iota
	single       // reading by one statement
	writing
	relaxed   // writing without waiting for the disk
	migrating // writing and changing the schema
)

// source gives out connections.
type source interface {
	// begin takes a connection and begins a transaction on it, at the latest with its first statement. The caller ends the session.
	begin(ctx context.Context, k kind) (session, error)
	close() error
	usage() usage
}

// writes tells whether a transaction of this kind may change something.
func (k kind) writes() bool { return k != reading && k != single }

// session is a connection during one transaction. Queries have the placeholders of the dialect.
type session interface {
	exec(ctx context.Context, query string, args []any) (sql.Result, error)
	query(ctx context.Context, query string, args []any) (cursor, error)
	// batch runs statements in order. done is called for each that has run, with its count or its rows, until one fails.
	batch(ctx context.Context, items []item, done func(i int, affected int64, rows cursor) error) error
	// script runs several statements without arguments.
	script(ctx context.Context, text string) error
	// commit makes the transaction durable. It fails with ErrUnknownOutcome if it may have.
	commit(ctx context.Context) error
	// end gives the connection back, after a rollback unless it was committed. A connection whose state is unknown is closed.
	end(ctx context.Context, broken bool)
	// roundTrips tells how often the session has waited for the server.
	roundTrips() int
}

// cursor is the rows of a query.
type cursor interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}
