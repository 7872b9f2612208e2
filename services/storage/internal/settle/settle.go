// Package settle hands the usage events that storage has committed to quota, which applies each exactly once. Several replicas of storage may settle
// on one database: each sees to the accounts for which it has committed events itself, and to what another has left behind.
package settle

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

const (
	// pageSize bounds the events of one call.
	pageSize = 500
	// callTimeout bounds one call.
	callTimeout = 10 * time.Second
	// lastTimeout bounds the settling of what is left when the process stops.
	lastTimeout = 5 * time.Second
	// minBackoff and maxBackoff are between tries while quota does not answer.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 10 * time.Second
	// gatherTime is how long events are gathered after more than fewInRow settlements less than busyTime apart, as each costs
	// quota a wait for its disk. A mail program that looks at its quota after what it has done still sees it settled.
	gatherTime = 40 * time.Millisecond
	busyTime   = 100 * time.Millisecond
	fewInRow   = 8
	// forgetAfter is how long applied events stay in the database at most, so that their removal does not cost
	// a transaction for each; forgetCount how many of them.
	forgetAfter = 500 * time.Millisecond
	forgetCount = 256
	// sweepTime is between looks for events of others. What is there at two of them was left behind.
	sweepTime = 5 * time.Second
)

// Settler is the loop that settles.
type Settler struct {
	meta    *meta.Store
	quota   quotav1.QuotaServiceClient
	log     *slog.Logger
	wake    chan struct{}
	pending prometheus.Gauge
	settled prometheus.Counter

	mu   sync.Mutex
	mine accounts // that have new events of this process

	// applied is what quota has confirmed and the database still has, by account; events counts it.
	applied map[string]int64
	events  int

	// strange are, by account, the last events at the last sweep that were not this process's: others are settling them, or have left them behind.
	// nil: all were left behind, as when a process starts.
	strange map[string]int64
	swept   time.Time
}

// accounts is a set of them.
type accounts map[string]struct{}

// New makes a Settler. reg may be nil.
func New(store *meta.Store, quota quotav1.QuotaServiceClient, log *slog.Logger, reg prometheus.Registerer) *Settler {
	return &Settler{
		meta: store, quota: quota, log: log, wake: make(chan struct{}, 1), mine: accounts{}, applied: map[string]int64{},
		pending: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_events_pending", Help: "Usage events that quota has not confirmed.",
		})),
		settled: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_events_settled_total", Help: "Usage events that quota has confirmed.",
		})),
	}
}

// Wake says that there are new events of accounts. It never blocks.
func (s *Settler) Wake(accounts ...string) {
	if len(accounts) == 0 {
		return
	}
	s.add(accounts)
	s.again()
}

func (s *Settler) add(accounts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range accounts {
		s.mine[a] = struct{}{}
	}
}

// take takes the accounts that have new events.
func (s *Settler) take() accounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.mine
	s.mine = accounts{}
	return taken
}

// again wakes the loop.
func (s *Settler) again() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run settles until ctx ends, and then once more what is left.
func (s *Settler) Run(ctx context.Context) error {
	backoff := minBackoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // of the settlements
	row := 0           // of those that came close together
	for {
		due := false
		select {
		case <-ctx.Done():
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
			defer cancel()
			s.strange = nil // nothing waits for others now
			if _, err := s.settle(final); err != nil {
				s.log.Warn("usage events not settled, the next start will", "error", err)
				return nil
			}
			return s.forget(final)
		case <-s.wake:
			if time.Since(last) >= busyTime {
				row = 0
			}
			if row++; row > fewInRow && !s.pause(ctx, gatherTime) {
				continue
			}
		case <-timer.C:
			due = true
		}
		stuck, err := s.settle(ctx)
		last = time.Now()
		if err == nil && (due || s.events >= forgetCount) {
			err = s.forget(ctx)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Warn("usage events not settled, will try again", "error", err, "after", backoff)
			s.count(ctx)
			if !s.pause(ctx, backoff) {
				continue
			}
			backoff = min(2*backoff, maxBackoff)
			s.again()
		case stuck:
			backoff = maxBackoff
			timer.Reset(backoff)
		default:
			backoff = minBackoff
			timer.Reset(forgetAfter)
			if s.events == 0 {
				timer.Reset(sweepTime)
			}
		}
	}
}

