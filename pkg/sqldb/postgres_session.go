package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresSession is a connection during a transaction. What begins the transaction is sent together with its first statement.
type postgresSession struct {
	source *postgresSource
	conn   *pgxpool.Conn
	first  []string        // what is to be sent before the next statement
	open   *postgresCursor // the rows that the server still sends; others may not be asked for meanwhile
	writes bool
	alone  bool // each statement is a transaction
	died   bool // the connection, or the server as one that takes writes
	trips  int
}

// lost marks an error after which the connection is closed.
func (s *postgresSession) lost(err error) error {
	if err == nil || !s.conn.Conn().IsClosed() {
		s.died = s.died || s.writes && standby(err)
		return err
	}
	// A caller that gives up has its connection closed too; that says nothing about the others.
	s.died = s.died || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	return fmt.Errorf("%w: %w", errLost, err)
}

// send sends statements together, after what is to come first. The caller reads the results of its own and closes them.
func (s *postgresSession) send(ctx context.Context, items ...item) (pgx.BatchResults, error) {
	if err := s.keep(); err != nil {
		return nil, err
	}
	s.trips++
	batch := &pgx.Batch{}
	for _, query := range s.first {
		batch.Queue(query)
	}
	for _, it := range items {
		batch.Queue(it.query, it.args...)
	}
	results := s.conn.SendBatch(ctx, batch)
	for range s.first {
		if _, err := results.Exec(); err != nil {
			_ = results.Close() // says the same
			return nil, s.lost(fmt.Errorf("begin transaction: %w", err))
		}
	}
	s.first = nil
	return results, nil
}

// keep reads the rest of the rows that are being read into memory, so that the connection is free for another statement.
func (s *postgresSession) keep() error {
	if s.open == nil {
		return nil
	}
	return s.open.keep()
}

func (s *postgresSession) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if len(s.first) == 0 {
		if err := s.keep(); err != nil {
			return nil, err
		}
		s.trips++
		tag, err := s.conn.Exec(ctx, query, args...)
		return driver.RowsAffected(tag.RowsAffected()), s.lost(err)
	}
	results, err := s.send(ctx, item{query: query, args: args})
	if err != nil {
		return nil, err
	}
	tag, err := results.Exec()
	if closed := results.Close(); err == nil {
		err = closed
	}
	return driver.RowsAffected(tag.RowsAffected()), s.lost(err)
}

func (s *postgresSession) query(ctx context.Context, query string, args []any) (cursor, error) {
	c := &postgresCursor{session: s}
	var err error
	if len(s.first) == 0 {
		if err := s.keep(); err != nil {
			return nil, err
		}
		s.trips++
		c.rows, err = s.conn.Query(ctx, query, args...)
	} else {
		if c.results, err = s.send(ctx, item{query: query, args: args}); err != nil {
			return nil, err
		}
		c.rows, err = c.results.Query()
	}
	if err != nil {
		c.rows.Close()
		if c.results != nil {
			_ = c.results.Close()
		}
		return nil, s.lost(err)
	}
	s.open = c
	return c, nil
}

