package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Reservation asks for capacity for one write.
type Reservation struct {
	ID, AccountID string
	Amount        Amount
	Exempt        bool // never refused, but counted
}

// Result answers a Reservation.
type Result struct {
	Granted bool
	Usage   Usage // on refusal only
}

// ErrReused is returned for a reservation id that stands for another account or amount already.
var ErrReused = errors.New("reservation id is in use for another write")

// Reserve answers each reservation in order, all in one transaction. An id that holds a reservation is granted
// again. What does not fit takes nothing.
func (l *Ledger) Reserve(ctx context.Context, reservations []Reservation) ([]Result, error) {
	// Rows are locked in one order everywhere, so that two transactions never wait for each other.
	order := orderByAccount(reservations, func(r Reservation) string { return r.AccountID })
	results := make([]Result, len(reservations))
	var noticed bool
	err := l.db.WriteRelaxed(ctx, "reserve", func(tx *sqldb.Tx) error {
		noticed = false
		missing := &MissingError{}
		for _, i := range order {
			r := reservations[i]
			result, warned, err := l.reserve(ctx, tx, r)
			if m, ok := errors.AsType[*MissingError](err); ok {
				missing.add(m.Accounts[0])
				continue
			}
			if err != nil {
				return err
			}
			results[i] = result
			noticed = noticed || warned
		}
		if len(missing.Accounts) > 0 {
			return missing
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reserve: %w", err)
	}
	if noticed {
		l.opts.Noticed()
	}
	return results, nil
}

func (l *Ledger) reserve(ctx context.Context, tx *sqldb.Tx, r Reservation) (result Result, noticed bool, err error) {
	held, err := l.holds(ctx, tx, r)
	if err != nil || held {
		return Result{Granted: held}, false, err
	}
	a, err := l.account(ctx, tx, r.AccountID)
	if err != nil {
		return Result{}, false, err
	}
	granted, err := take(ctx, tx, a, r)
	if err != nil {
		return Result{}, false, err
	}
	if !granted {
		expired, err := l.expireAccount(ctx, tx, r.AccountID)
		if err != nil {
			return Result{}, false, err
		}
		if expired > 0 {
			if granted, err = take(ctx, tx, a, r); err != nil {
				return Result{}, false, err
			}
		}
	}
	if granted {
		now := l.opts.Now()
		_, err := tx.Exec(ctx, `INSERT INTO reservations (account_id, reservation_id, bytes, messages, reserved_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
			r.AccountID, r.ID, r.Amount.Bytes, r.Amount.Messages, now.UnixMilli(), now.Add(l.opts.TTL).UnixMilli())
		if err != nil {
			return Result{}, false, fmt.Errorf("insert reservation: %w", err)
		}
		return Result{Granted: true}, false, nil
	}
	if a, err = l.account(ctx, tx, r.AccountID); err != nil {
		return Result{}, false, err
	}
	noticed, err = l.warn(ctx, tx, a, true)
	return Result{Usage: a.Usage}, noticed, err
}

// holds tells whether the reservation stands already, because its answer was lost.
func (l *Ledger) holds(ctx context.Context, tx *sqldb.Tx, r Reservation) (bool, error) {
	var accountID string
	var amount Amount
	err := tx.QueryRow(ctx, `SELECT account_id, bytes, messages FROM reservations WHERE reservation_id = ?`, r.ID).
		Scan(&accountID, &amount.Bytes, &amount.Messages)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read reservation: %w", err)
	case accountID != r.AccountID || amount != r.Amount:
		return false, ErrReused
	}
	return true, nil
}

// take adds to what is reserved if the sum stays within the limit: one statement, so that nobody comes between.
func take(ctx context.Context, tx *sqldb.Tx, a *account, r Reservation) (bool, error) {
	limit := a.Limit
	if r.Exempt {
		limit = Amount{Unlimited, Unlimited}
	}
	n, err := affected(tx.Exec(ctx, `UPDATE ledger
		SET reserved_bytes = reserved_bytes + ?, reserved_messages = reserved_messages + ?
		WHERE account_id = ?
		AND (? = 0 OR ? = -1 OR used_bytes + reserved_bytes + ? <= ?)
		AND (? = 0 OR ? = -1 OR used_messages + reserved_messages + ? <= ?)`,
		r.Amount.Bytes, r.Amount.Messages, r.AccountID,
		r.Amount.Bytes, limit.Bytes, r.Amount.Bytes, limit.Bytes,
		r.Amount.Messages, limit.Messages, r.Amount.Messages, limit.Messages))
	if err != nil {
		return false, fmt.Errorf("take capacity: %w", err)
	}
	return n == 1, nil
}

// Release gives reservations back. Unknown ids are ignored.
func (l *Ledger) Release(ctx context.Context, ids []string) error {
	err := l.db.WriteRelaxed(ctx, "release", func(tx *sqldb.Tx) error {
		freed := freed{}
		for _, id := range ids {
			if err := freed.remove(ctx, tx, `DELETE FROM reservations WHERE reservation_id = ? RETURNING account_id, bytes, messages, reserved_at`, id); err != nil {
				return err
			}
		}
		return freed.giveBack(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// Expire returns the capacity of reservations that are past their time, of up to 1,000 accounts, and tells how many
// reservations there were.
func (l *Ledger) Expire(ctx context.Context) (n int, err error) {
	var accounts []string
	err = l.db.Read(ctx, "expire", func(tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, `SELECT DISTINCT account_id FROM reservations WHERE expires_at <= ? ORDER BY account_id LIMIT 1000`, l.opts.Now().UnixMilli())
		if err != nil {
			return err
		}
		accounts, err = scanStrings(rows)
		return err
	})
	if err != nil || len(accounts) == 0 {
		return 0, err
	}
	err = l.db.WriteRelaxed(ctx, "expire", func(tx *sqldb.Tx) error {
		n = 0
		for _, id := range accounts {
			expired, err := l.expireAccount(ctx, tx, id)
			if err != nil {
				return err
			}
			n += expired
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("expire reservations: %w", err)
	}
	return n, nil
}

func (l *Ledger) expireAccount(ctx context.Context, tx *sqldb.Tx, id string) (int, error) {
	freed := freed{}
	err := freed.remove(ctx, tx, `DELETE FROM reservations WHERE account_id = ? AND expires_at <= ? RETURNING account_id, bytes, messages, reserved_at`,
		id, l.opts.Now().UnixMilli())
	if err != nil {
		return 0, err
	}
	return freed.count, freed.giveBack(ctx, tx)
}

// freed gathers what reservations that were deleted had taken.
type freed struct {
	byAccount map[string]Amount
	times     []int64 // when they were reserved, Unix milliseconds
	count     int
}

// remove runs a query that deletes reservations and returns account, bytes, messages and time.
func (f *freed) remove(ctx context.Context, tx *sqldb.Tx, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("delete reservations: %w", err)
	}
	if f.byAccount == nil {
		f.byAccount = map[string]Amount{}
	}
	for rows.Next() {
		var account string
		var n Amount
		var at int64
		if err := rows.Scan(&account, &n.Bytes, &n.Messages, &at); err != nil {
			return fmt.Errorf("delete reservations: %w", err)
		}
		sum := f.byAccount[account]
		f.byAccount[account] = Amount{sum.Bytes + n.Bytes, sum.Messages + n.Messages}
		f.times = append(f.times, at)
		f.count++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("delete reservations: %w", err)
	}
	return nil
}

// giveBack lowers what the accounts have reserved.
func (f *freed) giveBack(ctx context.Context, tx *sqldb.Tx) error {
	for _, account := range sortedKeys(f.byAccount) {
		n := f.byAccount[account]
		_, err := tx.Exec(ctx, `UPDATE ledger SET reserved_bytes = reserved_bytes - ?, reserved_messages = reserved_messages - ? WHERE account_id = ?`,
			n.Bytes, n.Messages, account)
		if err != nil {
			return fmt.Errorf("give capacity back: %w", err)
		}
	}
	return nil
}

// orderByAccount gives the indexes of items sorted by account, each account's in their order.
func orderByAccount[T any](items []T, account func(T) string) []int {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(account(items[i]), account(items[j])) })
	return order
}
