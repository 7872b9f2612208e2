package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
)

// Config chooses the database of a service. Its zero value, and one without a URL, is the embedded database.
type Config struct {
	service          string
	url              string
	maxConnections   int
	statementTimeout time.Duration
	connectTimeout   time.Duration
}

// Flags declares the settings, --<service>-database-….
func (c *Config) Flags(fs *pflag.FlagSet, service string) {
	c.service = service
	fs.StringVar(&c.url, c.flag("url"), "", "PostgreSQL database of the "+service+" service, as postgres://user@host:5432/name?sslmode=verify-full&sslrootcert=ca.pem "+
		"(also PGPASSWORD, passfile=, sslcert=, sslkey=; several hosts: a,b with target_session_attrs=read-write); empty: the embedded database in --data-dir")
	fs.IntVar(&c.maxConnections, c.flag("max-connections"), 16, "most connections of this process to the database of the "+service+" service, 2 to 1000")
	fs.DurationVar(&c.statementTimeout, c.flag("statement-timeout"), 30*time.Second,
		"when the server ends a statement of the "+service+" service; at least 1s, or 0 to leave it to the server's settings, as poolers want")
	fs.DurationVar(&c.connectTimeout, c.flag("connect-timeout"), 5*time.Second, "how long to try to connect to one database host of the "+service+" service; 100ms to 1m")
}

func (c *Config) flag(name string) string { return c.service + "-database-" + name }

// Embedded tells whether the database is SQLite in the data directory.
func (c *Config) Embedded() bool { return c.url == "" }

// Patient is the same database for work on it while nothing else runs: the server ends no statement, however long it takes.
func (c *Config) Patient() *Config {
	patient := *c
	patient.statementTimeout = 0
	return &patient
}

// Validate tells all that is wrong. It does not tell the password.
func (c *Config) Validate() []error {
	if c.service == "" { // nothing was declared: the embedded database
		return nil
	}
	var errs []error
	errs = config.Between(errs, c.flag("max-connections"), c.maxConnections, 2, 1000)
	if c.statementTimeout != 0 {
		errs = config.AtLeast(errs, c.flag("statement-timeout"), c.statementTimeout, time.Second)
	}
	errs = config.Between(errs, c.flag("connect-timeout"), c.connectTimeout, 100*time.Millisecond, time.Minute)
	for _, err := range checkURL(c.url) {
		errs = append(errs, config.Errorf(c.flag("url"), "%w", err))
	}
	return errs
}

// checkURL tells what is wrong with a URL, in words that do not repeat it.
func checkURL(text string) (errs []error) {
	if text == "" {
		return nil
	}
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return []error{errors.New("is no URL that begins with postgres://")}
	}
	parsed, err := pgconn.ParseConfig(text)
	if err != nil {
		return []error{fmt.Errorf("cannot be used: %w", hidePassword(err, text))}
	}
	if parsed.Database == "" {
		errs = append(errs, errors.New("names no database; write postgres://host/database"))
	}
	_, query, _ := strings.Cut(text, "?")
	given, err := url.ParseQuery(query)
	if err != nil {
		return append(errs, errors.New("has parameters that cannot be read"))
	}
	if given.Has("sslmode") || os.Getenv("PGSSLMODE") != "" {
		return errs
	}
	hosts := []string{parsed.Host}
	for _, f := range parsed.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, host := range hosts {
		if !local(host) {
			return append(errs, fmt.Errorf("does not say how to protect the connection to %s: add sslmode=verify-full (with sslrootcert= for a CA of your own), "+
				"or sslmode=disable where the network is trusted", host))
		}
	}
	return errs
}

// local tells whether a host is this machine: a Unix socket or a loopback address.
func local(host string) bool {
	ip := net.ParseIP(host)
	return filepath.IsAbs(host) || host == "localhost" || ip != nil && ip.IsLoopback()
}

// Open opens the database: the embedded one at sqlitePath, whose folder is made if need be, or PostgreSQL.
func (c *Config) Open(ctx context.Context, sqlitePath string, opts Options) (*DB, error) {
	if c.Embedded() {
		if err := os.MkdirAll(filepath.Dir(sqlitePath), 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		return OpenSQLite(sqlitePath, opts)
	}
	return OpenPostgres(ctx, PostgresConfig{
		URL:              c.url,
		MaxConnections:   c.maxConnections,
		StatementTimeout: c.statementTimeout,
		ConnectTimeout:   c.connectTimeout,
	}, opts)
}
