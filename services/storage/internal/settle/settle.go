// Package settle hands the usage events that storage has committed to quota, which applies each exactly once.
package settle

import (
	"context"
	"log/slog"
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
	gatherTime = 15 * time.Millisecond
	busyTime   = 100 * time.Millisecond
	fewInRow   = 8
	// forgetAfter is how long applied events stay in the database at most, so that their removal does not cost
	// a transaction for each; forgetCount how many of them.
	forgetAfter = 500 * time.Millisecond
	forgetCount = 256
)

// Settler is the loop that settles.
type Settler struct {
	meta    *meta.Store
	quota   quotav1.QuotaServiceClient
	log     *slog.Logger
	wake    chan struct{}
	pending prometheus.Gauge
	settled prometheus.Counter

	// applied is what quota has confirmed and the database still has, by account; events counts it.
	applied map[string]int64
	events  int
}

// New makes a Settler. reg may be nil.
func New(store *meta.Store, quota quotav1.QuotaServiceClient, log *slog.Logger, reg prometheus.Registerer) *Settler {
	return &Settler{
		meta: store, quota: quota, log: log, wake: make(chan struct{}, 1), applied: map[string]int64{},
		pending: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_events_pending", Help: "Usage events that quota has not confirmed.",
		})),
		settled: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_events_settled_total", Help: "Usage events that quota has confirmed.",
		})),
	}
}

// Wake says that there are new events. It never blocks.
func (s *Settler) Wake() {
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
			s.Wake()
		case stuck:
			backoff = maxBackoff
			timer.Reset(backoff)
		default:
			backoff = minBackoff
			timer.Reset(forgetAfter)
			if s.events == 0 {
				timer.Reset(time.Minute)
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

// settle hands over all events. stuck says that quota expects others than there are for some account: its ledger or this
// database was restored from a backup, and only reconciling helps.
func (s *Settler) settle(ctx context.Context) (stuck bool, err error) {
	after := "" // accounts up to this one are done
	for {
		events, err := s.meta.PendingEvents(ctx, after, pageSize)
		if err != nil {
			return stuck, err
		}
		fresh := s.unapplied(events)
		if len(fresh) > 0 {
			behind, err := s.call(ctx, fresh)
			if err != nil {
				return stuck, err
			}
			stuck = stuck || behind
		}
		s.pending.Set(float64(len(events) - s.known(events)))
		if len(events) < pageSize {
			return stuck, nil
		}
		// What is applied makes room for the rest of the last account; if nothing of it was, go on behind it.
		last := events[len(events)-1].GetAccountId()
		if s.applied[last] < events[len(events)-1].GetSequence() {
			after = last
		}
		if err := s.forget(ctx); err != nil {
			return stuck, err
		}
	}
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

func (s *Settler) known(events []*quotav1.Event) int { return len(events) - len(s.unapplied(events)) }

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
