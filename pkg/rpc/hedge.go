package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	// hedgeAfter is how long a call that may be hedged waits for its answer before another replica is asked too: the first may hang.
	hedgeAfter = time.Second
	// A second attempt costs hedgeCost tokens, of which each call brings one, up to hedgeTokens: when everything is slow, at most one
	// call in ten is made twice.
	hedgeCost, hedgeTokens = 10, 1000
)

// hedger makes second attempts, within its means.
type hedger struct {
	after time.Duration

	sent, refused prometheus.Counter

	mu     sync.Mutex
	tokens int
}

func newHedger(after time.Duration, reg prometheus.Registerer) *hedger {
	attempts := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_rpc_hedges_total", Help: "Calls that had no answer in time: sent to a second replica, or refused because too many were.",
	}, []string{"outcome"}))
	return &hedger{after: after, tokens: hedgeTokens, sent: attempts.WithLabelValues("sent"), refused: attempts.WithLabelValues("refused")}
}

func (h *hedger) earn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens = min(h.tokens+1, hedgeTokens)
}

func (h *hedger) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens < hedgeCost {
		h.refused.Inc()
		return false
	}
	h.sent.Inc()
	h.tokens -= hedgeCost
	return true
}

func (h *hedger) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	answer, ok := reply.(proto.Message)
	if !ok || !describe(method).hedged {
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

// stream is unary for a repeatable stream of answers: what counts is the first of them.
func (h *hedger) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !describe(method).hedged {
		return streamer(ctx, desc, cc, method, opts...)
	}
	c := &call{}
	if desc.ClientStreams {
		return streamer(withAttempt(ctx, c, false), desc, cc, method, opts...)
	}
	h.earn()
	first, cancel := context.WithCancel(withAttempt(ctx, c, false))
	stream, err := streamer(first, desc, cc, method, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &hedgedStream{ClientStream: stream, hedger: h, cancel: cancel, again: func(req any) (grpc.ClientStream, context.CancelFunc, error) {
		second, cancel := context.WithCancel(withAttempt(ctx, c, true))
		stream, err := streamer(second, desc, cc, method) // without opts, as above
		if err == nil {
			err = stream.SendMsg(req)
		}
		if err == nil {
			err = stream.CloseSend()
		}
		return stream, cancel, err
	}}, nil
}

// hedgedStream becomes the stream that answers first.
type hedgedStream struct {
	grpc.ClientStream
	cancel context.CancelFunc

	hedger  *hedger
	again   func(req any) (grpc.ClientStream, context.CancelFunc, error)
	req     proto.Message
	decided bool
}

// SendMsg implements grpc.ClientStream; it is called once.
func (s *hedgedStream) SendMsg(m any) error {
	if req, ok := m.(proto.Message); ok {
		s.req = proto.Clone(req) // the caller may change its own before a second attempt is made
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements grpc.ClientStream.
func (s *hedgedStream) RecvMsg(m any) error {
	err := s.recv(m)
	if err != nil {
		s.cancel()
	}
	return err
}

// secondStream is what came of the second attempt.
type secondStream struct {
	grpc.ClientStream
	cancel context.CancelFunc
	err    error // of opening it, or of its first answer
	won    bool  // it has answered first
}

func (s *hedgedStream) recv(m any) error {
	answer, ok := m.(proto.Message)
	if s.decided || !ok || s.req == nil {
		return s.ClientStream.RecvMsg(m)
	}
	s.decided = true
	other := answer.ProtoReflect().New().Interface()
	var won atomic.Bool
	giveUpFirst, second := s.cancel, make(chan secondStream, 1)
	timer := time.AfterFunc(s.hedger.after, func() {
		r := secondStream{err: errNoOther, cancel: func() {}}
		if s.hedger.spend() {
			r.ClientStream, r.cancel, r.err = s.again(s.req)
		}
		if r.err == nil {
			r.err = r.RecvMsg(other)
		}
		r.won = answered(r.err) && won.CompareAndSwap(false, true)
		if r.won {
			giveUpFirst()
		}
		second <- r
	})
	err := s.ClientStream.RecvMsg(m)
	if timer.Stop() {
		return err
	}
	if answered(err) && won.CompareAndSwap(false, true) {
		go func() { (<-second).cancel() }() // it may hang where this one does not
		return err
	}
	r := <-second
	if !r.won {
		r.cancel()
		return err
	}
	s.ClientStream, s.cancel = r.ClientStream, r.cancel
	proto.Reset(answer)
	proto.Merge(answer, other)
	return r.err
}

// answered tells whether a server has said something: a message, the end, or a refusal.
func answered(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || fault.Reason(err) != rpcv1.Reason_REASON_UNSPECIFIED
}
