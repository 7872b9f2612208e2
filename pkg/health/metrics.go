package health

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	readyDesc = prometheus.NewDesc("yubin_health_ready", "1 if the process is ready to serve, as /readyz tells.", nil, nil)
	checkDesc = prometheus.NewDesc("yubin_health_check_ok", "1 if a check of readiness succeeds, by check.", []string{"check"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Checks) Describe(ch chan<- *prometheus.Desc) {
	ch <- readyDesc
	ch <- checkDesc
}

// Collect implements prometheus.Collector.
func (c *Checks) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	checks, ready := maps.Clone(c.checks), c.readyLocked() == nil
	c.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, truth(ready))
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		ch <- prometheus.MustNewConstMetric(checkDesc, prometheus.GaugeValue, truth(checks[name] == nil), name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
