package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// DB is a database with one writer and several readers.
type DB struct {
	dialect        Dialect
	binds          rebinder
	writer, reader *pool
	seconds, wait  *prometheus.HistogramVec
}

// maxAttempts bounds how often Write runs a transaction that conflicts with another.
const maxAttempts = 5

func newDB(dialect Dialect, writer, reader *pool, opts Options) *DB {
	service := opts.Service
	if service == "" {
		service = "sql"
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return telemetry.Register(opts.Registerer, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "yubin", Subsystem: service, Name: name, Help: help,
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"class"}))
	}
	return &DB{
		dialect: dialect,
		binds:   rebinder{numbered: dialect.Numbered},
		writer:  writer,
		reader:  reader,
		seconds: histogram("sql_transaction_seconds", "Duration of database transactions by class, without the wait for a connection."),
		wait:    histogram("sql_wait_seconds", "Wait for a database connection by class of transaction."),
	}
}

// Dialect tells what differs in this database.
func (db *DB) Dialect() Dialect { return db.dialect }

// Write runs fn in a transaction that may write, and commits if fn returns nil: then everything is durable. There is
// one writer at a time. fn may be run again after a conflict, so it must not change anything but the database
// before Write has returned. class is a metric label, a constant such as "deliver".
func (db *DB) Write(ctx context.Context, class string, fn func(*Tx) error) error {
	return db.write(ctx, class, transaction{begin: db.dialect.BeginWrite, end: "COMMIT", abort: "ROLLBACK"}, fn)
}

// WriteRelaxed is Write whose commit does not wait for the disk. The transaction is atomic, ordered with all others, and
// survives kill -9; a loss of power may undo it, unless a Write has committed after it.
func (db *DB) WriteRelaxed(ctx context.Context, class string, fn func(*Tx) error) error {
	return db.write(ctx, class, db.dialect.relaxed, fn)
}

func (db *DB) write(ctx context.Context, class string, kind transaction, fn func(*Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := db.run(ctx, db.writer, class, kind, fn)
		if err == nil || attempt == maxAttempts || ctx.Err() != nil || !db.dialect.Conflict(err) {
			return err
		}
	}
}

// Read runs fn on a consistent snapshot. Writes fail. class is a metric label.
func (db *DB) Read(ctx context.Context, class string, fn func(*Tx) error) error {
	return db.run(ctx, db.reader, class, transaction{begin: db.dialect.BeginRead, end: db.dialect.EndRead, abort: "ROLLBACK"}, fn)
}

// transaction is how a kind of transaction begins and ends.
type transaction struct {
	begin, end, abort string
	// state says that begin and end set more of the connection than the transaction; if either fails, the connection is replaced.
	state bool
}

func (db *DB) run(ctx context.Context, from *pool, class string, kind transaction, fn func(*Tx) error) (err error) {
	asked := time.Now()
	c, err := from.get(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	db.wait.WithLabelValues(class).Observe(begun.Sub(asked).Seconds())
	tx := &Tx{conn: c, binds: &db.binds, open: map[*Rows]struct{}{}}
	broken := true // a panic in fn leaves the connection in an unknown state
	defer func() {
		db.seconds.WithLabelValues(class).Observe(time.Since(begun).Seconds())
		tx.finish()
		from.release(c, broken)
	}()
	if err := c.command(ctx, kind.begin); err != nil {
		broken = kind.state || errors.Is(err, driver.ErrBadConn) || ctx.Err() != nil
		return fmt.Errorf("begin transaction: %w", err)
	}
	err = fn(tx)
	tx.closeRows()
	if err == nil {
		// Once COMMIT was sent the caller's context must not make its outcome unknown.
		if err = c.command(context.WithoutCancel(ctx), kind.end); err == nil {
			broken = false
			return nil
		}
		err = fmt.Errorf("commit transaction: %w", err)
	}
	// Some errors have ended the transaction already (SQLite: full disk, interrupt); then ROLLBACK fails,
	// and a new connection costs less than finding out.
	broken = c.command(context.WithoutCancel(ctx), kind.abort) != nil
	return err
}

// Close waits for transactions in progress and closes the database. With SQLite it writes the log back into the database file.
func (db *DB) Close() error {
	err := db.reader.close()
	if db.dialect.Name == SQLite.Name {
		err = errors.Join(err, db.checkpoint())
	}
	return errors.Join(err, db.writer.close())
}
