// Package batch is the queue of a group commit: submissions that come while a flush runs are gathered into the next one.
package batch

import (
	"context"
	"errors"
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
	// MaxBytes of one flush (8 MiB); one larger item is flushed alone.
	MaxBytes int64
	// MaxQueue is how many submissions may wait (4,096).
	MaxQueue int
	// Wait is how long a flush under load waits for more (2 ms); a lone submission never waits. Negative: never.
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
type Batcher[T, R any] struct{}

// New makes a Batcher; size gives an item's octets against MaxBytes.
func New[T, R any](cfg Config, size func(T) int64, flush Flush[T, R]) *Batcher[T, R] { return nil }

// Submit queues item and waits for its result. If ctx ends before the flush of the item has begun, the item is withdrawn and nothing was
// done; after that Submit waits for the flush, however ctx fares, so what the item holds may be freed when Submit returns.
// Errors: ErrBusy, ErrClosed, ctx.Err(), the item's own.
func (b *Batcher[T, R]) Submit(ctx context.Context, item T) (R, error) { panic("skeleton") }

// Close refuses new submissions and returns when all that wait are flushed. If ctx ends first, it cancels the flush's context, refuses what
// waits with ErrClosed, and returns ctx.Err() when the running flush has returned.
func (b *Batcher[T, R]) Close(ctx context.Context) error { panic("skeleton") }
