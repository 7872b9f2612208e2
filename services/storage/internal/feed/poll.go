package feed

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

const (
	// pollBatch is how many mailboxes one transaction asks for, and pollTimeout how long it may take.
	pollBatch   = 500
	pollTimeout = 10 * time.Second
)

// Table tells the state of mailboxes; meta.Store does.
type Table interface {
	Highest(ctx context.Context, keys []Key) ([]meta.Change, error)
}

// Poller looks into the database for changes that other replicas have made in watched mailboxes. It needs no one to tell of them, and
// brings all of them: later.
type Poller struct {
	local *Memory
	table Table
	// pause is the time to the next look, before it is varied.
	pause func() time.Duration
	log   *slog.Logger
	wake  chan struct{}
	polls *prometheus.CounterVec
}

// NewPoller makes a Poller that tells the watchers on a bus. pause is asked after each look. reg may be nil.
func NewPoller(local *Memory, table Table, pause func() time.Duration, log *slog.Logger, reg prometheus.Registerer) *Poller {
	return &Poller{
		local: local, table: table, pause: pause, log: log, wake: make(chan struct{}, 1),
		polls: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_feed_polls_total", Help: "Looks into the database for changes of watched mailboxes, by result.",
		}, []string{"result"})),
	}
}

// Wake has the poller look now: notices may have been lost.
func (p *Poller) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run polls until ctx ends.
func (p *Poller) Run(ctx context.Context) {
	for {
		pause := time.Duration(float64(p.pause()) * (0.8 + 0.4*rand.Float64())) // #nosec G404 -- so that replicas do not look all at once
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.wake:
			timer.Stop()
		case <-timer.C:
		}
		if err := p.poll(ctx); err != nil && ctx.Err() == nil {
			p.polls.WithLabelValues("error").Inc()
			p.log.Warn("changes of other replicas not looked for, will try again", "error", err)
			continue
		}
		p.polls.WithLabelValues("ok").Inc()
	}
}

func (p *Poller) poll(ctx context.Context) error {
	for keys := range slices.Chunk(p.local.watched(), pollBatch) {
		if err := p.ask(ctx, keys); err != nil {
			return err
		}
	}
	return nil
}

func (p *Poller) ask(ctx context.Context, keys []Key) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	changes, err := p.table.Highest(ctx, keys)
	if err != nil {
		return err
	}
	p.local.Publish(changes)
	return nil
}
