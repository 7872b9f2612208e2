package rpc

import (
	"context"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// tracing begins the span of a call on the server's side, in the trace of the caller; none if the caller is not traced.
type tracing func(ctx context.Context, method string) (context.Context, telemetry.Span)

// traceWire goes on with what the metadata of a call says.
func traceWire(tracer *telemetry.Tracer) tracing {
	return func(ctx context.Context, method string) (context.Context, telemetry.Span) {
		if tracer == nil {
			return ctx, telemetry.Span{}
		}
		parent := metadata.ValueFromIncomingContext(ctx, telemetry.ParentField)
		if len(parent) != 1 {
			return ctx, telemetry.Span{}
		}
		service, name := splitMethod(method)
		return tracer.Serve(ctx, telemetry.ReadParent(parent[0]), service+"/"+name)
	}
}

// traceInside goes on with the span of the caller, which is in this process.
func traceInside(ctx context.Context, method string) (context.Context, telemetry.Span) {
	client := inprocgrpc.ClientContext(ctx)
	if client == nil {
		return ctx, telemetry.Span{}
	}
	service, name := splitMethod(method)
	return telemetry.StartCall(telemetry.WithSpanOf(ctx, client), service, name)
}

// tell puts the trace of a call into its metadata.
func tell(ctx context.Context) context.Context {
	if parent := telemetry.Parent(ctx); parent != "" {
		return metadata.AppendToOutgoingContext(ctx, telemetry.ParentField, parent)
	}
	return ctx
}

func tellUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoker(tell(ctx), method, req, reply, cc, opts...)
}

func tellStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return streamer(tell(ctx), desc, cc, method, opts...)
}
