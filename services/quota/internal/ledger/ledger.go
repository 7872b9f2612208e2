package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Unlimited is a limit that nothing reaches.
const Unlimited = -1

// Amount of bytes (octets) and messages.
type Amount struct{ Bytes, Messages int64 }

func (n Amount) plus(m Amount) Amount  { return Amount{n.Bytes + m.Bytes, n.Messages + m.Messages} }
func (n Amount) minus(m Amount) Amount { return Amount{n.Bytes - m.Bytes, n.Messages - m.Messages} }

// Usage of an account. Limit holds what is in force, Unlimited for none.
type Usage struct {
	AccountID             string
	Limit, Used, Reserved Amount
}

// fits tells whether so much more would fit.
func (u Usage) fits(n Amount) bool {
	return fits(u.Used.Bytes+u.Reserved.Bytes, n.Bytes, u.Limit.Bytes) &&
		fits(u.Used.Messages+u.Reserved.Messages, n.Messages, u.Limit.Messages)
}

func fits(taken, n, limit int64) bool { return n == 0 || limit == Unlimited || taken+n <= limit }

// Options of a ledger.
type Options struct {
	Default Amount        // limit where no scope says anything
	TTL     time.Duration // of a reservation
	Levels  []int         // percent of the limit at which the owner is warned, ascending
	Now     func() time.Time
	// Noticed is called after a notice was written. It must not block. May be nil.
	Noticed func()
}

// Ledger is safe for concurrent use, also by several processes on one database.
type Ledger struct {
	db        *sqldb.DB
	opts      Options
	forUpdate string // ends a SELECT of accounts whose rows are to be locked
}

//go:embed migrations
var migrations embed.FS

// New brings the database's schema up to date. The ledger does not close the database.
func New(ctx context.Context, db *sqldb.DB, opts Options) (*Ledger, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	if err := db.Migrate(ctx, files); err != nil {
		return nil, err
	}
	if opts.Noticed == nil {
		opts.Noticed = func() {}
	}
	l := &Ledger{db: db, opts: opts}
	if lock := db.Dialect().ForUpdate; lock != "" {
		l.forUpdate = lock + " OF l" // the limits are only read
	}
	return l, nil
}

// MissingError says that accounts have no row yet.
type MissingError struct{ Accounts []string }

func (e *MissingError) Error() string {
	return "accounts without a ledger row: " + strings.Join(e.Accounts, ", ")
}

// account is a row of table ledger with the limits in force.
type account struct {
	row
	stored row // as it was read
}

// row is what the ledger itself changes of an account, and Usage.Limit.
type row struct {
	Usage
	sequence int64
	alarm    alarm
	notices  int64
}

const selectAccounts = `SELECT l.account_id,
	COALESCE(l.limit_bytes, d.bytes, g.bytes, ?), COALESCE(l.limit_messages, d.messages, g.messages, ?),
	l.used_bytes, l.used_messages, l.reserved_bytes, l.reserved_messages,
	l.last_sequence, l.alarm_level, l.alarm_rearm, l.notices
	FROM ledger l LEFT JOIN limits d ON d.domain = l.domain LEFT JOIN limits g ON g.domain = ''`

type scanner interface{ Scan(dest ...any) error }

func (a *row) scan(from scanner) error {
	return from.Scan(&a.AccountID, &a.Limit.Bytes, &a.Limit.Messages, &a.Used.Bytes, &a.Used.Messages,
		&a.Reserved.Bytes, &a.Reserved.Messages, &a.sequence, &a.alarm.level, &a.alarm.rearm, &a.notices)
}

// Account is what Open needs to know.
type Account struct{ ID, Domain string }

// Open makes the rows of accounts that have none.
func (l *Ledger) Open(ctx context.Context, accounts ...Account) error {
	return l.write(ctx, "open", durable, func(w *work) error {
		sorted := slices.SortedFunc(slices.Values(accounts), func(a, b Account) int { return strings.Compare(a.ID, b.ID) })
		for _, a := range sorted {
			w.writes.Exec(`INSERT INTO ledger (account_id, domain, used_bytes, used_messages, reserved_bytes, reserved_messages,
				last_sequence, alarm_level, alarm_rearm, notices) VALUES (?, ?, 0, 0, 0, 0, 0, 0, 0, 0)
				ON CONFLICT (account_id) DO NOTHING`, a.ID, a.Domain)
		}
		return w.save()
	})
}

// Forget drops all that is known of an account.
func (l *Ledger) Forget(ctx context.Context, id string) error {
	return l.write(ctx, "forget", durable, func(w *work) error {
		w.writes.Exec(`DELETE FROM ledger WHERE account_id = ?`, id) // first: whoever holds the account is waited for
		w.writes.Exec(`DELETE FROM reservations WHERE account_id = ?`, id)
		w.writes.Exec(`DELETE FROM notices WHERE account_id = ?`, id)
		return w.save()
	})
}

// Usage of one account.
func (l *Ledger) Usage(ctx context.Context, id string) (Usage, error) {
	at, err := l.Position(ctx, id)
	return at.Usage, err
}

// Position is an account's usage and the sequence of the last event in it.
type Position struct {
	Usage
	Sequence int64
}

// Position of one account.
func (l *Ledger) Position(ctx context.Context, id string) (at Position, err error) {
	err = l.db.ReadOne(ctx, "usage", func(tx *sqldb.Tx) error {
		var a row
		err := a.scan(tx.QueryRow(ctx, selectAccounts+` WHERE l.account_id = ?`, l.opts.Default.Bytes, l.opts.Default.Messages, id))
		at = Position{a.Usage, a.sequence}
		return err
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Position{}, &MissingError{Accounts: []string{id}}
	case err != nil:
		return Position{}, fmt.Errorf("read account: %w", err)
	}
	return at, nil
}

// ListUsage gives up to limit accounts in order of id, from the one after the given.
func (l *Ledger) ListUsage(ctx context.Context, after string, limit int) (out []Usage, err error) {
	err = l.db.ReadOne(ctx, "list", func(tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, selectAccounts+` WHERE l.account_id > ? ORDER BY l.account_id LIMIT ?`,
			l.opts.Default.Bytes, l.opts.Default.Messages, after, limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			a := row{}
			if err := a.scan(rows); err != nil {
				return err
			}
			out = append(out, a.Usage)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list usage: %w", err)
	}
	return out, nil
}

// Check tells whether so much more would fit now. Expired reservations do not count.
func (l *Ledger) Check(ctx context.Context, id string, n Amount) (bool, Usage, error) {
	usage, err := l.Usage(ctx, id)
	if err != nil || usage.fits(n) {
		return err == nil, usage, err
	}
	err = l.write(ctx, "check", relaxed, func(w *work) error {
		if err := w.lock([]string{id}, func(b *sqldb.Batch) { w.expire(b, id) }); err != nil {
			return err
		}
		a, err := w.account(id)
		if err != nil {
			return err
		}
		if usage = a.Usage; !usage.fits(n) {
			w.warn(a, true)
		}
		return w.save()
	})
	if err != nil {
		return false, Usage{}, err
	}
	return usage.fits(n), usage, nil
}

// Count of accounts.
func (l *Ledger) Count(ctx context.Context) (n int, err error) {
	err = l.db.ReadOne(ctx, "list", func(tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM ledger`).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count accounts: %w", err)
	}
	return n, nil
}
