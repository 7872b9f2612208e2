package rpc

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// sideMetrics are the metrics of one side of calls, with the names and labels that go-grpc-middleware has made usual. Those of a method are found once:
// that library looks each of them up for each call by the values of its labels, which took more of a delivery than everything else that is counted.
type sideMetrics struct {
	started, handled, received, sent *prometheus.CounterVec
	seconds                          *prometheus.HistogramVec
	methods                          *telemetry.Memo[string, *callMetrics] // by full method
}

// callMetrics are those of a method.
type callMetrics struct {
	started, received, sent prometheus.Counter
	seconds                 prometheus.Observer
	handled                 *telemetry.Memo[codes.Code, prometheus.Counter]
}

// handlingBuckets are for calls that take from half a millisecond to as long as a client waits.
var handlingBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}

// newSideMetrics registers grpc_<side>_…, side being server or client.
func newSideMetrics(reg prometheus.Registerer, side string) *sideMetrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "grpc", Subsystem: side, Name: name, Help: help,
		}, append(append([]string{}, labels...), more...)))
	}
	m := &sideMetrics{
		started:  counter("started_total", "Calls begun on the "+side+"'s side."),
		handled:  counter("handled_total", "Calls ended on the "+side+"'s side, whatever came of them.", "grpc_code"),
		received: counter("msg_received_total", "Messages of calls that the "+side+" has received."),
		sent:     counter("msg_sent_total", "Messages of calls that the "+side+" has sent."),
		seconds: telemetry.Register(reg, telemetry.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "grpc", Subsystem: side, Name: "handling_seconds", Help: "Duration of calls on the " + side + "'s side.", Buckets: handlingBuckets,
		}, labels)),
	}
	m.methods = telemetry.NewMemo(m.of)
	return m
}

func (m *sideMetrics) of(fullMethod string) *callMetrics {
	service, method := splitMethod(fullMethod)
	kind := describe(fullMethod).kind
	if kind == "" {
		kind = "unknown"
	}
	return &callMetrics{
		started: m.started.WithLabelValues(kind, service, method), received: m.received.WithLabelValues(kind, service, method),
		sent: m.sent.WithLabelValues(kind, service, method), seconds: m.seconds.WithLabelValues(kind, service, method),
		handled: telemetry.NewMemo(func(code codes.Code) prometheus.Counter {
			return m.handled.WithLabelValues(kind, service, method, code.String())
		}),
	}
}

// ended counts a call that began at a time.
func (c *callMetrics) ended(ctx context.Context, begun time.Time, err error) {
	code := codes.OK
	if err != nil {
		code = status.Code(err)
		if _, ok := status.FromError(err); !ok {
			code = status.FromContextError(err).Code()
		}
	}
	c.handled.Get(code).Inc()
	telemetry.Since(ctx, c.seconds, begun)
}

// measuredServerStream counts the messages of a stream on the server's side.
type measuredServerStream struct {
	grpc.ServerStream
	metrics *callMetrics
}

// RecvMsg implements grpc.ServerStream.
func (s *measuredServerStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.metrics.received.Inc()
	}
	return err
}

// SendMsg implements grpc.ServerStream.
func (s *measuredServerStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.metrics.sent.Inc()
	}
	return err
}

// unaryClient measures calls on the client's side.
func (m *sideMetrics) unaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c, begun := m.methods.Get(method), time.Now()
	c.started.Inc()
	c.sent.Inc()
	err := invoker(ctx, method, req, reply, cc, opts...)
	if err == nil {
		c.received.Inc()
	}
	c.ended(ctx, begun, err)
	return err
}

// streamClient is unaryClient for streams. One that its caller leaves before its end is not counted as ended.
func (m *sideMetrics) streamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c, begun := m.methods.Get(method), time.Now()
	c.started.Inc()
	stream, err := streamer(ctx, desc, cc, method, opts...)
	if err != nil {
		c.ended(ctx, begun, err)
		return nil, err
	}
	return &measuredClientStream{ClientStream: stream, metrics: c, begun: begun, one: !desc.ServerStreams}, nil
}

// measuredClientStream counts the messages of a stream on the client's side, and its end.
type measuredClientStream struct {
	grpc.ClientStream
	metrics *callMetrics
	begun   time.Time
	one     bool // there is one answer
	ended   atomic.Bool
}

// SendMsg implements grpc.ClientStream.
func (s *measuredClientStream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if err == nil {
		s.metrics.sent.Inc()
	}
	return err
}

// RecvMsg implements grpc.ClientStream.
func (s *measuredClientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		s.metrics.received.Inc()
	}
	if (err != nil || s.one) && s.ended.CompareAndSwap(false, true) {
		outcome := err
		if errors.Is(err, io.EOF) {
			outcome = nil
		}
		s.metrics.ended(s.Context(), s.begun, outcome)
	}
	return err
}
