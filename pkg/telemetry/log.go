package telemetry

import (
	"context"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Counted is a logger that counts its warnings and errors in yubin_log_records_total; reg may be nil.
func Counted(log *slog.Logger, reg prometheus.Registerer) *slog.Logger {
	records := Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_log_records_total", Help: "Records logged, by level: warn or error.",
	}, []string{"level"}))
	return slog.New(&counter{log.Handler(), records.WithLabelValues("warn"), records.WithLabelValues("error")})
}

// counter is a handler that counts.
type counter struct {
	slog.Handler
	warnings, errors prometheus.Counter
}

// Handle implements slog.Handler.
func (c *counter) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case r.Level >= slog.LevelError:
		c.errors.Inc()
	case r.Level >= slog.LevelWarn:
		c.warnings.Inc()
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c *counter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &counter{c.Handler.WithAttrs(attrs), c.warnings, c.errors}
}

// WithGroup implements slog.Handler.
func (c *counter) WithGroup(name string) slog.Handler {
	return &counter{c.Handler.WithGroup(name), c.warnings, c.errors}
}

// AuditLogger makes the logger of the audit log: who logged in, and what was changed by whom. Its records have audit=true, addresses and never passwords,
// and are written whatever the level of the other logs.
func AuditLogger(w io.Writer, format string) (*slog.Logger, error) {
	log, err := Logger(w, "info", format)
	if err != nil {
		return nil, err
	}
	return log.With("audit", true), nil
}
