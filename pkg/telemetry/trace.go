package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Tracer begins traces. A nil Tracer begins none, which is what it costs nothing to have.
type Tracer struct {
	tracer trace.Tracer
}

// tracerName is the instrumentation scope of all spans.
const tracerName = "github.com/yubin-mail/yubin"

// NewTracer makes a Tracer.
func NewTracer(provider trace.TracerProvider) *Tracer {
	return &Tracer{provider.Tracer(tracerName)}
}

// Begin begins a trace, if it is one that is sampled, with a span called "kind name". It is for what comes from a client.
func (t *Tracer) Begin(ctx context.Context, kind, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, kind+" "+name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// Serve goes on with the trace of a caller, whose span is parent, on this side of a call.
func (t *Tracer) Serve(ctx context.Context, parent trace.SpanContext, name string) (context.Context, Span) {
	if t == nil || !parent.IsSampled() {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), name, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// Span is a part of a trace. The zero Span is none: all it is told is forgotten.
type Span struct {
	span trace.Span
}

// StartSpan begins a span called "kind name" within the trace that ctx belongs to; none if there is no such trace. Nothing is allocated then.
func StartSpan(ctx context.Context, kind, name string) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, kind+" "+name)
	return ctx, Span{span}
}

// StartCall is StartSpan for the side of a gRPC call that serves it.
func StartCall(ctx context.Context, service, method string) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, service+"/"+method, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// Traced tells whether it is one.
func (s Span) Traced() bool { return s.span != nil }

// Int says something about the span.
func (s Span) Int(key string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// String says something about the span: no address, no content of a message.
func (s Span) String(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Fail says that what the span is about has failed. Only that: the text of an error may name an address.
func (s Span) Fail() {
	if s.span != nil {
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span; err says whether it failed.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.Fail()
	}
	s.span.End()
}

// WithSpanOf gives ctx the span of another context of this process.
func WithSpanOf(ctx, other context.Context) context.Context {
	if span := trace.SpanFromContext(other); span.IsRecording() {
		return trace.ContextWithSpan(ctx, span)
	}
	return ctx
}

// Adopt gives ctx the span of the first of many that wait for the same work and are traced, and links the others to it.
func Adopt[T any](ctx context.Context, waiting []T, of func(T) context.Context) context.Context {
	var first trace.Span
	for _, w := range waiting {
		span := trace.SpanFromContext(of(w))
		switch {
		case !span.IsRecording():
		case first == nil:
			first = span
		case first.SpanContext().TraceID() != span.SpanContext().TraceID():
			first.AddLink(trace.Link{SpanContext: span.SpanContext()})
			span.AddLink(trace.Link{SpanContext: first.SpanContext()})
		}
	}
	if first == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, first)
}
