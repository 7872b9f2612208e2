// Package indexer keeps the index of texts up to date behind the deliveries: it notes what a commit has changed, reads the new messages a moment later,
// stores their texts, and makes segments of them.
//
// Nothing of a delivery waits for it. How far it is in a mailbox is a mark in the database, which moves with the texts in one transaction, so that
// several replicas may be at the same mailbox: who comes second sees that the mark has moved. What a replica that dies has noted is found again by a look
// through all mailboxes, which leaves what it finds to a queue that all replicas work on. A transaction of the index does not wait for the disk: what a
// loss of power undoes is done again.
package indexer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

const (
	// lookEvery is how often a replica looks into the queue.
	lookEvery = 5 * time.Second
	// lease is how long a mailbox of the queue belongs to a replica that does not answer.
	lease = 2 * time.Minute
	// turn is how many steps a mailbox gets before the others have theirs.
	turn = 4
	// retryAfter is how long a mailbox waits after a failure.
	retryAfter = 30 * time.Second
	// maxNoted bounds the mailboxes that are noted; what is beyond is found by a look through all.
	maxNoted = 100_000
	// sweepEvery is how often one replica looks through all mailboxes for what was left behind, tidyEvery for what is left over.
	sweepEvery = time.Hour
	tidyEvery  = 12 * time.Hour
	// busyPause is how long each message waits for deliveries to become fewer. Its workers then index 200 messages a second, which takes a fifth of a
	// processor: more than most installations are sent all day, and the index catches up with a rush when it is over.
	busyPause = 20 * time.Millisecond
	// workers is how many mailboxes are worked on at a time: most wait for the database.
	workers = 4
)

// Config of an Indexer. Zero numbers take the defaults.
type Config struct {
	Meta *meta.Store
	Jobs *job.Runner
	// Bodies reads several small bodies at once; Open reads any, wherever it is by then.
	Bodies *body.Store
	Open   func(ctx context.Context, account string, m *meta.Message) io.ReaderAt
	// Limits of what is indexed of a message (64 KiB of headers, 256 KiB of text).
	Limits search.Limits
	// Settle is how long a mailbox rests after a change, so that what comes together is indexed together (1 s).
	Settle time.Duration
	// Rate bounds the messages indexed a second (1,000).
	Rate int
	// Busy tells that deliveries wait: then work goes slower. May be nil.
	Busy func() bool
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
}

// Indexer keeps the index.
type Indexer struct {
	Config
	holder  string
	limit   *rate.Limiter
	metrics *metrics
	wake    chan struct{}

	sealing sync.Mutex // a segment takes memory while it is made

	mu      sync.Mutex
	noted   map[meta.MailboxKey]*note
	working map[meta.MailboxKey]*note // noted mailboxes that have their turn
	missed  bool                      // more was noted than fits
	queue   meta.TextQueue
	queued  time.Time // when queue is to be looked into again
}

// note is a mailbox that has changed.
type note struct {
	since time.Time // when the oldest message that is not indexed came, at the latest
	due   time.Time
	left  int64 // messages, about
}

// New makes an Indexer.
func New(cfg Config) *Indexer {
	cfg.Limits.Header = cmp.Or(cfg.Limits.Header, 64<<10)
	cfg.Limits.Body = cmp.Or(cfg.Limits.Body, 256<<10)
	cfg.Rate = cmp.Or(cfg.Rate, 1000)
	cfg.Settle = cmp.Or(cfg.Settle, time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	x := &Indexer{
		Config: cfg, holder: uuid.NewString(), limit: rate.NewLimiter(rate.Limit(cfg.Rate), max(cfg.Rate, stepMessages)),
		wake: make(chan struct{}, 1), noted: map[meta.MailboxKey]*note{}, working: map[meta.MailboxKey]*note{},
	}
	x.metrics = newMetrics(x)
	return x
}

// Note takes note of mailboxes that have changed. It does not block.
func (x *Indexer) Note(changes []meta.Change) {
	if x == nil || len(changes) == 0 {
		return
	}
	now := x.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range changes {
		key := meta.MailboxKey{AccountID: c.AccountID, MailboxID: c.MailboxID}
		switch {
		case c.Deleted:
			delete(x.noted, key)
		case x.noted[key] != nil:
		case len(x.noted) >= maxNoted:
			x.missed = true
		default:
			x.noted[key] = &note{since: now, due: now.Add(x.Settle), left: 1}
		}
	}
}

// Wake lets it look into the queue at once.
func (x *Indexer) Wake() {
	x.mu.Lock()
	x.queued = time.Time{}
	x.mu.Unlock()
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// Run indexes until ctx ends.
func (x *Indexer) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		// Whoever was here before may have died with what it had noted.
		if err := x.Sweep(ctx); err != nil && ctx.Err() == nil {
			x.Log.Warn("could not look for messages that are not indexed, will try again", "error", err)
			x.mu.Lock()
			x.missed = true
			x.mu.Unlock()
		}
		_ = x.Jobs.Run(ctx, // which never fails
			job.Job{Name: "index sweep", Every: sweepEvery, Run: func(ctx context.Context, _ *job.Round) error { return x.Sweep(ctx) }},
			job.Job{Name: "index tidy", Every: tidyEvery, Run: func(ctx context.Context, _ *job.Round) error { return x.Tidy(ctx) }})
	})
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		case <-x.wake:
		}
		more, err := x.round(ctx)
		if err != nil && ctx.Err() == nil {
			x.Log.Warn("could not index messages, will try again", "error", err)
		}
		next := x.Settle
		if more && err == nil {
			next = 0
		}
		pause.Reset(next)
	}
}

