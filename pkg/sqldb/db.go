package sqldb

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// Options of a database.
type Options struct {
	Readers    int                   // snapshot readers of SQLite at a time; 0 is 4
	Registerer prometheus.Registerer // may be nil
	Service    string                // the service in the metrics' names, yubin_<service>_sql_…
}

// DB is a database: SQLite with one writer and several readers, or a pool of connections to PostgreSQL.
type DB struct {
	dialect Dialect
	binds   rebinder
	source  source
	metrics
}

const (
	// maxConflicts bounds how often a transaction runs again because it conflicts with another.
	maxConflicts = 10
	// reconnectFor is how long a transaction waits for a server that has gone away, such as one that restarts.
	reconnectFor = 3 * time.Second
)

func newDB(dialect Dialect, from source, opts Options) *DB {
	service := opts.Service
	if service == "" {
		service = "sql"
	}
	telemetry.Register(opts.Registerer, newPool(service, from.usage))
	return &DB{
		dialect: dialect,
		binds:   rebinder{numbered: dialect.numbered},
		source:  from,
		metrics: newMetrics(opts.Registerer, service),
	}
}

// Dialect tells what differs in this database.
func (db *DB) Dialect() Dialect { return db.dialect }

// Write runs fn in a transaction that may write, and commits if fn returns nil: then everything is durable. In SQLite there is
// one writer at a time; PostgreSQL runs writers beside each other at READ COMMITTED, so fn locks what it decides by
// (Dialect.ForUpdate). fn is run again after a conflict or a lost connection, so it must not change anything but the database
// before Write has returned, and must begin its results anew. If the answer to COMMIT is lost the error is
// ErrUnknownOutcome. An error for which IsUnavailable holds is a fault with code Unavailable. class is a metric label, a constant such as "deliver".
func (db *DB) Write(ctx context.Context, class string, fn func(*Tx) error) error {
	return unavailable(db.repeat(ctx, class, writing, fn))
}

// WriteRelaxed is Write whose commit does not wait for the disk. The transaction is atomic, ordered with all others, and
// survives kill -9 of this process; a loss of power, or of the PostgreSQL server, may undo it, unless a Write has committed after it.
func (db *DB) WriteRelaxed(ctx context.Context, class string, fn func(*Tx) error) error {
	return unavailable(db.repeat(ctx, class, relaxed, fn))
}

// Read runs fn on a consistent snapshot. Writes fail. fn is run again only as long as it has been given nothing. class is a metric label.
func (db *DB) Read(ctx context.Context, class string, fn func(*Tx) error) error {
	return unavailable(db.repeat(ctx, class, reading, fn))
}

// ReadOne is Read for an fn that runs one statement, not more: PostgreSQL then needs one round trip where Read takes two. class is a metric label.
func (db *DB) ReadOne(ctx context.Context, class string, fn func(*Tx) error) error {
	return unavailable(db.repeat(ctx, class, single, fn))
}

// unavailable says to whoever called this service that trying again later helps.
func unavailable(err error) error {
	if err == nil || !IsUnavailable(err) {
		return err
	}
	if _, said := errors.AsType[*fault.Error](err); said {
		return err
	}
	return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the database cannot be reached, try again later")
}

// repeat runs a transaction until it succeeds or fails for a reason that will not pass.
func (db *DB) repeat(ctx context.Context, class string, k kind, fn func(*Tx) error) (failure error) {
	m := db.classes.Get(class)
	ctx, span := telemetry.StartSpan(ctx, "sql", class)
	var tx *Tx
	defer func() {
		if failure != nil && db.failed(m, tx, failure) {
			span.Fail()
		}
		span.End(nil)
	}()
	conflicts, losses := 0, 0
	var lostSince time.Time
	for {
		tx = &Tx{binds: &db.binds, open: map[*Rows]struct{}{}, left: -1}
		if k == single {
			tx.left = 1
		}
		err := db.run(ctx, m, k, tx, fn)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnknownOutcome) || (!k.writes() && tx.seen) {
			return err
		}
		cause := err
		if tx.fault != nil {
			cause = tx.fault
		}
		var pause time.Duration
		switch {
		case db.dialect.Conflict(cause):
			if conflicts++; conflicts > maxConflicts {
				return err
			}
			pause = backoff(2*time.Millisecond, 250*time.Millisecond, conflicts)
			m.conflictRetries.Inc()
		case postgresLost(cause), k.writes() && standby(cause):
			if losses++; losses == 1 {
				lostSince = time.Now()
			}
			if time.Since(lostSince) > reconnectFor {
				return err
			}
			if losses > 1 { // the first may be a connection that died while nobody used it
				pause = backoff(20*time.Millisecond, 500*time.Millisecond, losses)
			}
			m.connectRetries.Inc()
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// backoff doubles from first to most, and takes a random part so that those that met do not meet again.
func backoff(first, most time.Duration, attempt int) time.Duration {
	d := min(most, first<<min(attempt-1, 20))
	return d/2 + rand.N(d/2+1) //nolint:gosec // G404: no secret
}

func (db *DB) run(ctx context.Context, m *classMetrics, k kind, tx *Tx, fn func(*Tx) error) (err error) {
	asked := time.Now()
	s, err := db.source.begin(ctx, k)
	if err != nil {
		return err
	}
	begun := time.Now()
	m.wait.Observe(begun.Sub(asked).Seconds())
	tx.on, tx.begun = s, true
	// Once COMMIT was sent the caller's context must not make its outcome unknown, nor leave a transaction open.
	ending := context.WithoutCancel(ctx)
	broken := true // a panic in fn leaves the connection in an unknown state
	defer func() {
		telemetry.Since(ctx, m.seconds, begun)
		tx.finish()
		s.end(ending, broken)
		m.trips.Add(float64(s.roundTrips()))
	}()
	err = fn(tx)
	tx.closeRows()
	broken = false
	if err != nil {
		return err
	}
	return tx.note(s.commit(ending))
}

// Close waits for transactions in progress and closes the database. With SQLite it writes the log back into the database file.
func (db *DB) Close() error { return db.source.close() }
