package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // client-side health checks, which serviceConfig asks for
	"google.golang.org/grpc/keepalive"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// DefaultTimeout bounds a unary call whose context has no deadline.
const DefaultTimeout = 15 * time.Second

// reconnect finds a restarted service within a second; gRPC's own default waits for up to two minutes.
var reconnect = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

const (
	// clientKeepalive is how long a connection may bring nothing before it is probed. gRPC allows no less.
	clientKeepalive = 10 * time.Second
	// clientTimeout is how long the answer to the probe may take, and, through TCP_USER_TIMEOUT, how long sent octets may stay unacknowledged.
	clientTimeout = 5 * time.Second
)

// DialOptions of Dial.
type DialOptions struct {
	TLS        *tls.Config           // as of tlsconf.MutualClient; required
	Registerer prometheus.Registerer // may be nil
	Timeout    time.Duration         // of a unary call without a deadline, not counting the wait; 0 is DefaultTimeout
	Wait       time.Duration         // for a service that cannot be reached, within the deadline of a call that has one; 0 is DefaultWait
}

// ErrNoTLS is returned by Dial without TLS: services talk over mutual TLS only.
var ErrNoTLS = errors.New("rpc connections need TLS")

// Dial makes a connection to all replicas of a service. target is as in gRPC (host:port, dns:///name:port, balanced over all addresses
// of the name) or a list host:port,host:port. No network traffic happens before the first call; a call fails with Unavailable when no
// replica can be reached within opts.Wait.
//
// A replica whose process ends is noticed at once; one that the network cuts off clientTimeout after the next octet that is sent to it; one
// that hangs, or that nobody calls, after clientKeepalive and clientTimeout. Calls that were open on it fail with Unavailable, but those that the protos call
// idempotent are made again on another, and there too when they have no answer after hedgeAfter.
func Dial(target string, opts DialOptions) (*grpc.ClientConn, error) {
	if opts.TLS == nil {
		return nil, ErrNoTLS
	}
	target, options, err := parseTarget(target)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	config, err := makeServiceConfig()
	if err != nil {
		return nil, fmt.Errorf("describe methods: %w", err)
	}
	wait := waiter{cmp.Or(opts.Wait, DefaultWait)}
	timeout := cmp.Or(opts.Timeout, DefaultTimeout) + wait.longest - DefaultWait
	hedger := newHedger(hedgeAfter, opts.Registerer)
	metrics := newSideMetrics(opts.Registerer, "client")
	options = append(options,
		grpc.WithTransportCredentials(credentials.NewTLS(opts.TLS)),
		grpc.WithDefaultServiceConfig(config),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientKeepalive, Timeout: clientTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageSize), grpc.MaxCallSendMsgSize(MaxMessageSize)),
		grpc.WithChainUnaryInterceptor(metrics.unaryClient, tellUnary, deadline(timeout), wait.unary, hedger.unary),
		grpc.WithChainStreamInterceptor(metrics.streamClient, tellStream, wait.stream, hedger.stream),
	)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// withTimeout bounds ctx unless it has a deadline.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

func deadline(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, cancel := withTimeout(ctx, timeout)
		defer cancel()
		return invoker(ctx, method, req, reply, cc, opts...)
	}
}

// Lost tells whether a call was lost with its replica, or found none: nobody has said what became of it.
func Lost(err error) bool {
	return fault.Code(err) == codes.Unavailable && fault.Reason(err) == rpcv1.Reason_REASON_UNSPECIFIED
}

// Transient tells whether the same call may succeed if it is made again soon: the service
// could not be reached, or a concurrent change was in the way. Only an idempotent call may be repeated.
func Transient(err error) bool {
	switch fault.Code(err) {
	case codes.Unavailable, codes.Aborted:
		return true
	case codes.ResourceExhausted: // of the transport, not a quota or a limit of ours
		return fault.Reason(err) == rpcv1.Reason_REASON_UNSPECIFIED
	}
	return false
}