// round indexes what is due, a turn for each mailbox. more says that there is work left.
func (x *Indexer) round(ctx context.Context) (more bool, err error) {
	var mu sync.Mutex
	var errs []error
	var group errgroup.Group
	group.SetLimit(workers)
	for _, key := range x.due() {
		group.Go(func() error {
			done, left, err := x.turn(ctx, key)
			if ctx.Err() != nil {
				return nil
			}
			x.settle(key, done, left, err)
			mu.Lock()
			defer mu.Unlock()
			more = more || !done
			errs = append(errs, err)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	x.mu.Lock()
	missed := x.missed
	x.missed = false
	x.mu.Unlock()
	if missed {
		errs = append(errs, x.Sweep(ctx))
	}
	worked, err := x.fromQueue(ctx)
	return more || worked, errors.Join(append(errs, err)...)
}

// due gives the noted mailboxes whose time has come.
func (x *Indexer) due() (keys []meta.MailboxKey) {
	now := x.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for key, n := range x.noted {
		if !now.Before(n.due) {
			keys = append(keys, key)
			x.working[key] = n
			delete(x.noted, key) // what changes from now on is a change of its own
		}
	}
	return keys
}

// settle notes what is left of a mailbox after its turn.
func (x *Indexer) settle(key meta.MailboxKey, done bool, left int64, failed error) {
	now := x.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	n := x.working[key]
	delete(x.working, key)
	if done && failed == nil {
		return
	}
	n.left, n.due = max(left, 1), now
	if failed != nil {
		n.due = now.Add(retryAfter)
	}
	x.noted[key] = n
}

// fromQueue does a turn for a mailbox of the queue; worked is false if there is none.
func (x *Indexer) fromQueue(ctx context.Context) (worked bool, err error) {
	now := time.Now()
	x.mu.Lock()
	look := !now.Before(x.queued)
	waits := x.queue.Mailboxes > 0
	if look {
		x.queued = now.Add(lookEvery)
	}
	x.mu.Unlock()
	if look { // not each time: it counts what may be many rows
		q, err := x.Meta.TextQueue(ctx, "")
		if err != nil {
			return false, fmt.Errorf("look into the queue: %w", err)
		}
		x.mu.Lock()
		x.queue = q
		x.mu.Unlock()
		waits = q.Mailboxes > 0
	}
	if !waits {
		return false, nil
	}
	key, ok, err := x.Meta.ClaimText(ctx, x.holder, lease)
	if err != nil || !ok {
		return false, err
	}
	for {
		done, left, err := x.turn(ctx, key)
		if err != nil {
			return false, err // its lease ends, and it is tried again
		}
		if done {
			return true, x.Meta.FinishText(ctx, key, x.holder)
		}
		if ok, err := x.Meta.KeepText(ctx, key, x.holder, left, lease); err != nil || !ok {
			return false, err
		}
		if x.isDue() { // new mail comes before old
			return true, x.release(ctx, key, left)
		}
	}
}

// release gives a mailbox of the queue back.
func (x *Indexer) release(ctx context.Context, key meta.MailboxKey, left int64) error {
	_, err := x.Meta.KeepText(ctx, key, x.holder, left, 0)
	return err
}

// isDue tells whether noted mailboxes are due.
func (x *Indexer) isDue() bool {
	now := x.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range x.noted {
		if !now.Before(n.due) {
			return true
		}
	}
	return false
}

// turn does some steps for a mailbox. done says that it is up to date, left about how many messages are not.
func (x *Indexer) turn(ctx context.Context, key meta.MailboxKey) (done bool, left int64, err error) {
	for range turn {
		if done, left, err = x.step(ctx, key); err != nil || done {
			break
		}
	}
	if errors.Is(err, meta.ErrMailboxNotFound) {
		return true, 0, nil
	}
	if err != nil {
		x.metrics.failures.Inc()
		return false, left, fmt.Errorf("index mailbox %d of account %s: %w", key.MailboxID, key.AccountID, err)
	}
	return done, left, nil
}

// Sweep looks through all mailboxes and leaves those that are behind to the queue.
func (x *Indexer) Sweep(ctx context.Context) error {
	var after meta.MailboxKey
	for more := true; more; {
		var behind []meta.TextBehind
		var err error
		if behind, after, more, err = x.Meta.FindTextBehind(ctx, after); err != nil {
			return fmt.Errorf("look for messages that are not indexed: %w", err)
		}
		if len(behind) == 0 {
			continue
		}
		if err := x.Meta.EnqueueTexts(ctx, behind); err != nil {
			return fmt.Errorf("leave mailboxes to the queue: %w", err)
		}
		x.Wake()
	}
	return nil
}

// Tidy drops what is left over: of mailboxes and contents that are gone, and segments that are mostly dead.
func (x *Indexer) Tidy(ctx context.Context) error {
	var box meta.MailboxKey
	var segment meta.SegmentKey
	var account, content string
	for more := true; more; {
		var err error
		if box, more, err = x.Meta.DropClosedTexts(ctx, box); err != nil {
			return fmt.Errorf("drop the index of mailboxes that are gone: %w", err)
		}
	}
	for more := true; more; {
		var touched []meta.MailboxKey
		var err error
		if segment, touched, more, err = x.Meta.DropSparseSegments(ctx, segment); err != nil {
			return fmt.Errorf("drop segments that are mostly dead: %w", err)
		}
		var changes []meta.Change
		for _, key := range touched {
			changes = append(changes, meta.Change{AccountID: key.AccountID, MailboxID: key.MailboxID})
		}
		x.Note(changes)
	}
	for more := true; more; {
		var err error
		if account, content, more, err = x.Meta.DropLostTexts(ctx, account, content); err != nil {
			return fmt.Errorf("drop texts that are left over: %w", err)
		}
	}
	return nil
}
