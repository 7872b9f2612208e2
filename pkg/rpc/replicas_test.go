package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// answering is a replica that answers as it is told.
type answering struct {
	quotav1.UnimplementedQuotaServiceServer
	calls  *atomic.Int32 // of all replicas together
	met    atomic.Bool
	answer func(ctx context.Context, nth int32) error
}

func (a *answering) Check(ctx context.Context, r *quotav1.CheckRequest) (*quotav1.CheckResponse, error) {
	if r.GetAccountId() == "hello" {
		a.met.Store(true)
		return &quotav1.CheckResponse{}, nil
	}
	if err := a.answer(ctx, a.calls.Add(1)); err != nil {
		return nil, err
	}
	return &quotav1.CheckResponse{Fits: true}, nil
}

// replicas starts some, and gives a client that is connected to all of them.
func replicas(t *testing.T, n int, answer func(ctx context.Context, self *Server, nth int32) error) (quotav1.QuotaServiceClient, *atomic.Int32) {
	t.Helper()
	ca, calls := newAuthority(t), new(atomic.Int32)
	tls, err := tlsconf.MutualServer(issue(t, ca, "quota"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	var all []*answering
	for range n {
		srv := NewServer(ServerOptions{Log: slog.New(slog.DiscardHandler), TLS: tls})
		a := &answering{calls: calls, answer: func(ctx context.Context, nth int32) error { return answer(ctx, srv, nth) }}
		all = append(all, a)
		quotav1.RegisterQuotaServiceServer(srv, a)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(srv.Stop)
		addrs = append(addrs, l.Addr().String())
	}
	client := quotav1.NewQuotaServiceClient(dial(t, strings.Join(addrs, ","), issue(t, ca, "smtp"), "quota"))
	for slices.ContainsFunc(all, func(a *answering) bool { return !a.met.Load() }) {
		if _, err := client.Check(t.Context(), &quotav1.CheckRequest{AccountId: "hello"}); err != nil {
			t.Fatal(err)
		}
	}
	return client, calls
}

func TestLostCallIsMadeAgainOnAnotherReplica(t *testing.T) {
	client, calls := replicas(t, 2, func(ctx context.Context, self *Server, nth int32) error {
		if nth == 1 {
			go self.Stop() // cuts its connections, as the end of the process does
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	for range 10 {
		if r, err := client.Check(t.Context(), &quotav1.CheckRequest{}); err != nil || !r.GetFits() {
			t.Fatalf("got %v, %v", r, err)
		}
	}
	if n := calls.Load(); n < 11 {
		t.Errorf("10 calls, of which one was lost, took %d attempts", n)
	}
}

func TestHangingReplicaIsHelpedOutByAnother(t *testing.T) {
	hung := make(chan struct{})
	client, calls := replicas(t, 2, func(ctx context.Context, _ *Server, nth int32) error {
		if nth == 1 {
			<-ctx.Done()
			close(hung)
			return ctx.Err()
		}
		return nil
	})
	if r, err := client.Check(t.Context(), &quotav1.CheckRequest{}); err != nil || !r.GetFits() {
		t.Fatalf("got %v, %v", r, err)
	}
	<-hung // it was told that its answer is no longer waited for
	if n := calls.Load(); n != 2 {
		t.Errorf("there were %d attempts", n)
	}
}

// listing hangs in the first call of all, and answers the others.
type listing struct {
	storagev1.UnimplementedStorageServiceServer
	calls *atomic.Int32
	met   atomic.Bool
	hung  chan struct{}
}

func (l *listing) Sync(r *storagev1.SyncRequest, stream grpc.ServerStreamingServer[storagev1.SyncResponse]) error {
	if r.GetAccountId() == "hello" {
		l.met.Store(true)
		return nil
	}
	if l.calls.Add(1) == 1 {
		<-stream.Context().Done()
		close(l.hung)
		return stream.Context().Err()
	}
	for uid := range uint32(3) {
		if err := stream.Send(&storagev1.SyncResponse{Changed: []*storagev1.MessageState{{Uid: uid + 1}}}); err != nil {
			return err
		}
	}
	return nil
}

func TestHangingStreamIsHelpedOutByAnother(t *testing.T) {
	ca, calls, hung := newAuthority(t), new(atomic.Int32), make(chan struct{})
	tls, err := tlsconf.MutualServer(issue(t, ca, "storage"), tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	var all []*listing
	for range 2 {
		srv := NewServer(ServerOptions{Log: slog.New(slog.DiscardHandler), TLS: tls})
		l := &listing{calls: calls, hung: hung}
		all = append(all, l)
		storagev1.RegisterStorageServiceServer(srv, l)
		addrs = append(addrs, serve(t, srv))
	}
	client := storagev1.NewStorageServiceClient(dial(t, strings.Join(addrs, ","), issue(t, ca, "imap"), "storage"))
	for slices.ContainsFunc(all, func(l *listing) bool { return !l.met.Load() }) { // an attempt elsewhere needs a connection there
		stream, err := client.Sync(t.Context(), &storagev1.SyncRequest{AccountId: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		stream, err := client.Sync(t.Context(), &storagev1.SyncRequest{AccountId: "a"})
		if err != nil {
			t.Fatal(err)
		}
		var uids []uint32
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			uids = append(uids, answer.GetChanged()[0].GetUid())
		}
		if !slices.Equal(uids, []uint32{1, 2, 3}) {
			t.Errorf("round %d: got %v", round, uids)
		}
	}
	<-hung // it was told that its answer is no longer waited for
}

func TestSingleReplicaThatIsSlowIsAskedOnce(t *testing.T) {
	client, calls := replicas(t, 1, func(ctx context.Context, _ *Server, _ int32) error {
		select {
		case <-time.After(2 * hedgeAfter): // longer than the other test's hanging replica waits for help
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if _, err := client.Check(t.Context(), &quotav1.CheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("there were %d attempts", n)
	}
}

func TestRefusalIsFinal(t *testing.T) {
	client, calls := replicas(t, 2, func(context.Context, *Server, int32) error {
		return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the disk is full")
	})
	if _, err := client.Check(t.Context(), &quotav1.CheckRequest{}); fault.Text(err) != "the disk is full" {
		t.Errorf("got %v", err)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("there were %d attempts", n)
	}
}

func TestSecondAttemptsAreFew(t *testing.T) {
	h := newHedger(hedgeAfter, nil)
	n := 0
	for h.spend() {
		n++
	}
	if n != hedgeTokens/hedgeCost {
		t.Errorf("%d at once", n)
	}
	for range hedgeCost - 1 {
		h.earn()
		if h.spend() {
			t.Fatal("too early")
		}
	}
	if h.earn(); !h.spend() {
		t.Error("one call in ten may be made twice")
	}
}

// A second MOVE beside the first one answers that nothing was moved: COPYUID would be lost.
func TestWhatTellsWhatItHasDoneIsAskedOfOneReplica(t *testing.T) {
	for method, want := range map[string]int32{"Move": 1, "Expunge": 2, "GetMailbox": 2, "Copy": 1} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int32
			slow := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				if calls.Add(1) == 1 {
					time.Sleep(2 * hedgeAfter)
				}
				return ctx.Err()
			}
			var answer storagev1.MoveResponse
			err := newHedger(hedgeAfter, nil).unary(t.Context(), "/yubin.storage.v1.StorageService/"+method, nil, &answer, nil, slow)
			if n := calls.Load(); err != nil || n != want {
				t.Errorf("%s: %d calls were made, want %d; %v", method, n, want, err)
			}
		})
	}
}

// fakeConn stands for a connection; only its identity matters.
type fakeConn struct {
	balancer.SubConn
	id int
}

func TestCallsGoToTheLeastBusyReplica(t *testing.T) {
	conns := map[balancer.SubConn]base.SubConnInfo{}
	for id := range 3 {
		conns[&fakeConn{id: id}] = base.SubConnInfo{}
	}
	p := pickers{}.Build(base.PickerBuildInfo{ReadySCs: conns})
	open := map[balancer.SubConn]int{}
	const check, watch = "/yubin.quota.v1.QuotaService/Check", "/yubin.storage.v1.StorageService/Watch"
	pick := func(ctx context.Context, method string) (balancer.PickResult, error) {
		return p.Pick(balancer.PickInfo{FullMethodName: method, Ctx: ctx})
	}
	var hanging balancer.PickResult
	for range 30 {
		r, err := pick(t.Context(), check)
		if err != nil {
			t.Fatal(err)
		}
		open[r.SubConn]++
		hanging = r
		if w, err := pick(t.Context(), watch); err != nil || w.Done != nil {
			t.Fatalf("a stream that lasts counts: %v", err)
		}
	}
	for _, n := range open {
		if n != 10 {
			t.Errorf("calls are spread as %v", open)
		}
	}
	hanging.Done(balancer.DoneInfo{})
	if r, _ := pick(t.Context(), check); r.SubConn != hanging.SubConn {
		t.Error("the least busy replica was not chosen")
	}
	c := &call{}
	met := map[balancer.SubConn]bool{}
	for range 3 {
		r, err := pick(withAttempt(t.Context(), c, false), check)
		if err != nil || met[r.SubConn] {
			t.Fatalf("a call met a replica twice: %v", err)
		}
		met[r.SubConn] = true
	}
	if _, err := pick(withAttempt(t.Context(), c, false), check); err != nil {
		t.Errorf("a retry has no replica: %v", err)
	}
	if _, err := pick(withAttempt(t.Context(), c, true), check); fault.Code(err) != codes.Unavailable {
		t.Errorf("a second attempt met a replica again: %v", err)
	}
}

func TestTargets(t *testing.T) {
	for target, want := range map[string]string{
		"localhost:7103":         "localhost:7103",
		"dns:///storage:7103":    "dns:///storage:7103",
		"a:1,b:2":                "replicas:///replicas",
		"[::1]:7103, 10.0.0.1:1": "replicas:///replicas",
	} {
		if got, _, err := parseTarget(target); err != nil || got != want {
			t.Errorf("%s: %q, %v", target, got, err)
		}
	}
	for _, target := range []string{"a:1,", "a,b:2", ","} {
		if _, _, err := parseTarget(target); err == nil {
			t.Errorf("%q was taken", target)
		}
	}
}
