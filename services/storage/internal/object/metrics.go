package object

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Instrument counts and times what s does: yubin_storage_object_operations_total, …_operation_duration_seconds and …_bytes_total; each is a span of
// the trace that its context belongs to.
func Instrument(s Store, reg prometheus.Registerer) Store {
	operations := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_storage_object_operations_total",
		Help: "Operations on the object store by operation and result; a range is a get of a part.",
	}, []string{"op", "result"}))
	duration := telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "yubin_storage_object_operation_duration_seconds",
		Help:    "Time of operations on the object store; a get ends when its reader is closed.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
	}, []string{"op"}))
	bytes := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_storage_object_bytes_total",
		Help: "Octets read from and written to the object store.",
	}, []string{"op"}))
	still := func(name string) *operation {
		for _, result := range []string{"ok", "error", "full"} {
			operations.WithLabelValues(name, result)
		}
		return &operation{
			name: name, duration: duration.WithLabelValues(name),
			results: telemetry.NewMemo(func(result string) prometheus.Counter { return operations.WithLabelValues(name, result) }),
		}
	}
	moving := func(name string) *operation {
		op := still(name)
		op.bytes = bytes.WithLabelValues(name)
		return op
	}
	return &instrumented{
		store: s, put: moving("put"), get: moving("get"), part: moving("range"),
		stat: still("stat"), list: still("list"), remove: still("delete"),
	}
}

type instrumented struct {
	store                              Store
	put, get, part, stat, list, remove *operation
}

// operation is the metrics of one, found once.
type operation struct {
	name     string
	results  *telemetry.Memo[string, prometheus.Counter]
	duration prometheus.Observer
	bytes    prometheus.Counter // nil where none are moved
}

// begin gives a context for an operation that begins now, and what is to be called when it has ended.
func (o *operation) begin(ctx context.Context) (_ context.Context, done func(error)) {
	start := time.Now()
	ctx, span := telemetry.StartSpan(ctx, "object", o.name)
	return ctx, func(err error) {
		o.results.Get(result(err)).Inc()
		telemetry.Since(ctx, o.duration, start)
		if errors.Is(err, ErrNotFound) {
			err = nil // an answer
		}
		span.End(err)
	}
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrFull):
		return "full"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	}
	return "error"
}

func (i *instrumented) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	ctx, done := i.put.begin(ctx)
	err := i.store.Put(ctx, key, &countingReader{r: r, bytes: i.put.bytes}, size)
	done(err)
	return err
}

func (i *instrumented) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	op := i.part
	if off == 0 && n < 0 {
		op = i.get
	}
	ctx, done := op.begin(ctx)
	r, err := i.store.GetRange(ctx, key, off, n)
	if err != nil {
		done(err)
		return nil, err
	}
	return &instrumentedReader{countingReader: countingReader{r: r, bytes: op.bytes}, close: r.Close, done: done}, nil
}

func (i *instrumented) Stat(ctx context.Context, key string) (Info, error) {
	ctx, done := i.stat.begin(ctx)
	info, err := i.store.Stat(ctx, key)
	done(err)
	return info, err
}

func (i *instrumented) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		ctx, done := i.list.begin(ctx)
		var failed error
		for info, err := range i.store.List(ctx, prefix, after) {
			failed = err
			if !yield(info, err) {
				break
			}
		}
		done(failed)
	}
}

func (i *instrumented) Delete(ctx context.Context, key string) error {
	ctx, done := i.remove.begin(ctx)
	err := i.store.Delete(ctx, key)
	done(err)
	return err
}

type countingReader struct {
	r      io.Reader
	bytes  prometheus.Counter
	failed error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bytes.Add(float64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

type instrumentedReader struct {
	countingReader
	close func() error
	done  func(error)
}

func (r *instrumentedReader) Close() error {
	err := r.close()
	r.done(errors.Join(r.failed, err))
	return err
}
