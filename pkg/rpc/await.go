package rpc

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
)

// DefaultWait is how long a call waits for a service that cannot be reached, before it is sent: a replica that
// restarts costs a delay, no error. Whatever the call does, it has not been done yet.
const DefaultWait = 2 * time.Second

// waiter waits for a connection, within the deadline of the call.
type waiter struct{ longest time.Duration }

func (w waiter) wait(ctx context.Context, cc *grpc.ClientConn) {
	state := cc.GetState()
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

// again waits before a call is made once more that found nobody to send it to: the last replica may leave between the wait and the
// call. It is false when there is no time left.
func (w waiter) again(ctx, patience context.Context) bool {
	select {
	case <-time.After(unsentPause):
		return ctx.Err() == nil
	case <-patience.Done():
		return false
	}
}

// unsentPause keeps a call that finds nobody from asking as fast as it can.
const unsentPause = 10 * time.Millisecond

func (w waiter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	patience, cancel := context.WithTimeout(ctx, w.longest)
	defer cancel()
	for {
		w.wait(patience, cc)
		var to peer.Peer
		err := invoker(ctx, method, req, reply, cc, append(slices.Clip(opts), grpc.Peer(&to))...)
		// Without an address it was sent to nobody, or may be repeated anyway and was sent to nobody at last.
		if !Lost(err) || to.Addr != nil || !w.again(ctx, patience) {
			return err
		}
	}
}

func (w waiter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	patience, cancel := context.WithTimeout(ctx, w.longest)
	defer cancel()
	for {
		w.wait(patience, cc)
		stream, err := streamer(ctx, desc, cc, method, opts...)
		// A stream that cannot be opened has carried nothing.
		if err == nil || !Lost(err) || !w.again(ctx, patience) {
			return stream, err
		}
	}
}
