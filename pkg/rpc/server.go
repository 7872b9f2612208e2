package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// MaxMessageSize is the largest gRPC message in bytes that is sent or taken. Larger contents are streamed.
const MaxMessageSize = 8 << 20

const (
	// maxStreams bounds the calls in flight on one connection.
	maxStreams = 4096
	// keepaliveTime is how long a connection may be silent before it is probed,
	// and keepaliveTimeout how long the answer may take.
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
	// minKeepalive is how often clients may probe.
	minKeepalive = clientKeepalive / 2
	// maxConnectionAge makes clients look up the name and connect again from time to time, and so find new replicas. Calls in flight end undisturbed.
	maxConnectionAge = 2 * time.Minute
	// stopTimeout is how long calls in flight may last once the server stops.
	stopTimeout = 10 * time.Second
)

// ServerOptions of NewServer.
type ServerOptions struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	// TLS as of tlsconf.MutualServer. Without it callers have no identity: only the health service answers.
	TLS *tls.Config
	// Audit is told of every administrative change; may be nil.
	Audit *slog.Logger
	// Tracer goes on with the traces of callers; may be nil.
	Tracer *telemetry.Tracer
	// Health is what the gRPC health service (grpc.health.v1) reports; nil is always serving.
	Health *health.Checks
}

// Server is a gRPC server whose streams learn from Stopping when it stops.
type Server struct {
	*grpc.Server
	stop context.CancelFunc
}

// NewServer makes a server that authorises callers by their certificate, and registers the health service on it.
func NewServer(opts ServerOptions) *Server {
	g := newGuard(opts.Log, opts.Registerer, certificateCaller, traceWire(opts.Tracer))
	g.audit = opts.Audit
	stopping, stop := context.WithCancel(context.Background())
	g.stopping = stopping
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(g.unary()),
		grpc.StreamInterceptor(g.stream()),
		grpc.MaxRecvMsgSize(MaxMessageSize),
		grpc.MaxSendMsgSize(MaxMessageSize),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(20 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout, MaxConnectionAge: maxConnectionAge,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minKeepalive, PermitWithoutStream: true}),
	}
	if opts.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(opts.TLS)))
	}
	srv := grpc.NewServer(options...)
	hs := grpchealth.NewServer()
	if opts.Health != nil {
		opts.Health.OnChange(func(ready bool) {
			status := healthpb.HealthCheckResponse_NOT_SERVING
			if ready {
				status = healthpb.HealthCheckResponse_SERVING
			}
			hs.SetServingStatus("", status)
		})
	}
	healthpb.RegisterHealthServer(srv, hs)
	return &Server{srv, stop}
}

// Component serves srv on addr (host:port). When it is stopped it takes no new calls, and gives those in
// flight 10 s to end.
func Component(addr string, srv *Server, log *slog.Logger) lifecycle.Component {
	return lifecycle.Component{Name: "rpc", Run: func(ctx context.Context) error {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("open rpc listener: %w", err)
		}
		log.Info("rpc server listens", "address", l.Addr().String())
		return Serve(ctx, l, srv)
	}}
}

// Serve serves srv on l until ctx ends, and closes l.
func Serve(ctx context.Context, l net.Listener, srv *Server) error {
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve rpc: %w", err)
	case <-ctx.Done():
	}
	srv.stop()
	hard := time.AfterFunc(stopTimeout, srv.Stop)
	defer hard.Stop()
	srv.GracefulStop()
	return nil
}
