package s3

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

type metrics struct {
	requests *prometheus.CounterVec
	retries  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	state    *prometheus.GaugeVec
	stale    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_s3_requests_total",
			Help: "Requests to the S3 service by operation and result; rejected are those that were not made because it is dead.",
		}, []string{"operation", "result"})),
		retries: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_s3_retries_total",
			Help: "Requests to the S3 service that were made again.",
		}, []string{"operation"})),
		seconds: telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "yubin_storage_s3_request_duration_seconds",
			Help:    "Time of requests to the S3 service; of a get until its content begins.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}, []string{"operation"})),
		state: telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yubin_storage_s3_breaker_state",
			Help: "Whether requests of a kind are made: 0 yes, 1 one to see whether the service is back, 2 no, for it does not answer.",
		}, []string{"kind"})),
		stale: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_s3_stale_uploads_total",
			Help: "Multipart uploads that nobody finished and that were removed.",
		})),
	}
	for _, operation := range []string{"put", "get"} {
		for _, result := range []string{"ok", "throttled", "unavailable", "rejected", "error"} {
			m.requests.WithLabelValues(operation, result)
		}
	}
	return m
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, object.ErrNotFound):
		return "not_found"
	case errors.Is(err, object.ErrFull):
		return "full"
	case errors.Is(err, errLeft):
		return "canceled"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, errAgain):
		return "throttled"
	}
	return "error"
}
