// Package delivery is the write path of new messages: reserve capacity, write the bodies, commit the rows, answer. What
// arrives together shares one call to quota, one object and one transaction.
package delivery

import (
	"cmp"
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

const (
	// storeTimeout bounds a request from its whole message to its answer. The gateways wait longer.
	storeTimeout = 4 * time.Minute
	// groupTimeout bounds the way of a group, commitTimeout a transaction: what begins it with reservations that are fresh ends it with
	// reservations that hold.
	groupTimeout  = 2 * time.Minute
	commitTimeout = capacity.HoldTime - capacity.FreshTime
	// maxCommits is how many transactions may run at a time, and fullCommit how many groups are worth a second one beside a slow first.
	maxCommits = 2
	fullCommit = 4
)

// How many groups may be on their way at a time, how many requests are worth a group beside another, and how long fewer wait for one: a group
// costs a wait for the disk, or with a remote object store tens of milliseconds and the price of a request.
const (
	localGroups, fullLocalGroup, localPatience    = 2, 16, 100 * time.Millisecond
	remoteGroups, fullRemoteGroup, remotePatience = 8, 64, 500 * time.Millisecond
)

// Config of a Writer.
type Config struct {
	MaxMessageSize int64         // octets; 0: no limit
	Wait           time.Duration // how long a group waits for more under load; 0: the batcher's default
	Remote         bool          // the bodies go over the network
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
	groups   *batch.Batcher[*job, []Outcome]
	commits  *batch.Batcher[[]*job, struct{}]
	seconds  prometheus.Histogram
	rows     [NoAccount + 1]prometheus.Counter // by status
	failed   prometheus.Counter                // rows

	mu       sync.Mutex
	inFlight map[string]chan struct{} // by request id; closed when the request has ended
}

// New makes a Writer.
func New(cfg Config, deps Deps) *Writer {
	w := &Writer{
		cfg: cfg, meta: deps.Meta, bodies: deps.Bodies, spools: deps.Spools, capacity: deps.Capacity,
		space: deps.Space, log: deps.Log, now: deps.Now, inFlight: map[string]chan struct{}{},
		seconds: telemetry.Register(deps.Registerer, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name:    "yubin_storage_write_seconds",
			Help:    "From a whole message to its durable commit.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})),
	}
	rows := telemetry.Register(deps.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_storage_message_rows_total",
		Help: "New message rows asked for, by outcome: stored, over_quota, not_stored, no_account, error.",
	}, []string{"outcome"}))
	for status, outcome := range map[Status]string{Stored: "stored", OverQuota: "over_quota", NotStored: "not_stored", NoAccount: "no_account"} {
		w.rows[status] = rows.WithLabelValues(outcome)
	}
	w.failed = rows.WithLabelValues("error")
	groups, full, patience := localGroups, fullLocalGroup, localPatience
	if cfg.Remote {
		groups, full, patience = remoteGroups, fullRemoteGroup, remotePatience
	}
	w.groups = batch.New(batch.Config{
		Name: "deliver", Wait: cfg.Wait, MaxFlushes: groups, Full: full, Patience: patience,
		FlushTimeout: groupTimeout, Registerer: deps.Registerer,
	}, (*job).weight, w.storeGroup)
	w.commits = batch.New(batch.Config{
		Name: "commit", Wait: -1, MaxFlushes: maxCommits, Full: fullCommit, MaxItems: 4 * fullCommit, FlushTimeout: commitTimeout, Registerer: deps.Registerer,
	}, weightOf, w.commitGroups)
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
	// Actor is on whose behalf it is stored, if that is not the account.
	Actor meta.Actor
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
	// Replaces goes with the commit that stores the one target, which is of the same account; nil: nothing goes.
	Replaces *Replaced
}

// Replaced is a message that gives way to another, with the octets that it counts.
type Replaced struct {
	meta.Replaced
	Size int64
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
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	outcomes, err := w.store(ctx, w.newJob(r))
	w.observe(ctx, r, outcomes, err, time.Since(begun))
	return outcomes, err
}

func (w *Writer) store(ctx context.Context, j *job) ([]Outcome, error) {
	if err := w.space.Admit(j.weight()); err != nil {
		return nil, err
	}
	var outcomes []Outcome
	var err error
	if w.anyLarge(j) {
		// A large body goes first, so that its upload does not hold up a group of small ones.
		if err := w.prepare(ctx, []*job{j}); err != nil {
			return nil, err
		}
		_, err = w.commits.Submit(ctx, []*job{j})
		outcomes, err = j.outcomes, cmp.Or(err, j.err)
	} else {
		outcomes, err = w.groups.Submit(ctx, j)
	}
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
func (w *Writer) Busy() bool { return w.groups.Busy() || w.commits.Busy() }

// Close refuses new requests and returns when those that wait are stored, or ctx ends.
func (w *Writer) Close(ctx context.Context) error {
	// Groups end in a commit, so that when the time is over both must be given up at once.
	giveUp := context.AfterFunc(ctx, func() { _ = w.commits.Close(ctx) })
	defer giveUp()
	return errors.Join(w.groups.Close(ctx), w.commits.Close(ctx))
}

func (w *Writer) observe(ctx context.Context, r Request, outcomes []Outcome, err error, took time.Duration) {
	telemetry.Observe(ctx, w.seconds, took.Seconds())
	if err != nil {
		w.failed.Add(float64(len(r.Targets)))
		return
	}
	for _, o := range outcomes {
		w.rows[o.Status].Inc()
	}
}
