package session

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

type metrics struct {
	commands *telemetry.Memo[done, prometheus.Counter]
	seconds  *telemetry.Memo[string, prometheus.Observer]
	sessions *telemetry.Memo[state, prometheus.Gauge]
	listed   prometheus.Observer
	idle     prometheus.Gauge
	logins   *prometheus.CounterVec
	ends     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	commands := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_imap_commands_total", Help: "Commands by name and result: ok, no, bad, or bye for those that ended the session.",
	}, []string{"command", "result"}))
	seconds := telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
		Name: "yubin_imap_command_duration_seconds", Help: "Time from a command's first octet to its tagged response; without IDLE; with the time the client takes to send and to read.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
	}, []string{"command"}))
	sessions := telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yubin_imap_sessions", Help: "Open sessions by state.",
	}, []string{"state"}))
	for _, s := range []state{notAuthenticated, authenticated, selectedState} {
		sessions.WithLabelValues(s.String())
	}
	return &metrics{
		commands: telemetry.NewMemo(func(d done) prometheus.Counter { return commands.WithLabelValues(d.command, d.result) }),
		seconds:  telemetry.NewMemo(func(command string) prometheus.Observer { return seconds.WithLabelValues(command) }),
		sessions: telemetry.NewMemo(func(s state) prometheus.Gauge { return sessions.WithLabelValues(s.String()) }),
		listed: telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Name: "yubin_imap_login_to_list_seconds", Help: "Time of a session's commands from its login to the end of its first FETCH, without the time between them.",
			Buckets: telemetry.LatencyBuckets(),
		})),
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

// done is a command and how it ended.
type done struct{ command, result string }

// timed notes how long a command took that ends now, in the context of its trace.
func (s *session) timed(ctx context.Context, command, result string, begun time.Time) {
	s.metrics.commands.Get(done{command, result}).Inc()
	if c := registered.commands[command]; c != nil && c.endless {
		return
	}
	now := s.Now()
	telemetry.Observe(ctx, s.metrics.seconds.Get(command), now.Sub(begun).Seconds())
	if result != "ok" || s.listed || s.state == notAuthenticated {
		return
	}
	if begun.Before(s.counted) { // others ran beside it
		begun = s.counted
	}
	s.busy, s.counted = s.busy+now.Sub(begun), now
	if command == "FETCH" || command == "UID FETCH" {
		s.listed = true
		telemetry.Observe(ctx, s.metrics.listed, s.busy.Seconds())
	}
}
