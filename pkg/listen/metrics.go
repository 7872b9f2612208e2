package listen

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Metrics of the listeners of one gateway.
type Metrics struct {
	open     *prometheus.GaugeVec
	accepted *prometheus.CounterVec
	refused  *prometheus.CounterVec
	in, out  prometheus.Counter
}

// NewMetrics registers yubin_<service>_connections, _connections_total, _connections_refused_total and _network_bytes_total. reg may be nil.
func NewMetrics(reg prometheus.Registerer, service string) *Metrics {
	octets := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "yubin", Subsystem: service, Name: "network_bytes_total", Help: "Octets from clients (in) and to them (out), below TLS.",
	}, []string{"direction"}))
	return &Metrics{
		open: telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "yubin", Subsystem: service, Name: "connections", Help: "Open connections by listener.",
		}, []string{"listener"})),
		accepted: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: service, Name: "connections_total", Help: "Connections taken by listener.",
		}, []string{"listener"})),
		refused: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: service, Name: "connections_refused_total", Help: "Connections refused by listener and reason.",
		}, []string{"listener", "reason"})),
		in: octets.WithLabelValues("in"), out: octets.WithLabelValues("out"),
	}
}
