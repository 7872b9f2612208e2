package session

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Metrics of the sessions.
type Metrics struct {
	commands *telemetry.Memo[done, prometheus.Counter]
	seconds  *telemetry.Memo[string, prometheus.Observer]
	sessions map[state]prometheus.Gauge
	listed   prometheus.Observer
	logins   *prometheus.CounterVec
	octets   prometheus.Counter
	deleted  *prometheus.CounterVec
}

// done is a command and how it ended.
type done struct{ command, result string }

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	commands := counter("yubin_pop3_commands_total", "Commands by name and result: ok, err, or closed where the connection ended with it.", "command", "result")
	seconds := telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
		Name: "yubin_pop3_command_seconds", Help: "Duration of commands, with the transfer of what they answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}}, []string{"command"}))
	sessions := telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yubin_pop3_sessions", Help: "Open sessions by state: authorization or transaction."}, []string{"state"}))
	return &Metrics{
		commands: telemetry.NewMemo(func(d done) prometheus.Counter { return commands.WithLabelValues(d.command, d.result) }),
		seconds:  telemetry.NewMemo(func(command string) prometheus.Observer { return seconds.WithLabelValues(command) }),
		sessions: map[state]prometheus.Gauge{
			authorization: sessions.WithLabelValues("authorization"),
			transaction:   sessions.WithLabelValues("transaction"),
		},
		listed: telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name: "yubin_pop3_login_to_list_seconds", Help: "Time of a session's commands from its login to the end of its first LIST, UIDL or STAT, without the time between them.",
			Buckets: telemetry.LatencyBuckets()})),
		logins: counter("yubin_pop3_logins_total", "Logins by mechanism (USER is the command USER) and result.", "mechanism", "result"),
		octets: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_pop3_retrieved_bytes_total", Help: "Octets of messages given out by RETR and TOP."})),
		deleted: counter("yubin_pop3_deleted_messages_total", "Messages that left the maildrop, by what became of them.", "action"),
	}
}

// timed notes how long a command took, in the context of its trace.
func (s *Session) timed(ctx context.Context, command, result string, took time.Duration) {
	m := s.server.metrics
	m.commands.Get(done{command, result}).Inc()
	telemetry.Observe(ctx, m.seconds.Get(command), took.Seconds())
	if result != "ok" || s.listed || s.state != transaction {
		return
	}
	switch s.busy += took; command {
	case "LIST", "UIDL", "STAT":
		s.listed = true
		telemetry.Observe(ctx, m.listed, s.busy.Seconds())
	}
}

// enter counts the session in another state.
func (s *Session) enter(next state) {
	s.server.metrics.sessions[s.state].Dec()
	s.server.metrics.sessions[next].Inc()
	s.state = next
}
