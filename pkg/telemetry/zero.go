package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Zero makes the series of a counter with one label, for each of its values, so that there is a 0 before the first event: a series that begins
// at 1 has not changed for Prometheus. It gives the counter.
func Zero(c *prometheus.CounterVec, values ...string) *prometheus.CounterVec {
	for _, v := range values {
		c.WithLabelValues(v)
	}
	return c
}
