// Package batch is the queue of a group commit: submissions that come while a flush runs are gathered into the next one, so that the cost of
// each falls as load rises, and a lone one does not wait.
package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Errors of Submit.
var (
	// ErrBusy: the queue is full. Nothing was done; try again later.
	ErrBusy = errors.New("too many submissions wait")
	// ErrClosed: the batcher is shutting down. Nothing was done.
	ErrClosed = errors.New("batcher is closed")
)

// Config of a Batcher. Zero fields take the defaults.
type Config struct {
	// Name is the value of the metrics' label "batch".
	Name string
	// MaxItems of one flush (256).
	MaxItems int
	// MaxBytes of one flush, in octets (8 MiB); a larger item is flushed alone.
	MaxBytes int64
	// MaxQueue is how many submissions may wait (4,096).
	MaxQueue int
	// MaxFlushes is how many flushes may run at a time (1).
	MaxFlushes int
	// Full is how many waiting items are worth a flush, beside another one or without waiting for more (MaxItems).
	Full int
	// Patience is how long an item waits at most for a flush beside another one (100 ms).
	Patience time.Duration
	// Wait is how long a flush under load waits for the next submission at least (2 ms), again after each; a lone one does not wait.
	// Negative: no flush waits.
	Wait time.Duration
	// FlushTimeout is the deadline of the flush's context (60 s).
	FlushTimeout time.Duration
	Registerer   prometheus.Registerer
}

// Who misses a flush loses the time that it takes. So a flush under load waits for the next submission for a share of the time that the last one
// took, and in all for no more than that time, nor for maxWaits times Config.Wait.
const (
	waitShare = 4
	maxWaits  = 50
)

// Result of one item.
type Result[R any] struct {
	Value R
	Err   error
}

// Flush does the work of a batch and answers one result an item, in order. Its context ends by FlushTimeout, or when Close gives up.
// It may be called concurrently, if Config.MaxFlushes says so.
type Flush[T, R any] func(ctx context.Context, items []T) []Result[R]

// Batcher gathers concurrent submissions into flushes, first come first served.
//
// A flush takes all that wait, up to its limits. Those whom the one before it has answered are likely to come again: it waits a little for as
// many as were answered and as had been waiting then, but not beyond Config.Full. While one runs, another begins only for so many items, or
// for one that has waited for Config.Patience: more load makes larger batches first, more of them next, and then again larger ones.
type Batcher[T, R any] struct {
	cfg     Config
	size    func(T) int64
	flush   Flush[T, R]
	metrics *metrics

	// base ends when Close gives up.
	base   context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	queue    []*entry[T, R]
	bytes    int64         // of the queue
	flushes  int           // that run
	expected int           // items that are likely to wait soon
	gap      time.Duration // how long to wait for the next of them
	until    time.Time     // how long to wait for all of them
	latest   time.Time     // when the last submission came or the last flush ended
	workers  int           // goroutines that flush, at most MaxFlushes
	waiting  int           // of them, those that do not
	closed   bool
	ended    bool          // idle is closed
	news     chan struct{} // wakes a worker that waits
	idle     chan struct{} // closed when closed and nothing is left
}

// idleTime is how long a worker waits for work before it ends: their stacks have grown, and are worth keeping.
const idleTime = 10 * time.Second

type entry[T, R any] struct {
	ctx    context.Context // whose trace the flush belongs to
	item   T
	size   int64
	queued time.Time
	done   chan Result[R] // buffered
}

func (e *entry[T, R]) context() context.Context { return e.ctx }

