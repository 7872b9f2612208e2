package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

var errSecret = errors.New("secret path /var/lib")

// quota answers by account id.
type quota struct {
	quotav1.UnimplementedQuotaServiceServer
	quotav1.UnimplementedQuotaAdminServiceServer
	hold  chan struct{} // what account "slow" waits for
	began chan struct{}
}

func (q *quota) Check(ctx context.Context, req *quotav1.CheckRequest) (*quotav1.CheckResponse, error) {
	switch req.GetAccountId() {
	case "full":
		return nil, fault.Wrap(errSecret, codes.ResourceExhausted, rpcv1.Reason_REASON_OVER_QUOTA, "mailbox full")
	case "foreign":
		return nil, errSecret
	case "panic":
		panic(errSecret)
	case "slow":
		q.began <- struct{}{}
		select {
		case <-q.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	_, hasDeadline := ctx.Deadline()
	return &quotav1.CheckResponse{Fits: hasDeadline, Usage: &quotav1.Usage{AccountId: Caller(ctx)}}, nil
}

func (q *quota) SetLimit(context.Context, *quotav1.SetLimitRequest) (*quotav1.SetLimitResponse, error) {
	return &quotav1.SetLimitResponse{}, nil
}

func (q *quota) Reconcile(_ *quotav1.ReconcileRequest, stream grpc.ServerStreamingServer[quotav1.ReconcileResponse]) error {
	if err := stream.Send(&quotav1.ReconcileResponse{}); err != nil {
		return err
	}
	return fault.Wrap(errSecret, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "storage is down")
}

// storage watches until the client has gone, and counts what it is given to append.
type storage struct {
	storagev1.UnimplementedStorageServiceServer
	gone chan error
}

func (s *storage) Watch(stream grpc.BidiStreamingServer[storagev1.WatchRequest, storagev1.WatchResponse]) error {
	if err := stream.Send(&storagev1.WatchResponse{Changes: []*storagev1.WatchResponse_Change{{AccountId: Caller(stream.Context())}}}); err != nil {
		s.gone <- stream.Context().Err() // the client has what was sent, and may have gone before this returned
		return err
	}
	select {
	case <-Stopping(stream.Context()):
		return nil
	case <-stream.Context().Done():
		s.gone <- stream.Context().Err()
		return stream.Context().Err()
	}
}

func (s *storage) Append(stream grpc.ClientStreamingServer[storagev1.AppendRequest, storagev1.AppendResponse]) error {
	total := 0
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_OVER_QUOTA, "%d octets", total)
		}
		if err != nil {
			return err
		}
		chunk := req.GetChunk()
		if !bytes.Equal(chunk, bytes.Repeat([]byte{'x'}, len(chunk))) {
			return fault.New(codes.DataLoss, rpcv1.Reason_REASON_CORRUPT, "the chunk changed on the way")
		}
		total += len(chunk)
	}
}

