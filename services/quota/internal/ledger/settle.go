package ledger

import (
	"context"
	"maps"
	"slices"
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
	err := l.write(ctx, "settle", durable, func(w *work) error {
		s = &Settlement{Applied: map[string]int64{}}
		stands, err := w.lockForEvents(byAccount)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(byAccount)) {
			w.settle(s, id, byAccount[id], stands)
		}
		return w.save()
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// standing is a reservation of a locked account.
type standing struct {
	amount Amount
	at     int64 // when it was reserved, Unix milliseconds
}

// lockForEvents locks the accounts and reads the reservations, by account and id, that events may settle.
func (w *work) lockForEvents(byAccount map[string][]Event) (map[[2]string]standing, error) {
	stands := map[[2]string]standing{}
	err := w.lock(slices.Collect(maps.Keys(byAccount)), func(b *sqldb.Batch) {
		for account, events := range byAccount {
			for _, e := range events {
				for _, id := range e.ReservationIDs {
					b.Query(func(rows *sqldb.Rows) error {
						var s standing
						err := rows.Scan(&s.amount.Bytes, &s.amount.Messages, &s.at)
						stands[[2]string{account, id}] = s
						return err
					}, `SELECT bytes, messages, reserved_at FROM reservations WHERE account_id = ? AND reservation_id = ?`, account, id)
				}
			}
		}
	})
	return stands, err
}

func (w *work) settle(s *Settlement, id string, events []Event, stands map[[2]string]standing) {
	a, ok := w.accounts[id]
	if !ok {
		s.Missing = append(s.Missing, id)
		return
	}
	before := a.sequence
	last, sum := follow(before, events)
	a.sequence, a.Used = last, a.Used.plus(sum)
	fresh := int(last - before)
	applied := w.settleReservations(s, a, events, stands)
	s.Applied[id] = last
	s.Events += fresh
	s.Duplicates += applied - fresh
	if applied < len(events) {
		s.Gaps = append(s.Gaps, id)
	}
	w.warn(a, false)
}

// settleReservations removes the reservations of all events that are applied, and counts these. Events that were applied before
// are among them: a repair may have taken them into account while their reservations stand.
func (w *work) settleReservations(s *Settlement, a *account, events []Event, stands map[[2]string]standing) (applied int) {
	now := w.l.opts.Now()
	for _, e := range events {
		if e.Sequence > a.sequence {
			continue
		}
		applied++
		for _, id := range e.ReservationIDs {
			key := [2]string{a.AccountID, id}
			r, ok := stands[key]
			if !ok {
				continue
			}
			delete(stands, key)
			a.Reserved = a.Reserved.minus(r.amount)
			s.Lags = append(s.Lags, now.Sub(time.UnixMilli(r.at)))
			w.writes.Exec(`DELETE FROM reservations WHERE account_id = ? AND reservation_id = ?`, a.AccountID, id)
		}
	}
	return applied
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
	err = l.write(ctx, "repair", durable, func(w *work) error {
		done = false
		if err := w.lock([]string{was.AccountID}, nil); err != nil {
			return err
		}
		a, ok := w.accounts[was.AccountID]
		if !ok || a.Used != was.Used || a.sequence != was.Sequence {
			return nil
		}
		done = true
		a.Used, a.sequence = stored, sequence
		w.warn(a, false)
		return w.save()
	})
	return done, err
}