// New makes a Batcher; size gives an item's octets for MaxBytes.
func New[T, R any](cfg Config, size func(T) int64, flush Flush[T, R]) *Batcher[T, R] {
	cfg.MaxItems = cmp.Or(cfg.MaxItems, 256)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 8<<20)
	cfg.MaxQueue = cmp.Or(cfg.MaxQueue, 4096)
	cfg.MaxFlushes = cmp.Or(cfg.MaxFlushes, 1)
	cfg.Full = cmp.Or(cfg.Full, cfg.MaxItems)
	cfg.Patience = cmp.Or(cfg.Patience, 100*time.Millisecond)
	cfg.Wait = cmp.Or(cfg.Wait, 2*time.Millisecond)
	cfg.FlushTimeout = cmp.Or(cfg.FlushTimeout, time.Minute)
	base, cancel := context.WithCancel(context.Background()) //nolint:gosec // Close cancels it
	return &Batcher[T, R]{
		cfg: cfg, size: size, flush: flush, metrics: newMetrics(cfg.Registerer, cfg.Name),
		base: base, cancel: cancel, news: make(chan struct{}, 1), idle: make(chan struct{}),
	}
}

// Submit queues item and waits for its result. If ctx ends before the flush of the item has begun, the item is withdrawn and nothing was
// done; after that Submit waits for the flush, however ctx fares, so what the item holds may be freed when Submit returns.
// Errors: ErrBusy, ErrClosed, ctx.Err(), the item's own.
func (b *Batcher[T, R]) Submit(ctx context.Context, item T) (R, error) {
	e := &entry[T, R]{ctx: ctx, item: item, size: b.size(item), queued: time.Now(), done: make(chan Result[R], 1)}
	if err := b.enqueue(ctx, e); err != nil {
		var none R
		return none, err
	}
	select {
	case r := <-e.done:
		return r.Value, r.Err
	case <-ctx.Done():
	}
	if b.withdraw(e) {
		var none R
		return none, ctx.Err()
	}
	r := <-e.done
	return r.Value, r.Err
}

func (b *Batcher[T, R]) enqueue(ctx context.Context, e *entry[T, R]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if len(b.queue) >= b.cfg.MaxQueue {
		b.metrics.refused.Inc()
		return ErrBusy
	}
	b.queue = append(b.queue, e)
	b.latest = e.queued
	b.bytes += e.size
	b.metrics.queue.Set(float64(len(b.queue)))
	b.call()
	return nil
}

// call sees to it that somebody looks at the queue, unless all workers flush: they look when they have done.
func (b *Batcher[T, R]) call() {
	switch {
	case b.waiting > 0:
		b.wake()
	case b.workers < b.cfg.MaxFlushes:
		b.workers++
		go b.work()
	}
}

// wake tells a worker that waits, if there is one, to look again.
func (b *Batcher[T, R]) wake() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// Busy tells whether a flush runs or submissions wait.
func (b *Batcher[T, R]) Busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.flushes > 0 || len(b.queue) > 0
}

// withdraw takes e out of the queue; false if its flush has begun.
func (b *Batcher[T, R]) withdraw(e *entry[T, R]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queue, e)
	if i < 0 {
		return false
	}
	b.queue = slices.Delete(b.queue, i, i+1)
	b.bytes -= e.size
	b.metrics.queue.Set(float64(len(b.queue)))
	return true
}

// work flushes until nothing came for idleTime, or the batcher is closed and nothing is left.
func (b *Batcher[T, R]) work() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	idle := false
	for {
		batch, wait, ended := b.next(idle)
		switch {
		case ended:
			return
		case batch != nil:
			idle = false
			b.run(batch)
			continue
		}
		timer.Reset(wait)
		select {
		case <-b.news:
			idle = false
		case <-timer.C:
			idle = wait == idleTime
		}
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
	}
}

// next takes the next batch, or tells how long to wait for it, or that the worker has ended; idle says that it has waited for so long.
func (b *Batcher[T, R]) next(idle bool) (batch []*entry[T, R], wait time.Duration, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.queue) > 0:
		if wait = b.wait(); wait > 0 {
			b.waiting++
			return nil, wait, false
		}
		b.flushes++
		batch = b.take()
		if len(b.queue) > 0 {
			b.call()
		}
		return batch, 0, false
	case b.closed, idle:
		b.workers--
		b.end()
		b.wake() // another may wait
		return nil, 0, true
	}
	b.waiting++
	return nil, idleTime, false
}

