// Package otlp sends traces to a collector over OTLP (gRPC).
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/telemetry"
)

const (
	// queueSize is how many spans wait for the collector at most; what comes beyond is dropped, nobody waits.
	queueSize = 4096
	// batchTime is how long a span waits for others.
	batchTime = time.Second
	// exportTimeout bounds one attempt to send.
	exportTimeout = 10 * time.Second
	// shutdownTimeout bounds the wait for the last spans when the process ends.
	shutdownTimeout = 3 * time.Second
)

// Config says where traces go. The zero value is nowhere.
type Config struct {
	Endpoint string  // http://host:port or https://host:port of a collector that takes OTLP over gRPC; empty: no traces
	Ratio    float64 // of what comes from clients that is traced
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Endpoint, "trace-endpoint", "", "collector to send traces to with OTLP over gRPC, such as http://collector:4317 or https://…; empty: no traces")
	fs.Float64Var(&c.Ratio, "trace-ratio", 0.01, "share of the commands of clients that is traced, 0 to 1")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	var errs []error
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			errs = append(errs, config.Errorf("trace-endpoint", "%q: write http://host:port, or https://host:port for TLS", c.Endpoint))
		}
	}
	if !(c.Ratio >= 0 && c.Ratio <= 1) {
		errs = append(errs, config.Errorf("trace-ratio", "%v: must be between 0 and 1", c.Ratio))
	}
	return errs
}

// Open makes the Tracer of a service; nil if there is nowhere to send traces to. close sends what is left. A collector that cannot be reached holds
// nobody up: its spans are dropped, and log tells, at most once in a minute.
func Open(ctx context.Context, cfg Config, service, version string, log *slog.Logger) (t *telemetry.Tracer, closeTracer func(), err error) {
	if cfg.Endpoint == "" {
		return nil, func() {}, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(cfg.Endpoint), otlptracegrpc.WithTimeout(exportTimeout))
	if err != nil {
		return nil, nil, fmt.Errorf("set up traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&reporter{SpanExporter: exporter, log: log}, sdktrace.WithMaxQueueSize(queueSize), sdktrace.WithBatchTimeout(batchTime), sdktrace.WithExportTimeout(exportTimeout)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.namespace", "yubin"), attribute.String("service.name", service), attribute.String("service.version", version),
		)),
	)
	return telemetry.NewTracer(provider), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			log.Warn("the last traces were not sent", "error", err)
		}
	}, nil
}

// reporter logs what otherwise goes to a logger of the whole process. Its methods are called one after the other.
type reporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	last time.Time
}

// ExportSpans implements sdktrace.SpanExporter.
func (r *reporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	if err != nil && time.Since(r.last) > time.Minute {
		r.last = time.Now()
		r.log.Warn("traces were not sent", "spans", len(spans), "error", err)
	}
	return nil
}
