package feed

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Replicas is the Bus of one of several replicas on one database. If NATS is configured, changes cross through it at once; in any case
// each replica looks into the database from time to time, more often while there is no NATS.
type Replicas struct {
	Bus
	poller *Poller
	nats   *NATS // may be nil
}

// Join makes the Bus of this replica. Run must run. reg may be nil.
func Join(cfg Config, table Table, log *slog.Logger, reg prometheus.Registerer) (*Replicas, error) {
	local := NewMemory(reg)
	r := &Replicas{Bus: local}
	pause := func() time.Duration {
		if r.nats != nil && r.nats.Reliable() {
			return cfg.safetyPoll
		}
		return cfg.poll
	}
	r.poller = NewPoller(local, table, pause, log, reg)
	if !cfg.Several() {
		return r, nil
	}
	var err error
	if r.nats, err = Connect(cfg, local, r.poller.Wake, log, reg); err != nil {
		return nil, err
	}
	r.Bus = r.nats
	return r, nil
}

// Run listens to the other replicas until ctx ends.
func (r *Replicas) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	if r.nats != nil {
		running.Go(func() { r.nats.Run(ctx) })
	}
	r.poller.Run(ctx)
	return nil
}
