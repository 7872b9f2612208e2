package reconcile

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// Metrics of reconciliation. All replicas show what the last one found, whoever ran it.
type Metrics struct {
	bytes, messages, last prometheus.Gauge
}

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
	}
	return &Metrics{
		bytes:    gauge("yubin_quota_drift_bytes", "Sum of the accounts' absolute drift in bytes, as the last full reconciliation found it; must be 0."),
		messages: gauge("yubin_quota_drift_messages", "Sum of the accounts' absolute drift in messages, as the last full reconciliation found it; must be 0."),
		last:     gauge("yubin_quota_reconciled_timestamp_seconds", "When the last full reconciliation ended, Unix time; 0 if none has."),
	}
}

func (m *Metrics) set(last ledger.Reconciliation) {
	if last.Finished.IsZero() {
		return
	}
	m.bytes.Set(float64(last.Drift.Bytes))
	m.messages.Set(float64(last.Drift.Messages))
	m.last.Set(float64(last.Finished.Unix()))
}
