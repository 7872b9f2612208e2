package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// restartGrace is how long a call waits for a service that cannot be reached, before it is sent: a replica that
// restarts costs a delay, no error. Whatever the call does, it has not been done yet.
const restartGrace = 2 * time.Second

func await(ctx context.Context, cc *grpc.ClientConn) {
	state := cc.GetState()
	if state == connectivity.Ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, restartGrace)
	defer cancel()
	for state != connectivity.Ready && state != connectivity.Shutdown {
		if state == connectivity.Idle {
			cc.Connect()
		}
		if !cc.WaitForStateChange(ctx, state) {
			return
		}
		state = cc.GetState()
	}
}

func awaitUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	await(ctx, cc)
	return invoker(ctx, method, req, reply, cc, opts...)
}

func awaitStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	await(ctx, cc)
	return streamer(ctx, desc, cc, method, opts...)
}
