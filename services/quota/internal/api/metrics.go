package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// Metrics of the calls.
type Metrics struct {
	refusals *prometheus.CounterVec
	events   *prometheus.CounterVec
	expired  prometheus.Counter
	lag      prometheus.Histogram
}

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	return &Metrics{
		refusals: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_quota_refusals_total", Help: "Writes that did not fit, by call and by the limit that refused them."}, []string{"call", "limit"})),
		events: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_quota_events_total", Help: "Events received for settlement: applied, applied before, or left because one before them is missing."}, []string{"outcome"})),
		expired: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_quota_reservations_expired_total", Help: "Reservations returned by the periodic sweep because they were never settled or released."})),
		lag: telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name: "yubin_quota_settle_lag_seconds", Help: "Time from the reservation to its settlement.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300}})),
	}
}

func (m *Metrics) refused(call string, u ledger.Usage, n ledger.Amount) {
	limit := "bytes"
	if u.Limit.Bytes == ledger.Unlimited || u.Used.Bytes+u.Reserved.Bytes+n.Bytes <= u.Limit.Bytes {
		limit = "messages"
	}
	m.refusals.WithLabelValues(call, limit).Inc()
}

func (m *Metrics) settled(s *ledger.Settlement, total int) {
	m.events.WithLabelValues("applied").Add(float64(s.Events))
	m.events.WithLabelValues("duplicate").Add(float64(s.Duplicates))
	m.events.WithLabelValues("left").Add(float64(total - s.Events - s.Duplicates))
	for _, lag := range s.Lags {
		m.lag.Observe(lag.Seconds())
	}
}

// fillBuckets are the upper bounds of the histogram of fill levels, as ratios of the limit.
var fillBuckets = []float64{0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99, 1}

// Totals is a collector of sums over all accounts, which Refresh computes: a scrape must not scan the ledger.
type Totals struct {
	ledger   *ledger.Ledger
	log      *slog.Logger
	interval time.Duration
	descs    map[string]*prometheus.Desc
	fill     *prometheus.Desc

	mu      sync.Mutex
	metrics []prometheus.Metric
}

// NewTotals registers the collector; reg may be nil.
func NewTotals(l *ledger.Ledger, log *slog.Logger, reg prometheus.Registerer, interval time.Duration) *Totals {
	t := &Totals{ledger: l, log: log, interval: interval, descs: map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		"limit_bytes":       "Sum of the accounts' limits; accounts without a limit are not in it.",
		"used_bytes":        "Sum of the accounts' usage.",
		"used_messages":     "Sum of the accounts' messages.",
		"reserved_bytes":    "Sum of what is reserved for writes in progress.",
		"reserved_messages": "Messages that are reserved for writes in progress.",
	} {
		t.descs[name] = prometheus.NewDesc("yubin_quota_"+name, help, nil, nil)
	}
	t.fill = prometheus.NewDesc("yubin_quota_accounts_fill_ratio", "Accounts by usage as a ratio of the limit; 0 without a limit.", nil, nil)
	return telemetry.Register(reg, t)
}

// Describe implements prometheus.Collector.
func (t *Totals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range t.descs {
		ch <- d
	}
	ch <- t.fill
}

// Collect implements prometheus.Collector.
func (t *Totals) Collect(ch chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.metrics {
		ch <- m
	}
}

// Run refreshes the sums until ctx ends.
func (t *Totals) Run(ctx context.Context) error {
	for {
		if err := t.Refresh(ctx); err != nil && ctx.Err() == nil {
			t.log.WarnContext(ctx, "quota totals not refreshed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.interval):
		}
	}
}

// Refresh scans the ledger.
func (t *Totals) Refresh(ctx context.Context) error {
	sums := map[string]float64{}
	var count uint64
	var ratios float64
	buckets := map[float64]uint64{}
	for after := ""; ; {
		page, err := t.ledger.ListUsage(ctx, after, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			sums["limit_bytes"] += float64(max(0, u.Limit.Bytes))
			sums["used_bytes"] += float64(u.Used.Bytes)
			sums["used_messages"] += float64(u.Used.Messages)
			sums["reserved_bytes"] += float64(u.Reserved.Bytes)
			sums["reserved_messages"] += float64(u.Reserved.Messages)
			ratio := u.Ratio()
			ratios += ratio
			count++
			for _, bound := range fillBuckets {
				if ratio <= bound {
					buckets[bound]++
				}
			}
		}
		after = page[len(page)-1].AccountID
	}
	metrics := []prometheus.Metric{prometheus.MustNewConstHistogram(t.fill, count, ratios, buckets)}
	for name, desc := range t.descs {
		metrics = append(metrics, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, sums[name]))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.metrics = metrics
	return nil
}