// pause waits; new events do not cut it short, as quota does not answer. It tells whether the time has passed.
func (s *Settler) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// settle hands over the events of the accounts that are mine, and what others have left behind. stuck says that quota expects others than there
// are for some account: its ledger or this database was restored from a backup, and only reconciling helps.
func (s *Settler) settle(ctx context.Context) (stuck bool, err error) {
	mine := s.take()
	defer func() {
		if err != nil {
			s.add(slices.Collect(maps.Keys(mine)))
		}
	}()
	strange, sweep := map[string]int64{}, time.Since(s.swept) >= sweepTime
	for after := ""; ; { // accounts up to this one are done
		events, err := s.meta.PendingEvents(ctx, after, pageSize)
		if err != nil {
			return stuck, err
		}
		unapplied := s.unapplied(events)
		if due := s.due(unapplied, mine, sweep, strange); len(due) > 0 {
			behind, err := s.call(ctx, due)
			if err != nil {
				return stuck, err
			}
			stuck = stuck || behind
		}
		s.pending.Set(float64(len(s.unapplied(events))))
		if len(events) < pageSize {
			break
		}
		after = s.next(after, events)
		if err := s.forget(ctx); err != nil {
			return stuck, err
		}
	}
	if sweep {
		s.strange, s.swept = strange, time.Now()
	}
	return stuck, nil
}

// due gives those of the events that this process settles now, and notes the others in strange.
func (s *Settler) due(events []*quotav1.Event, mine accounts, sweep bool, strange map[string]int64) []*quotav1.Event {
	var out []*quotav1.Event
	for _, e := range events {
		_, own := mine[e.GetAccountId()]
		left := s.strange == nil || sweep && e.GetSequence() <= s.strange[e.GetAccountId()]
		if own || left {
			out = append(out, e)
		} else {
			strange[e.GetAccountId()] = e.GetSequence()
		}
	}
	return out
}

// next tells behind which account the page after a full one begins. The last account of a page may have more events than those in it, for which
// the applied ones make room.
func (s *Settler) next(after string, page []*quotav1.Event) string {
	last := page[len(page)-1]
	if s.applied[last.GetAccountId()] < last.GetSequence() {
		return last.GetAccountId()
	}
	for _, e := range slices.Backward(page) {
		if e.GetAccountId() != last.GetAccountId() {
			return e.GetAccountId()
		}
	}
	return after
}

// unapplied leaves out events that quota has confirmed.
func (s *Settler) unapplied(events []*quotav1.Event) []*quotav1.Event {
	var out []*quotav1.Event
	for _, e := range events {
		if e.GetSequence() > s.applied[e.GetAccountId()] {
			out = append(out, e)
		}
	}
	return out
}

// call settles a page of events. behind says that quota did not apply all of them.
func (s *Settler) call(ctx context.Context, events []*quotav1.Event) (behind bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := s.quota.Settle(ctx, &quotav1.SettleRequest{Events: events})
	if err != nil {
		return false, err
	}
	for _, e := range events {
		applied := response.GetApplied()[e.GetAccountId()]
		if applied < e.GetSequence() {
			if !behind {
				s.log.Error("quota does not apply an event: reconcile the account", "sequence", e.GetSequence(), "applied", applied)
			}
			behind = true
			continue
		}
		s.applied[e.GetAccountId()] = max(s.applied[e.GetAccountId()], e.GetSequence())
		s.events++
		s.settled.Inc()
	}
	return behind, nil
}

// forget removes the confirmed events from the database.
func (s *Settler) forget(ctx context.Context) error {
	if len(s.applied) == 0 {
		return nil
	}
	if err := s.meta.ForgetEvents(ctx, s.applied); err != nil {
		return err
	}
	clear(s.applied)
	s.events = 0
	return nil
}

func (s *Settler) count(ctx context.Context) {
	if n, err := s.meta.CountEvents(ctx); err == nil {
		s.pending.Set(float64(n))
	}
}
