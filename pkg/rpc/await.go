package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// DefaultWait is how long a call waits for a service that cannot be reached, before it is sent: a replica that
// restarts costs a delay, no error. Whatever the call does, it has not been done yet.
const DefaultWait = 2 * time.Second

// waiter waits for a connection, within the deadline of the call.
type waiter struct{ longest time.Duration }

func (w waiter) wait(ctx context.Context, cc *grpc.ClientConn) {
	state := cc.GetState()
	if state == connectivity.Ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.longest)
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

func (w waiter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	w.wait(ctx, cc)
	return invoker(ctx, method, req, reply, cc, opts...)
}

func (w waiter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	w.wait(ctx, cc)
	return streamer(ctx, desc, cc, method, opts...)
}
