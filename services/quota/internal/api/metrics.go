package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// Metrics of the calls.
type Metrics struct {
	refusals                 *telemetry.Memo[refusal, prometheus.Counter]
	applied, duplicate, left prometheus.Counter
	granted, refusedReserve  prometheus.Counter
	expired                  prometheus.Counter
	lag                      prometheus.Histogram
}

// refusal is by which call and for which limit something was refused.
type refusal struct{ call, limit string }

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	refusals := counter("yubin_quota_refusals_total", "Writes that did not fit, by call and by the limit that refused them.", "call", "limit")
	events := counter("yubin_quota_events_total", "Events received for settlement: applied, applied before, or left because one before them is missing.", "outcome")
	reservations := counter("yubin_quota_reservations_total", "Reservations asked for, by outcome: granted or refused.", "outcome")
	m := &Metrics{
		refusals: telemetry.NewMemo(func(r refusal) prometheus.Counter { return refusals.WithLabelValues(r.call, r.limit) }),
		applied:  events.WithLabelValues("applied"), duplicate: events.WithLabelValues("duplicate"), left: events.WithLabelValues("left"),
		granted: reservations.WithLabelValues("granted"), refusedReserve: reservations.WithLabelValues("refused"),
		expired: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_quota_reservations_expired_total", Help: "Reservations returned by the periodic sweep because they were never settled or released."})),
		lag: telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name: "yubin_quota_settle_lag_seconds", Help: "Time from the reservation to its settlement.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300}})),
	}
	for _, call := range []string{callCheck, callReserve} { // so that the first refusal is an increase
		m.refusals.Get(refusal{call, overBytes})
		m.refusals.Get(refusal{call, overMessages})
	}
	return m
}

// Label values of yubin_quota_refusals_total.
const (
	callCheck, callReserve  = "check", "reserve"
	overBytes, overMessages = "bytes", "messages"
)

func (m *Metrics) refused(call string, u ledger.Usage, n ledger.Amount) {
	limit := overBytes
	if u.Limit.Bytes == ledger.Unlimited || u.Used.Bytes+u.Reserved.Bytes+n.Bytes <= u.Limit.Bytes {
		limit = overMessages
	}
	m.refusals.Get(refusal{call, limit}).Inc()
}

func (m *Metrics) settled(s *ledger.Settlement, total int) {
	m.applied.Add(float64(s.Events))
	m.duplicate.Add(float64(s.Duplicates))
	m.left.Add(float64(total - s.Events - s.Duplicates))
	for _, lag := range s.Lags {
		m.lag.Observe(lag.Seconds())
	}
}