// setup is one transport with the two services on it.
type setup struct {
	connect func(t *testing.T, service string) grpc.ClientConnInterface
	quota   *quota
	storage *storage
	reg     *prometheus.Registry
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eachTransport runs a test over mutual TLS and inside the process.
func eachTransport(t *testing.T, test func(t *testing.T, s *setup)) {
	newSetup := func() *setup {
		return &setup{
			quota:   &quota{hold: make(chan struct{}), began: make(chan struct{}, 1)},
			storage: &storage{gone: make(chan error, 1)},
			reg:     prometheus.NewRegistry(),
			log:     &lockedBuffer{},
		}
	}
	register := func(s *setup, to grpc.ServiceRegistrar) {
		quotav1.RegisterQuotaServiceServer(to, s.quota)
		quotav1.RegisterQuotaAdminServiceServer(to, s.quota)
		storagev1.RegisterStorageServiceServer(to, s.storage)
	}
	t.Run("inproc", func(t *testing.T) {
		s := newSetup()
		in := NewInproc(slog.New(slog.NewTextHandler(s.log, nil)), s.reg)
		register(s, in)
		s.connect = func(_ *testing.T, service string) grpc.ClientConnInterface { return in.Client(service) }
		test(t, s)
	})
	t.Run("tls", func(t *testing.T) {
		s := newSetup()
		ca := newAuthority(t)
		tls, err := tlsconf.MutualServer(issue(t, ca, "quota"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		srv := NewServer(ServerOptions{Log: slog.New(slog.NewTextHandler(s.log, nil)), Registerer: s.reg, TLS: tls})
		register(s, srv)
		addr := serve(t, srv)
		s.connect = func(t *testing.T, service string) grpc.ClientConnInterface {
			return dial(t, addr, issue(t, ca, service), "quota")
		}
		test(t, s)
	})
}

func newAuthority(t *testing.T) *tlsconf.Authority {
	t.Helper()
	ca, err := tlsconf.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *tlsconf.Authority, service string) tlsconf.Files {
	t.Helper()
	files, err := ca.Issue(service, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func serve(t *testing.T, srv *Server) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, srv) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, addr string, files tlsconf.Files, server string) *grpc.ClientConn {
	t.Helper()
	tls, err := tlsconf.MutualClient(files, server, tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Dial(addr, DialOptions{TLS: tls, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestCallersAreAuthorised(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *setup) {
		smtp, admin := s.connect(t, "smtp"), s.connect(t, "admin")
		if _, err := quotav1.NewQuotaAdminServiceClient(admin).SetLimit(t.Context(), &quotav1.SetLimitRequest{}); err != nil {
			t.Errorf("admin may set a limit: %v", err)
		}
		_, err := quotav1.NewQuotaAdminServiceClient(smtp).SetLimit(t.Context(), &quotav1.SetLimitRequest{})
		if fault.Code(err) != codes.PermissionDenied || !fault.Is(err, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED) {
			t.Errorf("smtp may not set a limit: %v", err)
		}
		stream, err := quotav1.NewQuotaAdminServiceClient(smtp).Reconcile(t.Context(), &quotav1.ReconcileRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if !fault.Is(err, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED) {
			t.Errorf("smtp may not reconcile: %v", err)
		}
		resp, err := quotav1.NewQuotaServiceClient(smtp).Check(t.Context(), &quotav1.CheckRequest{AccountId: "a"})
		if err != nil || resp.GetUsage().GetAccountId() != "smtp" {
			t.Errorf("smtp may check: %v, %v", resp, err)
		}
		if !resp.GetFits() {
			t.Error("a call without a deadline was not given one")
		}
		if !strings.Contains(s.log.String(), "call refused") {
			t.Error("a refused call is not logged")
		}
	})
}

func TestErrorsCross(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *setup) {
		client := quotav1.NewQuotaServiceClient(s.connect(t, "smtp"))
		for account, want := range map[string]struct {
			code   codes.Code
			reason rpcv1.Reason
			text   string
		}{
			"full":    {codes.ResourceExhausted, rpcv1.Reason_REASON_OVER_QUOTA, "mailbox full"},
			"foreign": {codes.Internal, 0, "internal error, try again later"},
			"panic":   {codes.Internal, 0, "internal error, try again later"},
		} {
			_, err := client.Check(t.Context(), &quotav1.CheckRequest{AccountId: account})
			if fault.Code(err) != want.code || fault.Reason(err) != want.reason || fault.Text(err) != want.text {
				t.Errorf("%s: %v", account, err)
			}
			if errors.Is(err, errSecret) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the cause crossed: %v", account, err)
			}
		}
		if log := s.log.String(); !strings.Contains(log, "handler panicked") || !strings.Contains(log, `error="secret path`) {
			t.Errorf("what does not cross is not logged:\n%s", log)
		}
		stream, err := quotav1.NewQuotaAdminServiceClient(s.connect(t, "admin")).Reconcile(t.Context(), &quotav1.ReconcileRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) || fault.Text(err) != "storage is down" || !Transient(err) {
			t.Errorf("stream: %v", err)
		}
	})
}

func TestStreams(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *setup) {
		client := storagev1.NewStorageServiceClient(s.connect(t, "imap"))
		ctx, cancel := context.WithCancel(t.Context())
		watch, err := client.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		first, err := watch.Recv()
		if err != nil || first.GetChanges()[0].GetAccountId() != "imap" {
			t.Fatalf("got %v, %v", first, err)
		}
		cancel()
		if err := <-s.storage.gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the server's context ended with %v", err)
		}
		if _, err := watch.Recv(); fault.Code(err) != codes.Canceled {
			t.Errorf("after cancel: %v", err)
		}
		upload, err := client.Append(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		chunk := make([]byte, 64<<10)
		for range 50 {
			copy(chunk, bytes.Repeat([]byte{'x'}, len(chunk)))
			if err := upload.Send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: chunk}}); err != nil {
				t.Fatal(err)
			}
			clear(chunk) // the sender may use its buffer again
		}
		if _, err := upload.CloseAndRecv(); fault.Text(err) != "3276800 octets" || !fault.Is(err, rpcv1.Reason_REASON_OVER_QUOTA) {
			t.Errorf("append: %v", err)
		}
	})
}

