package body

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

type metrics struct {
	frames     prometheus.Histogram
	bytes      prometheus.Histogram
	received   prometheus.Counter
	stored     prometheus.Counter
	cacheHits  prometheus.Counter
	cacheMiss  prometheus.Counter
	cacheBytes prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	bodyBytes := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_storage_body_bytes_total",
		Help: "Octets of bodies written: as received, and as stored in frames.",
	}, []string{"form"}))
	cacheReads := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_storage_body_cache_reads_total",
		Help: "Chunks and tables looked for in the read cache.",
	}, []string{"result"}))
	return &metrics{
		frames: telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name:    "yubin_storage_pack_frames",
			Help:    "Bodies in each pack written.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		})),
		bytes: telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name:    "yubin_storage_pack_bytes",
			Help:    "Octets of each pack written.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 10),
		})),
		received: bodyBytes.WithLabelValues("received"), stored: bodyBytes.WithLabelValues("stored"),
		cacheHits: cacheReads.WithLabelValues("hit"), cacheMiss: cacheReads.WithLabelValues("miss"),
		cacheBytes: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_body_cache_bytes",
			Help: "Memory of the read cache.",
		})),
	}
}

func (m *metrics) packed(locations []Location, group []int, size int64) {
	m.frames.Observe(float64(len(group)))
	m.bytes.Observe(float64(size))
	var received, stored int64
	for _, i := range group {
		received += locations[i].Size
		stored += locations[i].Stored
	}
	m.received.Add(float64(received))
	m.stored.Add(float64(stored))
}