func (s *postgresSession) batch(ctx context.Context, items []item, done func(int, int64, cursor) error) (err error) {
	results, err := s.send(ctx, items...)
	if err != nil {
		return err
	}
	defer func() {
		if closed := results.Close(); err == nil {
			err = closed
		}
		err = s.lost(err)
	}()
	for i, it := range items {
		if it.scan == nil {
			tag, err := results.Exec()
			if err != nil {
				return err
			}
			if err := done(i, tag.RowsAffected(), nil); err != nil {
				return err
			}
			continue
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if err := done(i, 0, &postgresCursor{session: s, rows: rows}); err != nil {
			return err
		}
	}
	return nil
}

func (s *postgresSession) script(ctx context.Context, text string) error {
	if len(s.first) > 0 {
		results, err := s.send(ctx)
		if err != nil {
			return err
		}
		if err := results.Close(); err != nil {
			return s.lost(err)
		}
	}
	return s.simple(ctx, text)
}

// simple runs statements over the simple protocol, which takes several at a time and prepares none.
func (s *postgresSession) simple(ctx context.Context, text string) error {
	if err := s.keep(); err != nil {
		return err
	}
	s.trips++
	_, err := s.conn.Conn().PgConn().Exec(ctx, text).ReadAll()
	return s.lost(err)
}

// Transaction states that the server reports with every answer.
const (
	txIdle   = 'I'
	txFailed = 'E'
)

// errFailed is returned where a function has gone on after an error that ended its transaction.
var errFailed = errors.New("commit transaction: an earlier statement has failed")

func (s *postgresSession) commit(ctx context.Context) error {
	if len(s.first) > 0 || s.alone { // nothing was asked for, or nothing is open
		return nil
	}
	switch c := s.conn.Conn(); {
	case c.IsClosed(): // while its rows were read
		return errLost
	case c.PgConn().TxStatus() == txFailed: // COMMIT would roll back and say that all is well
		return errFailed
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := s.simple(ctx, "COMMIT")
	switch {
	case err == nil:
		return nil
	case rolledBack(err):
		return fmt.Errorf("commit transaction: %w", err)
	case !s.writes: // all was read
		return nil
	}
	return fmt.Errorf("commit transaction: %w: %w", ErrUnknownOutcome, err)
}

func (s *postgresSession) end(ctx context.Context, broken bool) {
	c := s.conn.Conn()
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	switch {
	case s.died:
		s.source.forget()
		_ = c.Close(ctx)
	case broken:
		_ = c.Close(ctx)
	case c.PgConn().TxStatus() != txIdle:
		if s.simple(ctx, "ROLLBACK") != nil {
			_ = c.Close(ctx)
		}
	}
	s.conn.Release()
}

func (s *postgresSession) roundTrips() int { return s.trips }

// postgresCursor is the rows of a query: those that the server sends, or what was kept of them.
type postgresCursor struct {
	session *postgresSession
	rows    pgx.Rows
	results pgx.BatchResults // to be closed with the rows; may be nil
	kept    [][][]byte       // rows that were read ahead
	current []([]byte)       // the row that Next has taken from kept
	fields  []pgconn.FieldDescription
	done    bool
	err     error
}

// Next makes the next row the current one.
func (c *postgresCursor) Next() bool {
	if c.current = nil; len(c.kept) > 0 {
		c.current, c.kept = c.kept[0], c.kept[1:]
		return true
	}
	if c.done {
		return false
	}
	if c.rows.Next() {
		return true
	}
	c.finish()
	return false
}

// Scan copies the columns of the current row.
func (c *postgresCursor) Scan(dest ...any) error {
	if c.current != nil {
		return pgx.ScanRow(c.session.conn.Conn().TypeMap(), c.fields, c.current, dest...)
	}
	return c.rows.Scan(dest...)
}

// Err is why Next was false.
func (c *postgresCursor) Err() error { return c.err }

// Close ends the reading.
func (c *postgresCursor) Close() error {
	c.kept = nil
	c.finish()
	return c.err
}

// keep reads what is left into memory.
func (c *postgresCursor) keep() error {
	c.fields = append(c.fields, c.rows.FieldDescriptions()...)
	for c.rows.Next() {
		var row [][]byte
		for _, value := range c.rows.RawValues() {
			if value != nil {
				value = append([]byte{}, value...)
			}
			row = append(row, value)
		}
		c.kept = append(c.kept, row)
	}
	c.finish()
	return c.err
}

func (c *postgresCursor) finish() {
	if c.done {
		return
	}
	c.done = true
	c.rows.Close()
	c.err = c.rows.Err()
	if c.results != nil {
		if err := c.results.Close(); c.err == nil {
			c.err = err
		}
	}
	if c.session.open == c {
		c.session.open = nil
	}
	c.err = c.session.lost(c.err)
}