func TestDeadlineEndsCall(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *setup) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		req := &quotav1.CheckRequest{AccountId: "slow"}
		go func() {
			_, err := quotav1.NewQuotaServiceClient(s.connect(t, "smtp")).Check(ctx, req)
			done <- err
		}()
		<-s.quota.began
		cancel()
		if err := <-done; fault.Code(err) != codes.Canceled {
			t.Errorf("got %v", err)
		}
		req.AccountId = "used again"
	})
}

func TestInprocRequestMayBeReusedAfterCancel(t *testing.T) {
	in := NewInproc(slog.New(slog.DiscardHandler), nil)
	quotav1.RegisterQuotaServiceServer(in, &quota{})
	client := quotav1.NewQuotaServiceClient(in.Client("smtp"))
	req := &quotav1.CheckRequest{AccountId: "a"}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 1000 { // the race detector watches
		ctx, cancel = context.WithCancel(t.Context())
		go cancel()
		if _, err := client.Check(ctx, req); err != nil && fault.Code(err) != codes.Canceled {
			t.Fatalf("call %d: %v", i, err)
		}
		req.Bytes = int64(i)
	}
	cancel()
	if _, err := client.Check(ctx, req); fault.Code(err) != codes.Canceled {
		t.Errorf("a call began in a context that had ended: %v", err)
	}
	if _, err := storagev1.NewStorageServiceClient(in.Client("imap")).Watch(ctx); fault.Code(err) != codes.Canceled {
		t.Errorf("a stream began in a context that had ended: %v", err)
	}
}

