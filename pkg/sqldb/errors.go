package sqldb

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrDone is returned when a Tx is used after its function has returned.
	ErrDone = errors.New("transaction has ended")
	// ErrOneOnly is returned for a second statement in ReadOne.
	ErrOneOnly = errors.New("only one statement may be run here")
	// ErrCorrupt is returned by Check for a damaged database.
	ErrCorrupt = errors.New("database is damaged")
	// ErrUnknownOutcome is returned by Write if the answer to COMMIT was lost: the transaction may have taken effect, or not.
	ErrUnknownOutcome = errors.New("outcome of the transaction is unknown")
)

// SQLSTATE codes of PostgreSQL, appendix A of its manual.
const (
	codeUniqueViolation     = "23505"
	codeReadOnly            = "25006" // the connection leads to what is a standby now
	codeIdleTimeout         = "25P03"
	codeNoSuchStatement     = "26000" // a pooler has taken another connection
	codeSerialization       = "40001"
	codeCompletionUnknown   = "40003"
	codeDeadlock            = "40P01"
	codeTooManyConnections  = "53300"
	codeDiskFull            = "53100"
	codeFeatureNotSupported = "0A000"
	classConnection         = "08"
	classData               = "22"
	classIntegrity          = "23"
	classLimit              = "54"
	classOperator           = "57" // shutdown, crash, starting up, cancelled
	codeCancelled           = "57014"
	stalePlan               = "cached plan must not change result type"
	severityError           = "ERROR"
	codeDuplicateTable      = "42P07"
	codeDuplicateObject     = "42710" // its row type
)

func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// primaryCode strips what SQLite's extended result codes add.
func primaryCode(err error) int { return sqliteCode(err) & 0xff }

func sqliteConflict(err error) bool { return primaryCode(err) == sqlite3.SQLITE_BUSY }

// postgresCode gives the SQLSTATE of an error that the server sent, else "".
func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func postgresConflict(err error) bool {
	switch postgresCode(err) {
	case codeSerialization, codeDeadlock, codeNoSuchStatement:
		return true
	case codeFeatureNotSupported:
		// Another version of the program has migrated a table that this connection has prepared statements for.
		return strings.Contains(err.Error(), stalePlan)
	}
	return false
}

// postgresLost tells whether an error means that the connection, or the server behind it, cannot be used now.
func postgresLost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch code := postgresCode(err); {
	case code == codeIdleTimeout, code == codeTooManyConnections, strings.HasPrefix(code, classConnection):
		return true
	case strings.HasPrefix(code, classOperator):
		return code != codeCancelled
	case code != "":
		return false
	}
	if _, unverified := errors.AsType[*tls.CertificateVerificationError](err); unverified {
		return false // time does not mend a wrong certificate
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting || errors.Is(err, errLost)
}

// IsUnavailable tells whether an error says that the database cannot be reached or does not take part now, so that the
// caller's caller should try again later. The outcome of a transaction may be unknown.
func IsUnavailable(err error) bool {
	return errors.Is(err, ErrUnknownOutcome) || postgresLost(err) || standby(err) || postgresConflict(err) || postgresCode(err) == codeCancelled
}

// createdMeanwhile tells whether CREATE … IF NOT EXISTS failed because another transaction has just created the same.
func createdMeanwhile(err error) bool {
	code := postgresCode(err)
	return code == codeUniqueViolation || code == codeDuplicateTable || code == codeDuplicateObject
}

// standby tells whether an error means that the connection leads to a server that only reads now.
func standby(err error) bool { return postgresCode(err) == codeReadOnly }

// rolledBack tells whether an error of COMMIT says for certain that the transaction has had no effect. A server that shuts
// down may have committed before it said so.
func rolledBack(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Severity == severityError && e.Code != codeCompletionUnknown &&
		!strings.HasPrefix(e.Code, classOperator) && !strings.HasPrefix(e.Code, classConnection)
}

// IsUnique tells whether an error is the violation of a unique index or a primary key. On PostgreSQL the
// transaction can then only be given up; where it is to go on, write ON CONFLICT DO NOTHING.
func IsUnique(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return postgresCode(err) == codeUniqueViolation
}

// IsFull tells whether an error says that the disk has no room.
func IsFull(err error) bool {
	return primaryCode(err) == sqlite3.SQLITE_FULL || postgresCode(err) == codeDiskFull
}

// IsRefused tells whether an error says that the database does not take what a statement was given: it would refuse the same again.
func IsRefused(err error) bool {
	switch primaryCode(err) {
	case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	switch code := postgresCode(err); {
	case strings.HasPrefix(code, classData), strings.HasPrefix(code, classIntegrity), strings.HasPrefix(code, classLimit):
		return true
	}
	return false
}
