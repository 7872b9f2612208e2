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

// Instrument counts and times what s does: yubin_storage_object_operations_total, …_operation_duration_seconds and …_bytes_total.
func Instrument(s Store, reg prometheus.Registerer) Store {
	return &instrumented{
		store: s,
		operations: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_object_operations_total",
			Help: "Operations on the object store by operation and result.",
		}, []string{"op", "result"})),
		duration: telemetry.Register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "yubin_storage_object_operation_duration_seconds",
			Help:    "Time of operations on the object store; a get ends when its reader is closed.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{"op"})),
		bytes: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_object_bytes_total",
			Help: "Octets read from and written to the object store.",
		}, []string{"op"})),
	}
}

type instrumented struct {
	store      Store
	operations *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	bytes      *prometheus.CounterVec
}

func (i *instrumented) done(op string, start time.Time, err error) {
	i.operations.WithLabelValues(op, result(err)).Inc()
	i.duration.WithLabelValues(op).Observe(time.Since(start).Seconds())
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
	start := time.Now()
	err := i.store.Put(ctx, key, &countingReader{r: r, bytes: i.bytes.WithLabelValues("put")}, size)
	i.done("put", start, err)
	return err
}

func (i *instrumented) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	start := time.Now()
	r, err := i.store.GetRange(ctx, key, off, n)
	if err != nil {
		i.done("get", start, err)
		return nil, err
	}
	return &instrumentedReader{
		countingReader: countingReader{r: r, bytes: i.bytes.WithLabelValues("get")},
		close: func(failed error) error {
			err := r.Close()
			i.done("get", start, errors.Join(failed, err))
			return err
		},
	}, nil
}

func (i *instrumented) Stat(ctx context.Context, key string) (Info, error) {
	start := time.Now()
	info, err := i.store.Stat(ctx, key)
	i.done("stat", start, err)
	return info, err
}

func (i *instrumented) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		start := time.Now()
		var failed error
		for info, err := range i.store.List(ctx, prefix, after) {
			failed = err
			if !yield(info, err) {
				break
			}
		}
		i.done("list", start, failed)
	}
}

func (i *instrumented) Delete(ctx context.Context, key string) error {
	start := time.Now()
	err := i.store.Delete(ctx, key)
	i.done("delete", start, err)
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
	close func(failed error) error
}

func (r *instrumentedReader) Close() error { return r.close(r.failed) }