// A server may have refused a stream before the client has sent its request.
func TestEarlyRefusalIsNotLost(t *testing.T) {
	in := NewInproc(slog.New(slog.DiscardHandler), nil)
	quotav1.RegisterQuotaAdminServiceServer(in, &quota{})
	client := quotav1.NewQuotaAdminServiceClient(in.Client("smtp"))
	for i := range 2000 {
		stream, err := client.Reconcile(t.Context(), &quotav1.ReconcileRequest{})
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		if _, err := stream.Recv(); !fault.Is(err, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestUnknownMethodsAreRefused(t *testing.T) {
	for _, method := range []string{"/yubin.quota.v1.Nothing/Check", "/yubin.quota.v1.QuotaService/Nothing", "/yubin.quota.v1.Usage/x", "", "/", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"} {
		if authorise("admin", method) == nil {
			t.Errorf("%q was allowed", method)
		}
	}
	if authorise("", "/yubin.quota.v1.QuotaService/Check") == nil {
		t.Error("a caller without a name was allowed")
	}
}

func TestHealthAnswersEveryone(t *testing.T) {
	ca := newAuthority(t)
	tls, err := tlsconf.MutualServer(issue(t, ca, "quota"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	checks := health.NewChecks()
	srv := NewServer(ServerOptions{Log: slog.New(slog.DiscardHandler), TLS: tls, Health: checks})
	quotav1.RegisterQuotaServiceServer(srv, &quota{})
	conn := dial(t, serve(t, srv), issue(t, ca, "anyone"), "quota")
	check := func() healthpb.HealthCheckResponse_ServingStatus {
		resp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetStatus()
	}
	if check() != healthpb.HealthCheckResponse_SERVING {
		t.Error("not serving")
	}
	if _, err := quotav1.NewQuotaServiceClient(conn).Check(t.Context(), &quotav1.CheckRequest{}); fault.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
}

func TestStoppingServerEndsLongStreams(t *testing.T) {
	ca := newAuthority(t)
	tls, err := tlsconf.MutualServer(issue(t, ca, "storage"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(ServerOptions{Log: slog.New(slog.DiscardHandler), TLS: tls})
	storagev1.RegisterStorageServiceServer(srv, &storage{gone: make(chan error, 1)})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, srv) }()
	conn := dial(t, l.Addr().String(), issue(t, ca, "imap"), "storage")
	watch, err := storagev1.NewStorageServiceClient(conn).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	serving, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := serving.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := watch.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the watch ended with %v", err)
	}
	if _, err := serving.Recv(); fault.Code(err) != codes.Canceled {
		t.Errorf("the health watch ended with %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDrainingServerIsLeft(t *testing.T) {
	ca := newAuthority(t)
	tls, err := tlsconf.MutualServer(issue(t, ca, "quota"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	checks := health.NewChecks()
	checks.StartDraining()
	srv := NewServer(ServerOptions{Log: slog.New(slog.DiscardHandler), TLS: tls, Health: checks})
	quotav1.RegisterQuotaServiceServer(srv, &quota{})
	client := quotav1.NewQuotaServiceClient(dial(t, serve(t, srv), issue(t, ca, "smtp"), "quota"))
	if _, err := client.Check(t.Context(), &quotav1.CheckRequest{}); !Transient(err) {
		t.Errorf("a draining server took a call: %v", err)
	}
}

func TestDialVerifiesServer(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	tls, err := tlsconf.MutualServer(issue(t, ca, "quota"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(ServerOptions{Log: slog.New(slog.DiscardHandler), TLS: tls})
	quotav1.RegisterQuotaServiceServer(srv, &quota{})
	addr := serve(t, srv)
	for name, conn := range map[string]*grpc.ClientConn{
		"another service":    dial(t, addr, issue(t, ca, "smtp"), "storage"),
		"another authority":  dial(t, addr, issue(t, other, "smtp"), "quota"),
		"client not trusted": dial(t, addr, mixed(issue(t, other, "smtp"), issue(t, ca, "smtp")), "quota"),
	} {
		if _, err := quotav1.NewQuotaServiceClient(conn).Check(t.Context(), &quotav1.CheckRequest{}); fault.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Dial(addr, DialOptions{}); !errors.Is(err, ErrNoTLS) {
		t.Errorf("without TLS: %v", err)
	}
}

// mixed trusts one authority and shows a certificate of another.
func mixed(shows, trusts tlsconf.Files) tlsconf.Files {
	shows.CA = trusts.CA
	return shows
}

func TestNoIdentityWithoutTLS(t *testing.T) {
	if got := certificateCaller(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
	if got := inprocCaller(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
	if got := Caller(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
}

// gathered are the values of counters, and the counts of histograms, by series.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			name, value := f.GetName(), m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				name, value = name+"_count", float64(h.GetSampleCount())
			}
			out[name+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *setup) {
		client := quotav1.NewQuotaServiceClient(s.connect(t, "smtp"))
		if _, err := client.Check(t.Context(), &quotav1.CheckRequest{AccountId: "a"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.Check(t.Context(), &quotav1.CheckRequest{AccountId: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := quotav1.NewQuotaServiceClient(s.connect(t, "pop3")).Reserve(t.Context(), &quotav1.ReserveRequest{}); err == nil {
			t.Fatal("pop3 may reserve")
		}
		of := func(method string) string {
			return `grpc_method="` + method + `",grpc_service="yubin.quota.v1.QuotaService",grpc_type="unary"}`
		}
		for series, want := range map[string]float64{
			`grpc_server_started_total{` + of("Check"):                                3,
			`grpc_server_msg_received_total{` + of("Check"):                           3,
			`grpc_server_msg_sent_total{` + of("Check"):                               3,
			`grpc_server_handling_seconds_count{` + of("Check"):                       3,
			`grpc_server_handled_total{grpc_code="OK",` + of("Check"):                 3,
			`grpc_server_started_total{` + of("Reserve"):                              1,
			`grpc_server_msg_sent_total{` + of("Reserve"):                             0,
			`grpc_server_handled_total{grpc_code="PermissionDenied",` + of("Reserve"): 1,
		} {
			if got, ok := gathered(t, s.reg)[series]; !ok || got != want {
				t.Errorf("%s is %v", series, got)
			}
		}
	})
}

func TestTransient(t *testing.T) {
	for err, want := range map[error]bool{
		nil:              false,
		io.EOF:           false,
		context.Canceled: false,
		fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "x"):       true,
		fault.New(codes.Aborted, 0, "x"):                                         true,
		fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_OVER_QUOTA, "x"):  false,
		fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_UNSPECIFIED, "x"): true,
	} {
		if Transient(err) != want {
			t.Errorf("Transient(%v) != %v", err, want)
		}
	}
}

func TestLost(t *testing.T) {
	for err, want := range map[error]bool{
		nil:    false,
		io.EOF: false,
		fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "x"): false,
		status.Error(codes.Unavailable, "connection reset"):                true,
		status.Error(codes.Canceled, "x"):                                  false,
	} {
		if Lost(err) != want {
			t.Errorf("Lost(%v) != %v", err, want)
		}
	}
}

func TestDefaultDeadline(t *testing.T) {
	ctx, cancel := withTimeout(t.Context(), 0)
	defer cancel()
	if at, ok := ctx.Deadline(); !ok || time.Until(at) > DefaultTimeout {
		t.Errorf("deadline %v, %v", at, ok)
	}
	own, cancelOwn := context.WithTimeout(t.Context(), time.Hour)
	defer cancelOwn()
	kept, cancelKept := withTimeout(own, time.Second)
	defer cancelKept()
	if at, _ := kept.Deadline(); time.Until(at) < time.Minute {
		t.Error("the caller's deadline was replaced")
	}
}
