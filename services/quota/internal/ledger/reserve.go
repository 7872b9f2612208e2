package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
// again, and held for its whole time anew. What does not fit takes nothing.
func (l *Ledger) Reserve(ctx context.Context, reservations []Reservation) ([]Result, error) {
	order := orderByAccount(reservations, func(r Reservation) string { return r.AccountID })
	var results []Result
	err := l.write(ctx, "reserve", relaxed, func(w *work) error {
		results = make([]Result, len(reservations))
		held, err := w.lockForReservations(reservations)
		if err != nil {
			return err
		}
		for _, i := range order {
			if results[i], err = w.reserve(reservations[i], held); err != nil {
				return err
			}
		}
		return w.save()
	})
	if sqldb.IsUnique(err) {
		return nil, ErrReused // by another transaction for another account
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// held are reservations that stand already, by id: those whose answer was lost.
type held map[string]Reservation

// lockForReservations locks the accounts, which must all be there, and finds the reservations that stand already.
func (w *work) lockForReservations(reservations []Reservation) (held, error) {
	found := held{}
	accounts := make([]string, len(reservations))
	for i, r := range reservations {
		accounts[i] = r.AccountID
	}
	err := w.lock(accounts, func(b *sqldb.Batch) {
		for _, r := range reservations {
			b.Query(func(rows *sqldb.Rows) error {
				var h Reservation
				err := rows.Scan(&h.ID, &h.AccountID, &h.Amount.Bytes, &h.Amount.Messages)
				found[h.ID] = h
				return err
			}, `SELECT reservation_id, account_id, bytes, messages FROM reservations WHERE reservation_id = ?`, r.ID)
		}
	})
	if err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(accounts, func(id string) bool { return w.accounts[id] != nil })
	if len(missing) > 0 {
		return nil, &MissingError{Accounts: slices.Compact(slices.Sorted(slices.Values(missing)))}
	}
	return found, nil
}

func (w *work) reserve(r Reservation, found held) (Result, error) {
	if h, ok := found[r.ID]; ok {
		if h.AccountID != r.AccountID || h.Amount != r.Amount {
			return Result{}, ErrReused
		}
		w.writes.Exec(`UPDATE reservations SET expires_at = ? WHERE account_id = ? AND reservation_id = ?`,
			w.l.opts.Now().Add(w.l.opts.TTL).UnixMilli(), r.AccountID, r.ID)
		return Result{Granted: true}, nil
	}
	a := w.accounts[r.AccountID]
	if !r.Exempt && !a.fits(r.Amount) {
		b := &sqldb.Batch{}
		w.expire(b, r.AccountID)
		if err := w.tx.Batch(w.ctx, b); err != nil {
			return Result{}, fmt.Errorf("expire reservations: %w", err)
		}
		if !a.fits(r.Amount) {
			w.warn(a, true)
			return Result{Usage: a.Usage}, nil
		}
	}
	a.Reserved = a.Reserved.plus(r.Amount)
	found[r.ID] = r
	now := w.l.opts.Now()
	w.writes.Exec(`INSERT INTO reservations (account_id, reservation_id, bytes, messages, reserved_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
		r.AccountID, r.ID, r.Amount.Bytes, r.Amount.Messages, now.UnixMilli(), now.Add(w.l.opts.TTL).UnixMilli())
	return Result{Granted: true}, nil
}

// expire adds to a batch what returns the capacity of a locked account's reservations that are past their time.
func (w *work) expire(b *sqldb.Batch, id string) {
	b.Query(w.freed, `DELETE FROM reservations WHERE account_id = ? AND expires_at <= ?`+free, id, w.l.opts.Now().UnixMilli())
}

// Release gives reservations back. Unknown ids are ignored.
func (l *Ledger) Release(ctx context.Context, ids []string) error {
	return l.write(ctx, "release", relaxed, func(w *work) error {
		accounts := map[string]string{} // by reservation
		find := &sqldb.Batch{}
		for _, id := range ids {
			find.Query(func(rows *sqldb.Rows) error {
				var account string
				err := rows.Scan(&account)
				accounts[id] = account
				return err
			}, `SELECT account_id FROM reservations WHERE reservation_id = ?`, id)
		}
		if err := w.tx.Batch(ctx, find); err != nil {
			return fmt.Errorf("find reservations: %w", err)
		}
		err := w.lock(slices.Collect(maps.Values(accounts)), func(b *sqldb.Batch) {
			for id, account := range accounts {
				b.Query(w.freed, `DELETE FROM reservations WHERE account_id = ? AND reservation_id = ?`+free, account, id)
			}
		})
		if err != nil {
			return err
		}
		return w.save()
	})
}

// Expire returns the capacity of reservations that are past their time, of up to 1,000 accounts, and tells how many
// reservations there were.
func (l *Ledger) Expire(ctx context.Context) (n int, err error) {
	var accounts []string
	err = l.db.ReadOne(ctx, "expire", func(tx *sqldb.Tx) error {
		b := &sqldb.Batch{}
		b.Query(func(rows *sqldb.Rows) error {
			var id string
			err := rows.Scan(&id)
			accounts = append(accounts, id)
			return err
		}, `SELECT DISTINCT account_id FROM reservations WHERE expires_at <= ? ORDER BY account_id LIMIT 1000`, l.opts.Now().UnixMilli())
		return tx.Batch(ctx, b)
	})
	if err != nil || len(accounts) == 0 {
		return 0, err
	}
	err = l.write(ctx, "expire", relaxed, func(w *work) error {
		n = 0
		err := w.lock(accounts, func(b *sqldb.Batch) {
			for _, id := range accounts {
				w.expire(b, id)
			}
		})
		if err != nil {
			return err
		}
		n = w.count
		return w.save()
	})
	return n, err
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
