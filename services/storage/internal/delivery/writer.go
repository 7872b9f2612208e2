// Package delivery is the write path of new messages: reserve capacity, write the bodies, commit the rows, answer. What
// arrives together shares one call to quota, one object and one transaction.
package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/batch"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/space"
)

// flushTimeout bounds the steps of one group. Together with capacity.HoldTime it stays under the life of a reservation.
const flushTimeout = time.Minute

// Config of a Writer.
type Config struct {
	MaxMessageSize int64         // octets; 0: no limit
	Wait           time.Duration // how long a group waits for more under load; 0: the batcher's default
}

// Deps of a Writer.
type Deps struct {
	Meta       *meta.Store
	Bodies     *body.Store
	Spools     *body.Spools
	Capacity   *capacity.Reserver
	Space      *space.Guard
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time
}

// Writer stores new messages.
type Writer struct {
	cfg      Config
	meta     *meta.Store
	bodies   *body.Store
	spools   *body.Spools
	capacity *capacity.Reserver
	space    *space.Guard
	log      *slog.Logger
	now      func() time.Time
	batcher  *batch.Batcher[*job, []Outcome]
	seconds  prometheus.Histogram
	rows     *prometheus.CounterVec

	mu       sync.Mutex
	inFlight map[string]chan struct{} // by request id; closed when the request has ended
}

// New makes a Writer.
func New(cfg Config, deps Deps) *Writer {
	w := &Writer{
		cfg: cfg, meta: deps.Meta, bodies: deps.Bodies, spools: deps.Spools, capacity: deps.Capacity,
		space: deps.Space, log: deps.Log, now: deps.Now, inFlight: map[string]chan struct{}{},
		seconds: telemetry.Register(deps.Registerer, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "yubin_storage_write_seconds",
			Help:    "From a whole message to its durable commit.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})),
		rows: telemetry.Register(deps.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_message_rows_total",
			Help: "New message rows asked for, by outcome: stored, over_quota, not_stored, no_account, error.",
		}, []string{"outcome"})),
	}
	w.batcher = batch.New(batch.Config{
		Name: "deliver", Wait: cfg.Wait, FlushTimeout: flushTimeout, Registerer: deps.Registerer,
	}, (*job).weight, w.flush)
	return w
}

// Target is one row that a request asks for.
type Target struct {
	Message   *Message // sealed
	AccountID string
	// Mailbox is a normalised name; Fallback puts the message into INBOX if it does not exist.
	Mailbox      string
	Fallback     bool
	Prefix       []byte
	Flags        uint32
	Keywords     []string
	InternalUnix int64 // 0: now
}

// Request is one write.
type Request struct {
	// ID makes the write idempotent for a day per account and mailbox; empty: it is not.
	ID      string
	Targets []Target
	// AllOrNone stores all targets or none.
	AllOrNone bool
	// Exempt is never refused for quota, but counted.
	Exempt bool
}

// Status of a target.
type Status int

// The statuses. NotStored could have been stored, but another target of an all-or-none request could not. NoAccount was purged.
const (
	NotStored Status = iota
	Stored
	OverQuota
	NoAccount
)

// Outcome of a target.
type Outcome struct {
	Status Status
	meta.Placed
}

// Store stores a request and answers one outcome a target. On an error nothing of it was stored, unless the same request id
// was stored before. When it returns, the messages can be closed.
func (w *Writer) Store(ctx context.Context, r Request) ([]Outcome, error) {
	begun := time.Now()
	leave, err := w.enter(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, capacity.HoldTime)
	defer cancel()
	outcomes, err := w.store(ctx, w.newJob(r))
	w.observe(r, outcomes, err, time.Since(begun))
	return outcomes, err
}

func (w *Writer) store(ctx context.Context, j *job) ([]Outcome, error) {
	if err := w.space.Admit(j.weight()); err != nil {
		return nil, err
	}
	if w.anyLarge(j) {
		// A large body goes first, so that its upload does not hold up the group of small ones.
		if err := w.prepare(ctx, []*job{j}); err != nil {
			return nil, err
		}
	}
	outcomes, err := w.batcher.Submit(ctx, j)
	switch {
	case err == nil:
		return outcomes, nil
	case errors.Is(err, batch.ErrBusy), errors.Is(err, batch.ErrClosed):
		err = fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the message store is busy, try again later")
	}
	w.capacity.Release(j.unsettled()...)
	return nil, err
}

// enter waits until no other request of the same id is in flight: only then can it be told what that one stored.
func (w *Writer) enter(ctx context.Context, id string) (leave func(), err error) {
	if id == "" {
		return func() {}, nil
	}
	for {
		w.mu.Lock()
		other, busy := w.inFlight[id]
		if !busy {
			done := make(chan struct{})
			w.inFlight[id] = done
			w.mu.Unlock()
			return func() {
				w.mu.Lock()
				delete(w.inFlight, id)
				w.mu.Unlock()
				close(done)
			}, nil
		}
		w.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Busy tells whether deliveries are being written.
func (w *Writer) Busy() bool { return w.batcher.Busy() }

// Close refuses new requests and returns when those that wait are stored, or ctx ends.
func (w *Writer) Close(ctx context.Context) error { return w.batcher.Close(ctx) }

func (w *Writer) observe(r Request, outcomes []Outcome, err error, took time.Duration) {
	w.seconds.Observe(took.Seconds())
	if err != nil {
		w.rows.WithLabelValues("error").Add(float64(len(r.Targets)))
		return
	}
	names := map[Status]string{Stored: "stored", OverQuota: "over_quota", NotStored: "not_stored", NoAccount: "no_account"}
	for _, o := range outcomes {
		w.rows.WithLabelValues(names[o.Status]).Inc()
	}
}
