package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

const (
	// totalsPage is how many accounts one query gives. After each the reader rests for restShare times as long as it took: so the cost in a second
	// does not grow with the accounts, only the time that it takes does.
	totalsPage = 1000
	restShare  = 9
	// totalsLease is when another replica takes over from one that has gone silent in the middle.
	totalsLease = 2 * time.Minute
)

var errTotalsTaken = errors.New("another replica has taken over")

// Totals is a collector of sums over all accounts. One replica at a time reads the ledger for them, all show what the last has found: a scrape must not
// read the ledger.
type Totals struct {
	ledger   *ledger.Ledger
	log      *slog.Logger
	interval time.Duration
	holder   string // this replica
	descs    map[string]*prometheus.Desc

	mu      sync.Mutex
	metrics []prometheus.Metric
}

// The metrics' names, after yubin_quota_.
const (
	limitBytes       = "limit_bytes"
	usedBytes        = "used_bytes"
	limitedUsedBytes = "limited_used_bytes"
	usedMessages     = "used_messages"
	reservedBytes    = "reserved_bytes"
	reservedMessages = "reserved_messages"
	totalsTimestamp  = "totals_timestamp_seconds"
	growth           = "growth_bytes_per_second"
	timeToFull       = "time_to_full_seconds"
	fillRatio        = "accounts_fill_ratio"
)

// NewTotals registers the collector; reg may be nil.
func NewTotals(l *ledger.Ledger, log *slog.Logger, reg prometheus.Registerer, interval time.Duration) *Totals {
	t := &Totals{ledger: l, log: log, interval: interval, holder: rand.Text(), descs: map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		limitBytes:       "Sum of the accounts' limits; accounts without a limit are not in it.",
		usedBytes:        "Sum of the accounts' usage.",
		limitedUsedBytes: "Sum of the usage of those accounts that have a limit.",
		usedMessages:     "Sum of the accounts' messages.",
		reservedBytes:    "Sum of what is reserved for writes in progress.",
		reservedMessages: "Messages that are reserved for writes in progress.",
		totalsTimestamp:  "When the sums over all accounts were taken, Unix time.",
		growth:           "How fast the usage of the accounts that have a limit grows, over up to 7 days; 0 as long as that cannot be told.",
		timeToFull:       "When all limits together are used up if the growth goes on; +Inf if it does not lead there, or cannot be told yet.",
		fillRatio:        "Accounts by usage as a ratio of the limit; 0 without a limit.",
	} {
		t.descs[name] = prometheus.NewDesc("yubin_quota_"+name, help, nil, nil)
	}
	return telemetry.Register(reg, t)
}

// Describe implements prometheus.Collector.
func (t *Totals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range t.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (t *Totals) Collect(ch chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.metrics {
		ch <- m
	}
}

// Run takes or reads the sums once in an interval until ctx ends.
func (t *Totals) Run(ctx context.Context) error {
	for {
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			t.log.WarnContext(ctx, "quota totals not refreshed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.interval):
		}
	}
}

// look takes the sums if it is this replica's turn, and shows the last ones.
func (t *Totals) look(ctx context.Context) error {
	mine, err := t.claim(ctx)
	switch {
	case err != nil:
		return err
	case mine:
		return t.Refresh(ctx)
	}
	return t.show(ctx)
}

// claim asks for the turn. It comes a little before the interval is over: this loop looks again just then.
func (t *Totals) claim(ctx context.Context) (bool, error) {
	return t.ledger.ClaimTotals(ctx, t.holder, t.interval*9/10, totalsLease)
}

// Refresh takes the sums and shows them.
func (t *Totals) Refresh(ctx context.Context) error {
	sums, err := t.sum(ctx)
	if err != nil {
		return err
	}
	if err := t.ledger.SaveTotals(ctx, sums); err != nil {
		return err
	}
	return t.show(ctx)
}

// sum reads the ledger.
func (t *Totals) sum(ctx context.Context) (sums ledger.Totals, err error) {
	claimed := time.Now()
	for after := ""; ; {
		begun := time.Now()
		page, err := t.ledger.ListUsage(ctx, after, totalsPage)
		if err != nil {
			return sums, err
		}
		for _, u := range page {
			sums.Add(u)
			after = u.AccountID
		}
		if len(page) < totalsPage {
			return sums, nil
		}
		select {
		case <-ctx.Done():
			return sums, ctx.Err()
		case <-time.After(restShare * time.Since(begun)):
		}
		if time.Since(claimed) > totalsLease/4 {
			if mine, err := t.claim(ctx); err != nil {
				return sums, err
			} else if !mine {
				return sums, errTotalsTaken
			}
			claimed = time.Now()
		}
	}
}

// show makes the metrics of the last sums.
func (t *Totals) show(ctx context.Context) error {
	sums, history, err := t.ledger.LastTotals(ctx)
	if err != nil || sums.Taken.IsZero() {
		return err
	}
	rate := slope(history)
	buckets := map[float64]uint64{}
	for i, bound := range ledger.FillBounds {
		buckets[bound] = uint64(max(0, sums.Fill[i]))
	}
	metrics := []prometheus.Metric{prometheus.MustNewConstHistogram(t.descs[fillRatio], uint64(max(0, sums.Accounts)), sums.Ratios, buckets)}
	for name, value := range map[string]float64{
		limitBytes:       float64(sums.Limit),
		usedBytes:        float64(sums.Used.Bytes),
		limitedUsedBytes: float64(sums.Limited),
		usedMessages:     float64(sums.Used.Messages),
		reservedBytes:    float64(sums.Reserved.Bytes),
		reservedMessages: float64(sums.Reserved.Messages),
		totalsTimestamp:  float64(sums.Taken.UnixMilli()) / 1000,
		growth:           rate,
		timeToFull:       remaining(sums, rate),
	} {
		metrics = append(metrics, prometheus.MustNewConstMetric(t.descs[name], prometheus.GaugeValue, value))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.metrics = metrics
	return nil
}

// slope is how much samples grow in a second, by least squares; 0 for fewer than two.
func slope(samples []ledger.Sample) float64 {
	if len(samples) < 2 {
		return 0
	}
	n, origin := float64(len(samples)), samples[0]
	var x, y, xx, xy float64
	for _, s := range samples {
		at, used := s.Taken.Sub(origin.Taken).Seconds(), float64(s.Used-origin.Used)
		x, y, xx, xy = x+at, y+used, xx+at*at, xy+at*used
	}
	spread := n*xx - x*x
	if spread <= 0 {
		return 0
	}
	return (n*xy - x*y) / spread
}

// remaining is in how many seconds the limits are used up at a rate of growth.
func remaining(sums ledger.Totals, rate float64) float64 {
	switch left := sums.Limit - sums.Limited; {
	case sums.Limit == 0:
		return math.Inf(1)
	case left <= 0:
		return 0
	case rate <= 0:
		return math.Inf(1)
	default:
		return float64(left) / rate
	}
}
