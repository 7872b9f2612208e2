package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/yubin-mail/yubin/pkg/fault"
)

// guard holds the interceptors that both transports run around every handler.
type guard struct {
	log      *slog.Logger
	metrics  *sideMetrics
	identify func(context.Context) string
	trace    tracing
	audit    *slog.Logger    // may be nil
	stopping context.Context // ends when the server begins to stop
}

func newGuard(log *slog.Logger, reg prometheus.Registerer, identify func(context.Context) string, trace tracing) *guard {
	return &guard{
		log:      log,
		metrics:  newSideMetrics(reg, "server"),
		identify: identify,
		trace:    trace,
		stopping: context.Background(),
	}
}

func (g *guard) unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		ctx, span := g.trace(ctx, info.FullMethod)
		m, begun := g.metrics.methods.Get(info.FullMethod), time.Now()
		m.started.Inc()
		m.received.Inc()
		defer func() {
			if err = g.outcome(ctx, info.FullMethod, recover(), err); err == nil {
				m.sent.Inc()
			}
			m.ended(ctx, begun, err)
			span.End(err)
		}()
		allowed, err := g.authorise(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		resp, err = handler(allowed, req)
		g.note(allowed, info.FullMethod, req, err)
		return resp, err
	}
}

func (g *guard) stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		ctx, span := g.trace(ss.Context(), info.FullMethod)
		m, begun := g.metrics.methods.Get(info.FullMethod), time.Now()
		m.started.Inc()
		defer func() {
			err = g.outcome(ctx, info.FullMethod, recover(), err)
			m.ended(ctx, begun, err)
			span.End(err)
		}()
		allowed, err := g.authorise(ctx, info.FullMethod)
		if err != nil {
			return err
		}
		lasting, cancel := context.WithCancel(context.WithValue(allowed, stoppingKey{}, g.stopping.Done()))
		defer cancel()
		if service, _ := splitMethod(info.FullMethod); service == healthpb.Health_ServiceDesc.ServiceName {
			// Every client watches the health all the time; that must not hold the server back.
			defer context.AfterFunc(g.stopping, cancel)()
		}
		ss = &streamWithContext{&measuredServerStream{ss, m}, lasting}
		if g.audit == nil || !describe(info.FullMethod).administers {
			return handler(srv, ss)
		}
		noted := &listener{ServerStream: ss}
		err = handler(srv, noted)
		g.note(lasting, info.FullMethod, noted.request, err)
		return err
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
