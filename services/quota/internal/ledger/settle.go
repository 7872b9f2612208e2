package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Event is one committed change of an account's usage.
type Event struct {
	AccountID      string
	Sequence       int64 // 1, 2, 3, … per account without gaps
	Delta          Amount
	ReservationIDs []string // what the change settles
}

// Settlement tells what became of events.
type Settlement struct {
	Applied map[string]int64 // by account: the last sequence that is applied
	Missing []string         // accounts without a row; their events were left alone
	Gaps    []string         // accounts whose events do not follow the last one applied
	// How many events were applied, and how many had been before.
	Events, Duplicates int
	// Lags is the time from reservation to settlement of each reservation.
	Lags []time.Duration
}

// Settle applies each account's events that follow the last one applied, each exactly once, all accounts in one transaction.
// An event whose reservation has expired counts all the same.
func (l *Ledger) Settle(ctx context.Context, events []Event) (*Settlement, error) {
	byAccount := map[string][]Event{}
	for _, e := range events {
		byAccount[e.AccountID] = append(byAccount[e.AccountID], e)
	}
	var s *Settlement
	var noticed bool
	err := l.db.Write(ctx, "settle", func(tx *sqldb.Tx) error {
		s, noticed = &Settlement{Applied: map[string]int64{}}, false
		for _, id := range sortedKeys(byAccount) {
			warned, err := l.settleAccount(ctx, tx, s, id, byAccount[id])
			if _, ok := errors.AsType[*MissingError](err); ok {
				s.Missing = append(s.Missing, id)
				continue
			}
			if err != nil {
				return err
			}
			noticed = noticed || warned
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("settle: %w", err)
	}
	if noticed {
		l.opts.Noticed()
	}
	return s, nil
}

func (l *Ledger) settleAccount(ctx context.Context, tx *sqldb.Tx, s *Settlement, id string, events []Event) (noticed bool, err error) {
	a, err := l.account(ctx, tx, id)
	if err != nil {
		return false, err
	}
	fresh := 0
	// The condition makes it exactly once even where another replica has read the same last sequence.
	for {
		last, sum := follow(a.sequence, events)
		if last == a.sequence {
			break
		}
		n, err := affected(tx.Exec(ctx, `UPDATE ledger SET used_bytes = used_bytes + ?, used_messages = used_messages + ?, last_sequence = ?
			WHERE account_id = ? AND last_sequence = ?`, sum.Bytes, sum.Messages, last, id, a.sequence))
		if err != nil {
			return false, fmt.Errorf("apply events: %w", err)
		}
		before := a.sequence
		if a, err = l.account(ctx, tx, id); err != nil {
			return false, err
		}
		if n == 1 {
			fresh = int(last - before)
			break
		}
	}
	s.Applied[id] = a.sequence
	s.Events += fresh
	applied, err := l.settleReservations(ctx, tx, s, a, events)
	if err != nil {
		return false, err
	}
	s.Duplicates += applied - fresh
	if applied < len(events) {
		s.Gaps = append(s.Gaps, id)
	}
	return l.warn(ctx, tx, a, false)
}

// settleReservations removes the reservations of all events that are applied, and counts these. Events that were applied before
// are among them: a repair may have taken them into account while their reservations stand.
func (l *Ledger) settleReservations(ctx context.Context, tx *sqldb.Tx, s *Settlement, a *account, events []Event) (applied int, err error) {
	freed := freed{}
	for _, e := range events {
		if e.Sequence > a.sequence {
			continue
		}
		applied++
		for _, reservation := range e.ReservationIDs {
			err := freed.remove(ctx, tx, `DELETE FROM reservations WHERE account_id = ? AND reservation_id = ? RETURNING account_id, bytes, messages, reserved_at`,
				a.AccountID, reservation)
			if err != nil {
				return 0, err
			}
		}
	}
	now := l.opts.Now()
	for _, at := range freed.times {
		s.Lags = append(s.Lags, now.Sub(time.UnixMilli(at)))
	}
	return applied, freed.giveBack(ctx, tx)
}

// follow sums the events that follow the sequence without a gap.
func follow(last int64, events []Event) (int64, Amount) {
	var sum Amount
	for _, e := range events {
		if e.Sequence == last+1 {
			last++
			sum.Bytes += e.Delta.Bytes
			sum.Messages += e.Delta.Messages
		}
	}
	return last, sum
}

// Repair sets an account's usage to what storage holds, all of its events up to sequence included. It does nothing and returns
// false if the account is not where it was any more.
func (l *Ledger) Repair(ctx context.Context, was Position, stored Amount, sequence int64) (done bool, err error) {
	var noticed bool
	err = l.db.Write(ctx, "repair", func(tx *sqldb.Tx) error {
		n, err := affected(tx.Exec(ctx, `UPDATE ledger SET used_bytes = ?, used_messages = ?, last_sequence = ?
			WHERE account_id = ? AND used_bytes = ? AND used_messages = ? AND last_sequence = ?`,
			stored.Bytes, stored.Messages, sequence, was.AccountID, was.Used.Bytes, was.Used.Messages, was.Sequence))
		if done = n == 1; err != nil || !done {
			return err
		}
		a, err := l.account(ctx, tx, was.AccountID)
		if err != nil {
			return err
		}
		noticed, err = l.warn(ctx, tx, a, false)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("repair usage: %w", err)
	}
	if noticed {
		l.opts.Noticed()
	}
	return done, nil
}
