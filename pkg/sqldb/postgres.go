package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// PostgresConfig says which PostgreSQL to use, and how.
type PostgresConfig struct {
	URL              string        // postgres://user:password@host:port/database?sslmode=…, as libpq reads it; several hosts are tried in turn
	MaxConnections   int           // of this process; 0 is 16
	StatementTimeout time.Duration // the server ends a statement that takes longer; 0: the server's own setting
	ConnectTimeout   time.Duration // to one host; 0 is 5 s
	StartTimeout     time.Duration // how long OpenPostgres waits for the server; 0 is 30 s
}

const (
	// idleTimeout is when the server ends a transaction whose process does nothing. Transactions last milliseconds.
	idleTimeout = 30 * time.Second
	// Connections are replaced now and then, so that they spread over servers that were added.
	connectionLifetime, lifetimeJitter = 30 * time.Minute, 5 * time.Minute
	// endTimeout bounds the wait for the answer to COMMIT and ROLLBACK, which the caller's context does not cut short.
	endTimeout = 15 * time.Second
)

// keepAlive finds out that a server's machine has gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// OpenPostgres connects to a database on PostgreSQL, CockroachDB or YugabyteDB. It waits for a server that is about to start.
func OpenPostgres(ctx context.Context, cfg PostgresConfig, opts Options) (*DB, error) {
	pc, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := newDB(Postgres, &postgresSource{pool}, opts)
	wait := cfg.StartTimeout
	if wait == 0 {
		wait = 30 * time.Second
	}
	start, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		if err = db.Ping(start); err == nil {
			return db, nil
		}
		if start.Err() != nil || !postgresLost(err) {
			return nil, errors.Join(fmt.Errorf("open database: %w", err), db.Close())
		}
	}
}

// pool translates the settings. Its errors do not tell the password.
func (cfg PostgresConfig) pool() (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", hidePassword(err, cfg.URL))
	}
	pc.MaxConns = 16
	if cfg.MaxConnections > 0 {
		pc.MaxConns = int32(min(cfg.MaxConnections, 10_000))
	}
	pc.MaxConnLifetime, pc.MaxConnLifetimeJitter = connectionLifetime, lifetimeJitter
	c := pc.ConnConfig
	if c.ConnectTimeout = cfg.ConnectTimeout; c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	c.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "yubin"
	}
	if cfg.StatementTimeout > 0 {
		c.RuntimeParams["statement_timeout"] = fmt.Sprint(cfg.StatementTimeout.Milliseconds())
		c.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(idleTimeout.Milliseconds())
	}
	return pc, nil
}

// postgresSource is a pool of connections.
type postgresSource struct {
	pool *pgxpool.Pool
}

// beginnings of transactions. The level is said because an administrator may have set another default.
var beginnings = map[kind]string{
	reading:   "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
	writing:   "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
	relaxed:   "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
	migrating: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
}

// cockroachMigrates: CockroachDB does not change a schema at READ COMMITTED.
const cockroachMigrates = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"

// takeTime is for migrations, which may take longer than any other statement.
const takeTime = "SET LOCAL statement_timeout = 0"

// dontWait makes the commit of this transaction not wait for the disk.
const dontWait = "SET LOCAL synchronous_commit = off"

func (s *postgresSource) begin(ctx context.Context, k kind) (session, error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	if k == single { // a statement is a transaction of its own
		return &postgresSession{source: s, conn: c, alone: true}, nil
	}
	first := []string{beginnings[k]}
	cockroach := c.Conn().PgConn().ParameterStatus("crdb_version") != ""
	switch {
	case k == relaxed && !cockroach: // which always waits
		first = append(first, dontWait)
	case k == migrating && cockroach:
		first = []string{cockroachMigrates, takeTime}
	case k == migrating:
		first = append(first, takeTime)
	}
	return &postgresSession{source: s, conn: c, first: first, writes: k.writes()}, nil
}

func (s *postgresSource) usage() usage {
	stat := s.pool.Stat()
	return usage{inUse: int(stat.AcquiredConns()), idle: int(stat.IdleConns()), most: int(stat.MaxConns())}
}

func (s *postgresSource) close() error {
	s.pool.Close()
	return nil
}

// forget closes the connections that are not in use: when one of them has died, the others probably have.

func (s *postgresSource) forget() { s.pool.Reset() }

// errLost marks the error of a connection that is closed now.
var errLost = errors.New("database connection lost")

// hidePassword makes sure of what pgx promises.
func hidePassword(err error, url string) error {
	text := err.Error()
	if _, rest, ok := strings.Cut(url, "://"); ok {
		if user, _, ok := cutLast(rest, "@"); ok {
			if _, password, ok := strings.Cut(user, ":"); ok && password != "" {
				text = strings.ReplaceAll(text, password, "…")
			}
		}
	}
	return errors.New(text)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