// end says that nothing is left, if that is so.
func (b *Batcher[T, R]) end() {
	if b.closed && !b.ended && len(b.queue) == 0 && b.flushes == 0 {
		b.ended = true
		close(b.idle)
	}
}

// wait tells how long the queue, which is not empty, is yet to wait for a flush.
func (b *Batcher[T, R]) wait() time.Duration {
	switch {
	case b.flushes == b.cfg.MaxFlushes:
		return idleTime // who lands looks again
	case b.closed, b.bytes >= b.cfg.MaxBytes:
		return 0
	case len(b.queue) >= b.cfg.Full:
		return 0
	case b.flushes > 0:
		return b.cfg.Patience - time.Since(b.queue[0].queued)
	case len(b.queue) >= b.expected:
		return 0
	}
	return min(b.gap-time.Since(b.latest), time.Until(b.until))
}

// take takes a batch from the queue.
func (b *Batcher[T, R]) take() []*entry[T, R] {
	n, bytes := 0, int64(0)
	for n < min(len(b.queue), b.cfg.MaxItems) && (n == 0 || bytes+b.queue[n].size <= b.cfg.MaxBytes) {
		bytes += b.queue[n].size
		n++
	}
	batch := b.queue[:n:n]
	b.queue = slices.Clone(b.queue[n:])
	b.bytes -= bytes
	b.metrics.taken(n, bytes, len(b.queue))
	for _, e := range batch {
		telemetry.Since(e.ctx, b.metrics.wait, e.queued)
	}
	return batch
}

func (b *Batcher[T, R]) run(batch []*entry[T, R]) {
	items := make([]T, len(batch))
	for i, e := range batch {
		items[i] = e.item
	}
	ctx, cancel := context.WithTimeout(b.base, b.cfg.FlushTimeout)
	defer cancel()
	ctx, span := telemetry.StartSpan(telemetry.Adopt(ctx, batch, (*entry[T, R]).context), "batch", b.cfg.Name)
	span.Int("items", len(batch))
	start := time.Now()
	results := b.flush(ctx, items)
	took := time.Since(start)
	telemetry.Observe(ctx, b.metrics.flush, took.Seconds())
	span.End(nil)
	b.expect(len(batch))
	for i, e := range batch {
		if len(results) != len(batch) {
			e.done <- Result[R]{Err: fmt.Errorf("flush answered %d results for %d items", len(results), len(batch))}
			continue
		}
		e.done <- results[i]
	}
	b.landed(took)
}

// expect notes, before any of the n items of a flush is answered, how many are likely to wait soon.
func (b *Batcher[T, R]) expect(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = n + len(b.queue)
}

// landed notes the end of a flush.
func (b *Batcher[T, R]) landed(took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flushes--
	b.latest, b.until = time.Now(), time.Time{}
	if b.expected > 1 {
		b.gap = max(took/waitShare, b.cfg.Wait)
		b.until = b.latest.Add(min(max(took, b.cfg.Wait), maxWaits*b.cfg.Wait))
	}
	b.wake()
}

// Close refuses new submissions and returns when all that wait are flushed. If ctx ends first, it cancels the flush's context, refuses what
// waits with ErrClosed, and returns ctx.Err() when the running flush has returned.
func (b *Batcher[T, R]) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.end()
	b.mu.Unlock()
	b.wake()
	defer b.cancel()
	select {
	case <-b.idle:
		return nil
	case <-ctx.Done():
	}
	b.refuseQueue() // first, lest the flush that ends makes room for the next
	b.cancel()
	<-b.idle
	return ctx.Err()
}

func (b *Batcher[T, R]) refuseQueue() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.queue {
		e.done <- Result[R]{Err: ErrClosed}
	}
	b.queue, b.bytes = nil, 0
	b.metrics.queue.Set(0)
	b.end()
}
