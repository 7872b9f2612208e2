package session

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

type metrics struct {
	commands *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	sessions *prometheus.GaugeVec
	idle     prometheus.Gauge
	logins   *prometheus.CounterVec
	ends     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		commands: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_imap_commands_total", Help: "Commands by name and result: ok, no, bad, or bye for those that ended the session.",
		}, []string{"command", "result"})),
		seconds: telemetry.Register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "yubin_imap_command_duration_seconds", Help: "Time from a command's first octet to its tagged response; without IDLE; with the time the client takes to send and to read.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"command"})),
		sessions: telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yubin_imap_sessions", Help: "Open sessions by state.",
		}, []string{"state"})),
		idle: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_imap_idle_sessions", Help: "Sessions in IDLE.",
		})),
		logins: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_imap_logins_total", Help: "Logins by result.",
		}, []string{"result"})),
		ends: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_imap_session_ends_total", Help: "Ended sessions by cause.",
		}, []string{"cause"})),
	}
}
