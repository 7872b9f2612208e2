package session

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Metrics of the sessions.
type Metrics struct {
	commands   *prometheus.CounterVec
	sessions   *prometheus.GaugeVec
	logins     *prometheus.CounterVec
	recipients *prometheus.CounterVec
	delivery   *prometheus.HistogramVec
	commit     *prometheus.HistogramVec
	endToEnd   *prometheus.HistogramVec
	bytes      *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: telemetry.LatencyBuckets(),
		}, []string{"listener"}))
	}
	return &Metrics{
		commands: counter("yubin_smtp_commands_total", "Commands by listener, verb, reply code and enhanced status code (of success its class).",
			"listener", "command", "code", "enhanced"),
		sessions: telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yubin_smtp_sessions", Help: "Open sessions by listener and state: greeted, authenticated, or transaction.",
		}, []string{"listener", "state"})),
		logins: counter("yubin_smtp_logins_total", "Logins by result: ok, refused, malformed or error.", "result"),
		recipients: counter("yubin_smtp_recipients_total",
			"Recipients by outcome, each once, at RCPT or at the end of the message: stored, over_quota, unknown, deferred (the peer will send again), refused.",
			"listener", "outcome"),
		delivery: histogram("yubin_smtp_delivery_seconds", "Time from the first octet of a message to its answer."),
		commit:   histogram("yubin_smtp_commit_seconds", "Time from the last octet of a message to the answer of storage, which is durable."),
		endToEnd: histogram("yubin_smtp_end_to_end_seconds", "Time from the connection, for further messages of a session from their MAIL, to the commit; of messages that were stored."),
		bytes:    counter("yubin_smtp_received_bytes_total", "Octets of accepted messages.", "listener"),
	}
}

// roleMetrics are those of a role, found once.
type roleMetrics struct {
	commands                   *telemetry.Memo[answered, prometheus.Counter]
	states                     map[phase]prometheus.Gauge
	logins                     map[string]prometheus.Counter
	outcomes                   map[string]prometheus.Counter
	delivery, commit, endToEnd prometheus.Observer
	bytes                      prometheus.Counter
}

// answered is a command and its answer. Without an enhanced code it is a success.
type answered struct {
	command  string
	code     int
	enhanced smtp.EnhancedCode
}

func (m *Metrics) of(role Role) *roleMetrics {
	listener := string(role)
	r := &roleMetrics{
		commands: telemetry.NewMemo(func(a answered) prometheus.Counter {
			enhanced := "2"
			if a.enhanced != (smtp.EnhancedCode{}) {
				enhanced = fmt.Sprintf("%d.%d.%d", a.enhanced[0], a.enhanced[1], a.enhanced[2])
			}
			return m.commands.WithLabelValues(listener, a.command, strconv.Itoa(a.code), enhanced)
		}),
		states: map[phase]prometheus.Gauge{}, logins: map[string]prometheus.Counter{}, outcomes: map[string]prometheus.Counter{},
		delivery: m.delivery.WithLabelValues(listener), commit: m.commit.WithLabelValues(listener), endToEnd: m.endToEnd.WithLabelValues(listener),
		bytes: m.bytes.WithLabelValues(listener),
	}
	for _, p := range []phase{greeted, authenticated, inTransaction} {
		r.states[p] = m.sessions.WithLabelValues(listener, string(p))
	}
	for _, result := range []string{"ok", "refused", "malformed", "error"} {
		r.logins[result] = m.logins.WithLabelValues(result)
	}
	for _, outcome := range []string{outcomeStored, outcomeOverQuota, outcomeUnknown, outcomeDeferred, outcomeRefused} {
		r.outcomes[outcome] = m.recipients.WithLabelValues(listener, outcome)
	}
	return r
}

// phase of a session, as it stands in metrics.
type phase string

const (
	ended         phase = ""
	greeted       phase = "greeted"
	authenticated phase = "authenticated"
	inTransaction phase = "transaction"
)

// enter counts the session in another phase.
func (s *session) enter(next phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enterLocked(next)
}

func (s *session) enterLocked(next phase) {
	if s.phase != ended {
		s.backend.metrics.states[s.phase].Dec()
	}
	if s.phase = next; next != ended {
		s.backend.metrics.states[next].Inc()
	}
}

// rest is the phase between transactions.
func (s *session) rest() phase {
	if s.account != nil {
		return authenticated
	}
	return greeted
}

// loginResult is the label of an answer to AUTH.
func loginResult(code int) string {
	switch code {
	case 235:
		return "ok"
	case 535, 454:
		return "refused"
	case 501, 503, 504:
		return "malformed"
	}
	return "error"
}

// clocked notes when the last octet of a message was read.
type clocked struct {
	r    io.Reader
	last time.Time
}

// Read implements io.Reader.
func (c *clocked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && c.last.IsZero() {
		c.last = time.Now()
	}
	return n, err
}
