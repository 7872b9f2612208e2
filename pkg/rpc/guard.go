package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// handlingTime has buckets for calls that take from half a millisecond to as long as a client waits.
func handlingTime(opts *prometheus.HistogramOpts) {
	opts.Buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}
	*opts = telemetry.Native(*opts)
}

// guard holds the interceptors that both transports run around every handler.
type guard struct {
	log      *slog.Logger
	metrics  *grpcprom.ServerMetrics
	identify func(context.Context) string
	trace    tracing
	audit    *slog.Logger    // may be nil
	stopping context.Context // ends when the server begins to stop
}

func newGuard(log *slog.Logger, reg prometheus.Registerer, identify func(context.Context) string, trace tracing) *guard {
	metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(handlingTime))
	return &guard{
		log:      log,
		metrics:  telemetry.Register(reg, metrics),
		identify: identify,
		trace:    trace,
		stopping: context.Background(),
	}
}

func (g *guard) unary() grpc.UnaryServerInterceptor {
	measure := g.metrics.UnaryServerInterceptor(grpcprom.WithExemplarFromContext(telemetry.Exemplar))
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		ctx, span := g.trace(ctx, info.FullMethod)
		defer func() { span.End(err) }()
		return measure(ctx, req, info, func(ctx context.Context, req any) (resp any, err error) {
			defer func() { err = g.outcome(ctx, info.FullMethod, recover(), err) }()
			ctx, err = g.authorise(ctx, info.FullMethod)
			if err != nil {
				return nil, err
			}
			resp, err = handler(ctx, req)
			g.note(ctx, info.FullMethod, req, err)
			return resp, err
		})
	}
}

func (g *guard) stream() grpc.StreamServerInterceptor {
	measure := g.metrics.StreamServerInterceptor(grpcprom.WithExemplarFromContext(telemetry.Exemplar))
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		ctx, span := g.trace(ss.Context(), info.FullMethod)
		defer func() { span.End(err) }()
		if span.Traced() {
			ss = &streamWithContext{ss, ctx}
		}
		return measure(srv, ss, info, func(srv any, ss grpc.ServerStream) (err error) {
			defer func() { err = g.outcome(ss.Context(), info.FullMethod, recover(), err) }()
			ctx, err := g.authorise(ss.Context(), info.FullMethod)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(context.WithValue(ctx, stoppingKey{}, g.stopping.Done()))
			defer cancel()
			if service, _ := splitMethod(info.FullMethod); service == healthpb.Health_ServiceDesc.ServiceName {
				// Every client watches the health all the time; that must not hold the server back.
				defer context.AfterFunc(g.stopping, cancel)()
			}
			ss = &streamWithContext{ss, ctx}
			if g.audit == nil || !describe(info.FullMethod).administers {
				return handler(srv, ss)
			}
			noted := &listener{ServerStream: ss}
			err = handler(srv, noted)
			g.note(ctx, info.FullMethod, noted.request, err)
			return err
		})
	}
}

func (g *guard) authorise(ctx context.Context, method string) (context.Context, error) {
	caller := g.identify(ctx)
	if err := authorise(caller, method); err != nil {
		g.log.WarnContext(ctx, "call refused", "caller", caller, "method", method)
		return nil, err
	}
	return context.WithValue(ctx, callerKey{}, caller), nil
}

// outcome turns what a handler left behind, an error or a panic, into what crosses the wire,
// and logs what does not cross.
func (g *guard) outcome(ctx context.Context, method string, panicked any, err error) error {
	if panicked != nil {
		g.log.ErrorContext(ctx, "handler panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		err = errPanic
	}
	if err == nil {
		return nil
	}
	status, foreign := fault.Status(err)
	switch {
	case foreign && panicked == nil:
		g.log.ErrorContext(ctx, "call failed", "method", method, "error", err)
	case !foreign && err.Error() != status.Message():
		g.log.DebugContext(ctx, "call failed", "method", method, "code", status.Code(), "error", err)
	}
	if !foreign && status.Code() == codes.Unavailable {
		// Another replica would say the same: only a call that was lost is made again by itself.
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1")) // fails inside one process, where nothing is repeated
	}
	return status.Err()
}

// errPanic has no reason and no text to show: it is foreign on purpose.
var errPanic = fmt.Errorf("handler panicked")

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }

type stoppingKey struct{}

// Stopping gives a channel that is closed when the server that handles a stream begins to stop. A stream that
// is open as long as its client wants must then end, and the client makes it again elsewhere: what is left after
// 10 s is cut off. It is nil for unary calls and inside one process.
func Stopping(ctx context.Context) <-chan struct{} {
	stopping, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return stopping
}

type callerKey struct{}

// Caller gives the service that made the call being handled, such as "smtp"; "" outside a handler.
func Caller(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

// splitMethod cuts "/yubin.quota.v1.QuotaService/Reserve" into service and method.
func splitMethod(full string) (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service, method
}
