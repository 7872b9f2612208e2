package meta

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

// leaveEvents writes one event for each account whose usage changed.
func (t *tx) leaveEvents() error {
	for _, account := range slices.Sorted(maps.Keys(t.usage)) {
		d := t.usage[account]
		t.queue.Exec(`UPDATE accounts SET event_sequence = event_sequence + 1 WHERE account_id = ?`, account)
		err := t.laterOne(errChanged, `INSERT INTO events (account_id, sequence, delta_bytes, delta_messages, reservation_ids)
			SELECT account_id, event_sequence, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT) FROM accounts WHERE account_id = ?`,
			d.bytes, d.messages, strings.Join(d.reservations, " "), account)
		if err != nil {
			return err
		}
	}
	return nil
}

// PendingEvents gives up to limit events in order of account and sequence, from the accounts after the given one.
func (s *Store) PendingEvents(ctx context.Context, afterAccount string, limit int) ([]*quotav1.Event, error) {
	var out []*quotav1.Event
	err := s.read(ctx, "pending_events", func(t *tx) error {
		return t.rows(func(rows *sqldb.Rows) error {
			e := &quotav1.Event{}
			var reservations string
			if err := rows.Scan(&e.AccountId, &e.Sequence, &e.DeltaBytes, &e.DeltaMessages, &reservations); err != nil {
				return err
			}
			e.ReservationIds = strings.Fields(reservations)
			out = append(out, e)
			return nil
		}, `SELECT account_id, sequence, delta_bytes, delta_messages, reservation_ids FROM events
			WHERE account_id > ? ORDER BY account_id, sequence`+sqldb.Limit(limit), afterAccount)
	})
	return out, err
}

// CountEvents counts the events that quota has not confirmed.
func (s *Store) CountEvents(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, "count_events", func(t *tx) error {
		return t.row(`SELECT COUNT(*) FROM events`).Scan(&n)
	})
	return n, err
}

// ForgetEvents removes the events that quota has applied: per account all up to a sequence. Should a loss of power bring them
// back, quota skips them by their sequence.
func (s *Store) ForgetEvents(ctx context.Context, applied map[string]int64) error {
	return s.writeRelaxed(ctx, "forget_events", func(t *tx) error {
		for _, account := range slices.Sorted(maps.Keys(applied)) {
			if err := t.later(`DELETE FROM events WHERE account_id = ? AND sequence <= ?`, account, applied[account]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Usage is what an account's message rows add up to, and its events that quota has not applied.
type Usage struct {
	Bytes, Messages               int64
	PendingBytes, PendingMessages int64
	LastSequence                  int64
}

// SumUsage adds up an account's message rows and its events after a sequence in one snapshot. It scans the rows.
func (s *Store) SumUsage(ctx context.Context, account string, appliedSequence int64) (Usage, error) {
	var u Usage
	err := s.read(ctx, "sum_usage", func(t *tx) error {
		err := t.row(`SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT), COUNT(*) FROM messages WHERE account_id = ?`, account).Scan(&u.Bytes, &u.Messages)
		if err != nil {
			return err
		}
		err = t.row(`SELECT CAST(COALESCE(SUM(delta_bytes), 0) AS BIGINT), CAST(COALESCE(SUM(delta_messages), 0) AS BIGINT) FROM events
			WHERE account_id = ? AND sequence > ?`, account, appliedSequence).Scan(&u.PendingBytes, &u.PendingMessages)
		if err != nil {
			return err
		}
		return t.row(`SELECT COALESCE(MAX(event_sequence), 0) FROM accounts WHERE account_id = ?`, account).Scan(&u.LastSequence)
	})
	return u, err
}
