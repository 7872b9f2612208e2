package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceparent is the field of W3C Trace Context.
const traceparent = "traceparent"

// Parent gives the field traceparent (W3C Trace Context) for a call in ctx, "" if it belongs to no trace that is sampled.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// ReadParent reads what Parent wrote; the zero value if it is not that.
func ReadParent(field string) trace.SpanContext {
	if field == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: field})
	return trace.SpanContextFromContext(ctx)
}

// ParentField is the key of Parent in the metadata of a call.
const ParentField = traceparent
