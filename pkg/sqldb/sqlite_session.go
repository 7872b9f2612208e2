package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// sqliteStatements are how a kind of transaction begins and ends.
type sqliteStatements struct {
	begin, end, abort string
	// state says that begin and end set more of the connection than the transaction; if either fails, the connection is replaced.
	state bool
}

var sqliteKinds = map[kind]sqliteStatements{
	single:    {}, // a statement by itself is a transaction
	reading:   {begin: "BEGIN DEFERRED", end: "COMMIT", abort: "ROLLBACK"},
	writing:   {begin: "BEGIN IMMEDIATE", end: "COMMIT", abort: "ROLLBACK"},
	migrating: {begin: "BEGIN IMMEDIATE", end: "COMMIT", abort: "ROLLBACK"},
	relaxed: {
		begin: "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE",
		end:   "COMMIT; PRAGMA synchronous=FULL",
		abort: "ROLLBACK; PRAGMA synchronous=FULL",
		state: true,
	},
}

// sqliteSource has one writer and several readers.
type sqliteSource struct {
	writer, reader *sqlitePool
}

func (s *sqliteSource) begin(ctx context.Context, k kind) (session, error) {
	from := s.writer
	if !k.writes() {
		from = s.reader
	}
	c, err := from.get(ctx)
	if err != nil {
		return nil, err
	}
	kind := sqliteKinds[k]
	session := &sqliteSession{conn: c, from: from, kind: kind}
	if err = ctx.Err(); err == nil {
		err = session.script(ctx, kind.begin)
	}
	if err != nil {
		from.release(c, kind.state || errors.Is(err, driver.ErrBadConn))
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	return session, nil
}

// usage counts the readers and the writer.
func (s *sqliteSource) usage() usage {
	most, free := cap(s.writer.free)+cap(s.reader.free), len(s.writer.free)+len(s.reader.free)
	return usage{inUse: most - free, idle: free, most: most}
}

// close writes the log back into the database file.
func (s *sqliteSource) close() error {
	return errors.Join(s.reader.close(), s.checkpoint(), s.writer.close())
}

// checkpoint moves the whole log into the database file.
func (s *sqliteSource) checkpoint() error {
	ctx := context.Background()
	c, err := s.writer.get(ctx)
	if err != nil {
		return err
	}
	defer s.writer.release(c, false)
	if err := c.command(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("checkpoint database: %w", err)
	}
	return nil
}

type sqliteSession struct {
	conn      *conn
	from      *sqlitePool
	kind      sqliteStatements
	committed bool
	trips     int
}

// unwatched is what statements run under. The driver and database/sql watch a context that may end with three goroutines for each statement, which cost
// more than most statements: contexts are looked at between statements and between rows instead.
func unwatched(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func (s *sqliteSession) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	free := unwatched(ctx)
	stmt, err := s.conn.take(free, query)
	if err != nil {
		return nil, err
	}
	defer s.conn.put(query, stmt)
	s.trips++
	return stmt.ExecContext(free, args...)
}

func (s *sqliteSession) query(ctx context.Context, query string, args []any) (cursor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	free := unwatched(ctx)
	stmt, err := s.conn.take(free, query)
	if err != nil {
		return nil, err
	}
	s.trips++
	rows, err := stmt.QueryContext(free, args...) //nolint:rowserrcheck // the caller reads the rows, and their Err
	if err != nil {
		s.conn.put(query, stmt)
		return nil, err
	}
	return &sqliteCursor{Rows: rows, ctx: ctx, conn: s.conn, query: query, stmt: stmt}, nil
}

func (s *sqliteSession) batch(ctx context.Context, items []item, done func(int, int64, cursor) error) error {
	for i, it := range items {
		var rows cursor
		var affected int64
		if it.scan != nil {
			var err error
			if rows, err = s.query(ctx, it.query, it.args); err != nil {
				return err
			}
		} else {
			result, err := s.exec(ctx, it.query, it.args)
			if err != nil {
				return err
			}
			if affected, err = result.RowsAffected(); err != nil {
				return err
			}
		}
		if err := done(i, affected, rows); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSession) script(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	s.trips++
	return s.conn.command(unwatched(ctx), text)
}

func (s *sqliteSession) commit(ctx context.Context) error {
	if err := s.script(ctx, s.kind.end); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	s.committed = true
	return nil
}

func (s *sqliteSession) end(ctx context.Context, broken bool) {
	if !broken && !s.committed {
		// Some errors have ended the transaction already (full disk, interrupt); then ROLLBACK fails,
		// and a new connection costs less than finding out.
		broken = s.script(ctx, s.kind.abort) != nil
	}
	s.from.release(s.conn, broken)
}

func (s *sqliteSession) roundTrips() int { return s.trips }

// sqliteCursor is *sql.Rows that end with a context, and whose statement is used again after Close.
type sqliteCursor struct {
	*sql.Rows
	ctx   context.Context // of Next
	ended error           // of ctx
	conn  *conn
	query string
	stmt  *sql.Stmt
}

func (r *sqliteCursor) Next() bool {
	if r.ended = r.ctx.Err(); r.ended != nil {
		return false
	}
	return r.Rows.Next()
}

func (r *sqliteCursor) Err() error { return cmp.Or(r.ended, r.Rows.Err()) }

func (r *sqliteCursor) Close() error {
	err := r.Rows.Close()
	if r.stmt != nil {
		r.conn.put(r.query, r.stmt)
		r.stmt = nil
	}
	return err
}
