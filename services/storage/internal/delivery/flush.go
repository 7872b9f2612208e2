package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/batch"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// storeGroup stores a group. Body first, metadata second: a crash between leaves an orphan body, never a row without one. While it commits, the
// next group writes its bodies.
func (w *Writer) storeGroup(ctx context.Context, jobs []*job) []batch.Result[[]Outcome] {
	err := w.prepare(ctx, jobs)
	if err == nil {
		_, err = w.commits.Submit(ctx, jobs)
	}
	results := make([]batch.Result[[]Outcome], len(jobs))
	for i, j := range jobs {
		if results[i].Err = cmp.Or(j.err, err); results[i].Err == nil {
			results[i].Value = j.outcomes
		}
	}
	return results
}

// commitGroups commits groups whose bodies are durable, in one transaction. Jobs tell how they fared.
func (w *Writer) commitGroups(ctx context.Context, groups [][]*job) []batch.Result[struct{}] {
	jobs := slices.Concat(groups...)
	w.renew(ctx, jobs)
	w.commit(ctx, slices.DeleteFunc(jobs, func(j *job) bool { return j.err != nil }))
	return make([]batch.Result[struct{}], len(groups))
}

// prepare reserves capacity and writes the bodies. On an error it has released the reservations.
func (w *Writer) prepare(ctx context.Context, jobs []*job) error {
	if err := w.reserve(ctx, jobs); err != nil {
		return err
	}
	if err := w.writeBodies(ctx, jobs); err != nil {
		w.release(jobs)
		return err
	}
	return nil
}

// release gives back what the jobs have reserved.
func (w *Writer) release(jobs []*job) {
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.unsettled()...)
	}
	w.capacity.Release(ids...)
}

// reserve asks for the capacity of all jobs' open targets in one call. On an error it has released the reservations.
func (w *Writer) reserve(ctx context.Context, jobs []*job) error {
	var reservations []*quotav1.Reservation
	asked := time.Now()
	for _, j := range jobs {
		j.reserved = asked
		j.acceptFree()
		reservations = append(reservations, j.reservations()...)
	}
	granted, err := w.capacity.Reserve(ctx, reservations)
	if err != nil {
		return err
	}
	var short []*job // of capacity
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
		if refused {
			short = append(short, j)
		}
	}
	if len(short) == 0 {
		return nil
	}
	if err := w.explain(ctx, short); err != nil {
		w.release(jobs)
		return err
	}
	return nil
}

// explain looks at jobs of which targets were refused: an earlier request of the same id may have stored them, and then filled the mailbox itself, or
// their account was purged, so that quota does not know it any more. Only they are asked about before the bodies are written; what the others
// repeat shows in their transaction.
func (w *Writer) explain(ctx context.Context, jobs []*job) error {
	if err := w.recall(ctx, jobs); err != nil {
		return err
	}
	if err := w.findGone(ctx, jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		if j.AllOrNone && slices.ContainsFunc(j.outcomes, func(o Outcome) bool { return o.Status == OverQuota || o.Status == NoAccount }) {
			w.withdraw(j, func(int) bool { return true })
		}
	}
	return nil
}

// withdraw gives back the reservations of those targets, whose outcomes stay as they are.
func (w *Writer) withdraw(j *job, of func(target int) bool) {
	var unused []string
	for i, row := range j.rows {
		if j.accepted[i] && of(i) {
			j.accepted[i] = false
			unused = append(unused, row.ReservationID)
		}
	}
	w.capacity.Release(unused...)
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
		stored := func(i int) bool {
			_, ok := found[j.rows[i].Key()]
			return ok && j.rows[i].DeliveryID != ""
		}
		w.withdraw(j, stored)
		for i, row := range j.rows {
			if stored(i) {
				j.outcomes[i] = Outcome{Status: Stored, Placed: found[row.Key()]}
			}
		}
	}
	return nil
}

// findGone tells apart the refused targets whose account was purged.
func (w *Writer) findGone(ctx context.Context, jobs []*job) error {
	var accounts []string
	for _, j := range jobs {
		for i, row := range j.rows {
			if j.outcomes[i].Status == OverQuota {
				accounts = append(accounts, row.AccountID)
			}
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	gone, err := w.meta.Purged(ctx, accounts)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		for i, row := range j.rows {
			if j.outcomes[i].Status == OverQuota && gone[row.AccountID] {
				j.outcomes[i].Status = NoAccount
			}
		}
	}
	return nil
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

// renew reserves again for jobs whose bodies took so long that their reservations might expire before the commit has ended. It sets the error of
// those that it could not find out about.
func (w *Writer) renew(ctx context.Context, jobs []*job) {
	old := slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool {
		return !slices.Contains(j.accepted, true) || time.Since(j.reserved) <= capacity.FreshTime
	})
	if len(old) == 0 {
		return
	}
	for _, j := range old {
		clear(j.accepted) // open again, with the same reservations
	}
	if err := w.reserve(ctx, old); err != nil {
		for _, j := range old {
			j.err = err
		}
	}
}

// commit writes the rows of all jobs in one transaction, and sets the jobs' outcomes or errors.
func (w *Writer) commit(ctx context.Context, jobs []*job) {
	units, rows := make([]*meta.Unit, len(jobs)), false
	for k, j := range jobs {
		units[k] = &meta.Unit{AllOrNone: j.AllOrNone}
		if j.Replaces != nil {
			units[k].Replaces = &j.Replaces.Replaced
		}
		for i, row := range j.rows {
			if j.accepted[i] {
				units[k].Rows, rows = append(units[k].Rows, row), true
			}
		}
	}
	if !rows {
		return
	}
	if err := w.meta.Insert(ctx, units); err != nil {
		if half := len(jobs) / 2; half > 0 && sqldb.IsRefused(err) {
			// One of them has what the database does not take: the others shall not suffer for it.
			w.commit(ctx, jobs[:half])
			w.commit(ctx, jobs[half:])
			return
		}
		w.release(jobs)
		for _, j := range jobs {
			j.err = err
		}
		return
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
