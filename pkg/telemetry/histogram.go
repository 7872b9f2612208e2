package telemetry

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Native histograms beside the classic ones: a bucket is at most a tenth wider than the one below it, and there are no more than nativeBuckets of
// them; then, but not more often than nativeReset, counting begins anew.
const (
	nativeFactor  = 1.1
	nativeBuckets = 100
	nativeReset   = time.Hour
)

// Native adds to a histogram's options that it is also a native one, for scrapers that take those.
func Native(opts prometheus.HistogramOpts) prometheus.HistogramOpts {
	opts.NativeHistogramBucketFactor = nativeFactor
	opts.NativeHistogramMaxBucketNumber = nativeBuckets
	opts.NativeHistogramMinResetDuration = nativeReset
	return opts
}

// NewHistogram makes a histogram that is classic and native.
func NewHistogram(opts prometheus.HistogramOpts) prometheus.Histogram {
	return prometheus.NewHistogram(Native(opts))
}

// NewHistogramVec is NewHistogram with labels.
func NewHistogramVec(opts prometheus.HistogramOpts, labels []string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(Native(opts), labels)
}

// Observe is o.Observe with an exemplar where ctx belongs to a trace that is sampled: its trace_id.
func Observe(ctx context.Context, o prometheus.Observer, value float64) {
	labels := Exemplar(ctx)
	if with, ok := o.(prometheus.ExemplarObserver); ok && labels != nil {
		with.ObserveWithExemplar(value, labels)
		return
	}
	o.Observe(value)
}

// Since is Observe of the seconds since begun.
func Since(ctx context.Context, o prometheus.Observer, begun time.Time) {
	Observe(ctx, o, time.Since(begun).Seconds())
}

// Exemplar gives the labels of an exemplar, nil where ctx belongs to no trace that is sampled.
func Exemplar(ctx context.Context) prometheus.Labels {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsSampled() {
		return nil
	}
	return prometheus.Labels{"trace_id": span.TraceID().String()}
}

// Memo remembers what belongs to a key, such as the counter of a command and its result: looking up a metric by the values of its labels allocates,
// and a look into a Memo does not, nor does it wait. There must be few keys.
type Memo[K comparable, V any] struct {
	resolve func(K) V
	known   atomic.Pointer[map[K]V] // replaced, never changed
	mu      sync.Mutex              // held by who replaces it
}

// NewMemo makes a Memo of what resolve gives for a key.
func NewMemo[K comparable, V any](resolve func(K) V) *Memo[K, V] {
	m := &Memo[K, V]{resolve: resolve}
	m.known.Store(&map[K]V{})
	return m
}

// Get gives what belongs to a key.
func (m *Memo[K, V]) Get(key K) V {
	if v, ok := (*m.known.Load())[key]; ok {
		return v
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := *m.known.Load()
	if v, ok := known[key]; ok {
		return v
	}
	v := m.resolve(key)
	more := maps.Clone(known)
	more[key] = v
	m.known.Store(&more)
	return v
}
