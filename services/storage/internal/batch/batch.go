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
	// Wait is how long a flush under load waits for more (2 ms); a lone submission does not. Negative: no flush waits.
	Wait time.Duration
	// FlushTimeout is the deadline of the flush's context (60 s).
	FlushTimeout time.Duration
	Registerer   prometheus.Registerer
}

// Result of one item.
type Result[R any] struct {
	Value R
	Err   error
}

// Flush does the work of a batch and answers one result an item, in order. Its context ends by FlushTimeout, or when Close gives up.
type Flush[T, R any] func(ctx context.Context, items []T) []Result[R]

// Batcher gathers concurrent submissions into flushes, one flush at a time, first come first served.
//
// A flush takes all that wait, up to its limits. If the one before it served several, others are likely on their way, for those whom it has just
// answered come again; then it waits for as many, but for no longer than Config.Wait.
type Batcher[T, R any] struct {
	cfg     Config
	size    func(T) int64
	flush   Flush[T, R]
	metrics *metrics

	// base ends when Close gives up.
	base   context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	queue   []*entry[T, R]
	bytes   int64 // of the queue
	last    int   // items of the last flush
	running bool  // the loop that flushes
	closed  bool
	more    chan struct{} // wakes a flush that waits
	idle    chan struct{} // closed when closed and nothing is left
}

type entry[T, R any] struct {
	item   T
	size   int64
	queued time.Time
	done   chan Result[R] // buffered
}

// New makes a Batcher; size gives an item's octets for MaxBytes.
func New[T, R any](cfg Config, size func(T) int64, flush Flush[T, R]) *Batcher[T, R] {
	cfg.MaxItems = cmp.Or(cfg.MaxItems, 256)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 8<<20)
	cfg.MaxQueue = cmp.Or(cfg.MaxQueue, 4096)
	cfg.Wait = cmp.Or(cfg.Wait, 2*time.Millisecond)
	cfg.FlushTimeout = cmp.Or(cfg.FlushTimeout, time.Minute)
	base, cancel := context.WithCancel(context.Background()) //nolint:gosec // Close cancels it
	return &Batcher[T, R]{
		cfg: cfg, size: size, flush: flush, metrics: newMetrics(cfg.Registerer, cfg.Name),
		base: base, cancel: cancel, more: make(chan struct{}, 1), idle: make(chan struct{}),
	}
}

// Submit queues item and waits for its result. If ctx ends before the flush of the item has begun, the item is withdrawn and nothing was
// done; after that Submit waits for the flush, however ctx fares, so what the item holds may be freed when Submit returns.
// Errors: ErrBusy, ErrClosed, ctx.Err(), the item's own.
func (b *Batcher[T, R]) Submit(ctx context.Context, item T) (R, error) {
	e := &entry[T, R]{item: item, size: b.size(item), queued: time.Now(), done: make(chan Result[R], 1)}
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
	b.bytes += e.size
	b.metrics.queue.Set(float64(len(b.queue)))
	if !b.running {
		b.running = true
		go b.loop()
		return nil
	}
	b.wake()
	return nil
}

// wake tells a flush that waits to look at the queue again.
func (b *Batcher[T, R]) wake() {
	select {
	case b.more <- struct{}{}:
	default:
	}
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

// loop flushes until nothing waits.
func (b *Batcher[T, R]) loop() {
	for {
		b.gather()
		batch := b.take()
		if batch == nil {
			return
		}
		b.run(batch)
	}
}

// gather waits a little if there is load.
func (b *Batcher[T, R]) gather() {
	if b.enough() {
		return
	}
	timer := time.NewTimer(b.cfg.Wait)
	defer timer.Stop()
	for {
		select {
		case <-b.more:
			if b.enough() {
				return
			}
		case <-timer.C:
			return
		case <-b.base.Done():
			return
		}
	}
}

// enough tells that waiting for more submissions makes no sense.
func (b *Batcher[T, R]) enough() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	load := b.last > 1 && b.cfg.Wait > 0
	return !load || b.closed || len(b.queue) >= min(b.last, b.cfg.MaxItems) || b.bytes >= b.cfg.MaxBytes
}

// take takes the next batch; nil if nothing waits, and then the loop has ended.
func (b *Batcher[T, R]) take() []*entry[T, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int
	var bytes int64
	for n < min(len(b.queue), b.cfg.MaxItems) && (n == 0 || bytes+b.queue[n].size <= b.cfg.MaxBytes) {
		bytes += b.queue[n].size
		n++
	}
	b.last = n
	if n == 0 {
		b.running = false
		if b.closed {
			close(b.idle)
		}
		return nil
	}
	batch := b.queue[:n:n]
	b.queue = slices.Clone(b.queue[n:])
	b.bytes -= bytes
	b.metrics.taken(n, bytes, len(b.queue))
	for _, e := range batch {
		b.metrics.wait.Observe(time.Since(e.queued).Seconds())
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
	start := time.Now()
	results := b.flush(ctx, items)
	b.metrics.flush.Observe(time.Since(start).Seconds())
	for i, e := range batch {
		if len(results) != len(batch) {
			e.done <- Result[R]{Err: fmt.Errorf("flush answered %d results for %d items", len(results), len(batch))}
			continue
		}
		e.done <- results[i]
	}
}

// Close refuses new submissions and returns when all that wait are flushed. If ctx ends first, it cancels the flush's context, refuses what
// waits with ErrClosed, and returns ctx.Err() when the running flush has returned.
func (b *Batcher[T, R]) Close(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		if !b.running {
			close(b.idle)
		}
	}
	b.mu.Unlock()
	b.wake()
	defer b.cancel()
	select {
	case <-b.idle:
		return nil
	case <-ctx.Done():
	}
	b.cancel()
	b.refuseQueue()
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
}
