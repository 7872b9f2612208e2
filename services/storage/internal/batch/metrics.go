package batch

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

type metrics struct {
	items   prometheus.Observer
	bytes   prometheus.Observer
	wait    prometheus.Observer
	flush   prometheus.Observer
	queue   prometheus.Gauge
	refused prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, name string) *metrics {
	label := []string{"batch"}
	histogram := func(metric, help string, buckets []float64) prometheus.Observer {
		return telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
			Name: "yubin_storage_batch_" + metric, Help: help, Buckets: buckets,
		}, label)).WithLabelValues(name)
	}
	seconds := prometheus.ExponentialBuckets(0.0001, 2.5, 14)
	return &metrics{
		items: histogram("items", "Submissions served by one flush.", prometheus.ExponentialBuckets(1, 2, 11)),
		bytes: histogram("bytes", "Octets of one flush.", prometheus.ExponentialBuckets(1<<10, 4, 10)),
		wait:  histogram("wait_seconds", "Time of a submission from its arrival to the beginning of its flush.", seconds),
		flush: histogram("flush_seconds", "Time of a flush.", seconds),
		queue: telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yubin_storage_batch_queue_items", Help: "Submissions that wait.",
		}, label)).WithLabelValues(name),
		refused: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_batch_refused_total", Help: "Submissions refused because the queue was full.",
		}, label)).WithLabelValues(name),
	}
}

func (m *metrics) taken(items int, bytes int64, left int) {
	m.items.Observe(float64(items))
	m.bytes.Observe(float64(bytes))
	m.queue.Set(float64(left))
}
