package rpc

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

const (
	// hedgeAfter is how long a repeatable call waits for its answer before another replica is asked too: the first may hang.
	hedgeAfter = time.Second
	// A second attempt costs hedgeCost tokens, of which each call brings one, up to hedgeTokens: when everything is slow, at most one
	// call in ten is made twice.
	hedgeCost, hedgeTokens = 10, 1000
)

// hedger makes second attempts, within its means.
type hedger struct {
	after time.Duration

	mu     sync.Mutex
	tokens int
}

func newHedger(after time.Duration) *hedger { return &hedger{after: after, tokens: hedgeTokens} }

func (h *hedger) earn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens = min(h.tokens+1, hedgeTokens)
}

func (h *hedger) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens < hedgeCost {
		return false
	}
	h.tokens -= hedgeCost
	return true
}

func (h *hedger) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	answer, ok := reply.(proto.Message)
	if !ok || !describe(method).repeatable {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	h.earn()
	c := &call{}
	first, giveUp := context.WithCancel(withAttempt(ctx, c, false))
	defer giveUp()
	second, cancel := context.WithCancel(withAttempt(ctx, c, true))
	defer cancel()
	other := answer.ProtoReflect().New().Interface()
	otherDone := make(chan error, 1)
	timer := time.AfterFunc(h.after, func() {
		if !h.spend() {
			otherDone <- errNoOther
			return
		}
		err := invoker(second, method, req, other, cc) // without opts, which are where the first puts what it learns
		if err == nil {
			giveUp()
		}
		otherDone <- err
	})
	err := invoker(first, method, req, reply, cc, opts...)
	if timer.Stop() {
		return err
	}
	if err == nil || ctx.Err() == nil && first.Err() == nil && !Transient(err) {
		cancel() // it has been answered
	}
	// The second attempt uses the request: wait for it in any case.
	if otherErr := <-otherDone; err != nil && otherErr == nil {
		proto.Reset(answer)
		proto.Merge(answer, other)
		return nil
	}
	return err
}

// repeatableStream lets the attempts that gRPC makes for a stream meet different replicas.
func repeatableStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if describe(method).repeatable {
		ctx = withAttempt(ctx, &call{}, false)
	}
	return streamer(ctx, desc, cc, method, opts...)
}
