package sqldb

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// metrics of a database.
type metrics struct {
	seconds, wait            *prometheus.HistogramVec
	trips, retries, failures *prometheus.CounterVec
	classes                  *telemetry.Memo[string, *classMetrics]
}

// classMetrics are those of a class of transactions, found once.
type classMetrics struct {
	seconds, wait                   prometheus.Observer
	trips                           prometheus.Counter
	conflictRetries, connectRetries prometheus.Counter
	failures                        *telemetry.Memo[string, prometheus.Counter] // by reason
}

// Reasons for which a transaction was given up, as metric labels.
const (
	failedConflict   = "conflict"
	failedConnection = "connection"
	failedCanceled   = "canceled"
	failedOther      = "other"
)

func newMetrics(reg prometheus.Registerer, service string) metrics {
	histogram := func(name, help string) *prometheus.HistogramVec {
		return telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "yubin", Subsystem: service, Name: name, Help: help,
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"class"}))
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: service, Name: name, Help: help,
		}, labels))
	}
	m := metrics{
		seconds: histogram("sql_transaction_seconds", "Duration of database transactions by class, without the wait for a connection."),
		wait:    histogram("sql_wait_seconds", "Wait for a database connection by class of transaction."),
		trips: counter("sql_round_trips_total", "Times that a transaction waited for the database, by class; "+
			"what prepares a statement for the first time on a connection is not counted.", "class"),
		retries:  counter("sql_retries_total", "Transactions that were run again, by class and by reason: conflict or connection.", "class", "reason"),
		failures: counter("sql_failures_total", "Transactions that the database failed for good, by class and by reason: conflict, connection, canceled or other.", "class", "reason"),
	}
	m.classes = telemetry.NewMemo(func(class string) *classMetrics {
		m.failures.WithLabelValues(class, failedConnection) // 0 from the start, so that the first failure is a change
		return &classMetrics{
			seconds: m.seconds.WithLabelValues(class), wait: m.wait.WithLabelValues(class), trips: m.trips.WithLabelValues(class),
			conflictRetries: m.retries.WithLabelValues(class, failedConflict), connectRetries: m.retries.WithLabelValues(class, failedConnection),
			failures: telemetry.NewMemo(func(reason string) prometheus.Counter { return m.failures.WithLabelValues(class, reason) }),
		}
	})
	return m
}

// failed counts a transaction that the database has failed, and tells whether it is one; what its function or a constraint has refused is none.
func (db *DB) failed(m *classMetrics, tx *Tx, err error) bool {
	cause := err
	if tx.begun {
		cause = tx.fault
	}
	reason := failedOther
	switch {
	case cause == nil, IsUnique(cause), IsRefused(cause):
		return false
	case db.dialect.Conflict(cause):
		reason = failedConflict
	case errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		reason = failedCanceled
	case IsUnavailable(cause), errors.Is(cause, ErrUnknownOutcome):
		reason = failedConnection
	}
	m.failures.Get(reason).Inc()
	return true
}

// usage of a pool of connections at a moment.
type usage struct {
	inUse, idle, most int
}

// pool is a collector of the connections of a database.
type pool struct {
	connections, most *prometheus.Desc
	usage             func() usage
}

func newPool(service string, of func() usage) *pool {
	name := func(s string) string { return prometheus.BuildFQName("yubin", service, s) }
	return &pool{
		connections: prometheus.NewDesc(name("sql_connections"), "Connections to the database by state: in_use or idle.", []string{"state"}, nil),
		most:        prometheus.NewDesc(name("sql_connections_max"), "Most connections to the database, as configured.", nil, nil),
		usage:       of,
	}
}

// Describe implements prometheus.Collector.
func (p *pool) Describe(ch chan<- *prometheus.Desc) {
	ch <- p.connections
	ch <- p.most
}

// Collect implements prometheus.Collector.
func (p *pool) Collect(ch chan<- prometheus.Metric) {
	u := p.usage()
	ch <- prometheus.MustNewConstMetric(p.connections, prometheus.GaugeValue, float64(u.inUse), "in_use")
	ch <- prometheus.MustNewConstMetric(p.connections, prometheus.GaugeValue, float64(u.idle), "idle")
	ch <- prometheus.MustNewConstMetric(p.most, prometheus.GaugeValue, float64(u.most))
}
