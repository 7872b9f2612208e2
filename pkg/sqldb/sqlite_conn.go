package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
)

// maxStatements bounds the statements that a connection keeps prepared.
const maxStatements = 256

// conn is one connection and its prepared statements. One goroutine uses it at a time.
type conn struct {
	*sql.Conn
	// idle statements by query. A statement in use is not here: SQLite's cannot be
	// used twice at a time, and the same query may run while its rows are still read.
	idle map[string]*sql.Stmt
}

func newConn(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	return &conn{Conn: c, idle: map[string]*sql.Stmt{}}, nil
}

// take gives a prepared statement that is the caller's until it is put back.
func (c *conn) take(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return stmt, nil
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare statement: %w", err)
	}
	return stmt, nil
}

func (c *conn) put(query string, stmt *sql.Stmt) {
	if _, twice := c.idle[query]; twice || len(c.idle) >= maxStatements {
		_ = stmt.Close()
		return
	}
	c.idle[query] = stmt
}

// command runs one or several statements without arguments.
func (c *conn) command(ctx context.Context, query string) error {
	if strings.Contains(query, ";") {
		_, err := c.ExecContext(ctx, query)
		return err
	}
	stmt, err := c.take(ctx, query)
	if err != nil {
		return err
	}
	defer c.put(query, stmt)
	_, err = stmt.ExecContext(ctx)
	return err
}

func (c *conn) close() {
	for _, stmt := range c.idle {
		_ = stmt.Close()
	}
	clear(c.idle)
	// Close alone would leave the connection, with whatever transaction is open on it, to database/sql's own pool.
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
}

// sqlitePool hands out a fixed number of connections.
type sqlitePool struct {
	db   *sql.DB
	free chan *conn // holds nil for a connection that is yet to be made
}

func newSQLitePool(db *sql.DB, size int) *sqlitePool {
	p := &sqlitePool{db: db, free: make(chan *conn, size)}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	for range size {
		p.free <- nil
	}
	return p
}

func (p *sqlitePool) get(ctx context.Context) (*conn, error) {
	select {
	case c := <-p.free:
		if c != nil {
			return c, nil
		}
		c, err := newConn(ctx, p.db)
		if err != nil {
			p.free <- nil
			return nil, err
		}
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for database connection: %w", context.Cause(ctx))
	}
}

// release gives a connection back; a broken one is closed and replaced when next needed.
func (p *sqlitePool) release(c *conn, broken bool) {
	if broken {
		c.close()
		c = nil
	}
	p.free <- c
}

// close waits for the connections in use and closes all.
func (p *sqlitePool) close() error {
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			c.close()
		}
	}
	return p.db.Close()
}
