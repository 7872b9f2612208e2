package delivery

import (
	"context"
	"fmt"
	"slices"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/batch"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// flush stores a group. Body first, metadata second: a crash between leaves an orphan body, never a row without one.
func (w *Writer) flush(ctx context.Context, jobs []*job) []batch.Result[[]Outcome] {
	fresh := slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool { return j.prepared })
	err := w.prepare(ctx, fresh)
	if err != nil {
		for _, j := range fresh {
			j.err = err
		}
	}
	ready := slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool { return j.err != nil })
	if err := w.commit(ctx, ready); err != nil {
		for _, j := range ready {
			j.err = err
		}
	}
	results := make([]batch.Result[[]Outcome], len(jobs))
	for i, j := range jobs {
		results[i] = batch.Result[[]Outcome]{Value: j.outcomes, Err: j.err}
	}
	return results
}

// prepare finds out what earlier requests have stored, reserves capacity for the rest and writes the bodies. On an error
// it has released the reservations.
func (w *Writer) prepare(ctx context.Context, jobs []*job) error {
	if err := w.recall(ctx, jobs); err != nil {
		return err
	}
	if err := w.reserve(ctx, jobs); err != nil {
		return err
	}
	if err := w.writeBodies(ctx, jobs); err != nil {
		for _, j := range jobs {
			w.capacity.Release(j.unsettled()...)
		}
		return err
	}
	for _, j := range jobs {
		j.prepared = true
	}
	return nil
}

// recall decides the targets that an earlier request of the same id has stored.
func (w *Writer) recall(ctx context.Context, jobs []*job) error {
	var keys []meta.DeliveryKey
	for _, j := range jobs {
		for _, row := range j.rows {
			if row.DeliveryID != "" {
				keys = append(keys, row.Key())
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := w.meta.Deliveries(ctx, keys)
	if err != nil || len(found) == 0 {
		return err
	}
	for _, j := range jobs {
		for i, row := range j.rows {
			if placed, ok := found[row.Key()]; ok && row.DeliveryID != "" {
				j.outcomes[i] = Outcome{Status: Stored, Placed: placed}
			}
		}
	}
	return nil
}

// reserve asks for the capacity of all jobs in one call.
func (w *Writer) reserve(ctx context.Context, jobs []*job) error {
	var reservations []*quotav1.Reservation
	for _, j := range jobs {
		reservations = append(reservations, j.reservations()...)
	}
	granted, err := w.capacity.Reserve(ctx, reservations)
	if err != nil {
		return err
	}
	var unused []string
	anyRefused := false
	for _, j := range jobs {
		refused := false
		for i := range j.rows {
			if !j.open(i) {
				continue
			}
			if j.accepted[i] = granted[0]; !granted[0] {
				j.outcomes[i].Status, refused = OverQuota, true
			}
			granted = granted[1:]
		}
		anyRefused = anyRefused || refused
		if j.AllOrNone && refused {
			for i, row := range j.rows {
				if j.accepted[i] {
					j.accepted[i] = false // its outcome stays NotStored
					unused = append(unused, row.ReservationID)
				}
			}
		}
	}
	w.capacity.Release(unused...)
	if anyRefused {
		return w.findGone(ctx, jobs)
	}
	return nil
}

// findGone tells apart the refused targets whose account was purged: quota does not know them any more. On an error it has
// released the reservations.
func (w *Writer) findGone(ctx context.Context, jobs []*job) error {
	var accounts []string
	for _, j := range jobs {
		for i, row := range j.rows {
			if j.outcomes[i].Status == OverQuota {
				accounts = append(accounts, row.AccountID)
			}
		}
	}
	gone, err := w.meta.Purged(ctx, accounts)
	for _, j := range jobs {
		if err != nil {
			w.capacity.Release(j.unsettled()...)
			continue
		}
		for i, row := range j.rows {
			if j.outcomes[i].Status == OverQuota && gone[row.AccountID] {
				j.outcomes[i].Status = NoAccount
			}
		}
	}
	return err
}

// writeBodies makes the bodies durable that have an accepted target.
func (w *Writer) writeBodies(ctx context.Context, jobs []*job) error {
	var pending []*body.Pending
	var messages []*Message
	for _, j := range jobs {
		for _, m := range j.messages() {
			if m.stored || !j.accepts(m) {
				continue
			}
			recovery, err := j.recovery(m)
			if err != nil {
				return unavailable(fmt.Errorf("describe message: %w", err))
			}
			pending = append(pending, &body.Pending{Spool: m.spool, Meta: recovery})
			messages = append(messages, m)
		}
	}
	if len(pending) == 0 {
		return nil
	}
	locations, err := w.bodies.Put(ctx, pending)
	if err != nil {
		return unavailable(fmt.Errorf("write bodies: %w", err))
	}
	for i, m := range messages {
		m.content.Location, m.stored = locations[i], true
	}
	return nil
}

// accepts tells whether a target of the message will be stored.
func (j *job) accepts(m *Message) bool {
	for i, t := range j.Targets {
		if t.Message == m && j.accepted[i] {
			return true
		}
	}
	return false
}

// commit writes the rows of all jobs in one transaction, and sets the jobs' outcomes or errors.
func (w *Writer) commit(ctx context.Context, jobs []*job) error {
	units, rows := make([]*meta.Unit, len(jobs)), false
	for k, j := range jobs {
		units[k] = &meta.Unit{AllOrNone: j.AllOrNone}
		for i, row := range j.rows {
			if j.accepted[i] {
				units[k].Rows, rows = append(units[k].Rows, row), true
			}
		}
	}
	if !rows {
		return nil
	}
	if err := w.meta.Insert(ctx, units); err != nil {
		for _, j := range jobs {
			w.capacity.Release(j.unsettled()...)
		}
		return err
	}
	var unused []string
	for k, j := range jobs {
		if units[k].Err != nil {
			j.err = units[k].Err
			unused = append(unused, j.unsettled()...)
			continue
		}
		j.settled = true
		placed := units[k].Placed
		for i, row := range j.rows {
			if !j.accepted[i] {
				continue
			}
			j.outcomes[i] = Outcome{Status: statusOf(placed[0]), Placed: placed[0]}
			if placed[0].Duplicate || !placed[0].Stored() {
				unused = append(unused, row.ReservationID)
			}
			placed = placed[1:]
		}
	}
	w.capacity.Release(unused...)
	return nil
}

func statusOf(p meta.Placed) Status {
	switch {
	case p.NoAccount:
		return NoAccount
	case p.Stored():
		return Stored
	}
	return NotStored
}
