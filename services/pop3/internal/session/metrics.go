package session

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Metrics of the sessions.
type Metrics struct {
	commands *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	logins   *prometheus.CounterVec
	octets   prometheus.Counter
	deleted  *prometheus.CounterVec
}

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	return &Metrics{
		commands: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_pop3_commands_total", Help: "Commands by name and result: ok, err, or closed where the connection ended with it."},
			[]string{"command", "result"})),
		seconds: telemetry.Register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "yubin_pop3_command_seconds", Help: "Duration of commands, with the transfer of what they answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}}, []string{"command"})),
		logins: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_pop3_logins_total", Help: "Logins by mechanism (USER is the command USER) and result."}, []string{"mechanism", "result"})),
		octets: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_pop3_retrieved_bytes_total", Help: "Octets of messages given out by RETR and TOP."})),
		deleted: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_pop3_deleted_messages_total", Help: "Messages that left the maildrop, by what became of them."}, []string{"action"})),
	}
}
