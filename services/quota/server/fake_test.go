package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// directory has the accounts alice, bob and carol of example.test until it is told otherwise.
type directory struct {
	directoryv1.UnimplementedDirectoryServiceServer
	directoryv1.UnimplementedDirectoryAdminServiceServer
	mu       sync.Mutex
	accounts map[string]*directoryv1.Account
	down     bool
}

func newDirectory() *directory {
	d := &directory{accounts: map[string]*directoryv1.Account{}}
	for _, name := range []string{"alice", "bob", "carol"} {
		d.accounts[name] = &directoryv1.Account{AccountId: name, Address: name + "@example.test", Domain: "example.test", DisplayName: "花子 " + name}
	}
	return d
}

func (d *directory) setDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

func (d *directory) GetAccount(_ context.Context, req *directoryv1.GetAccountRequest) (*directoryv1.GetAccountResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "down")
	}
	a, ok := d.accounts[req.GetAccountId()]
	if !ok {
		return nil, fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "no such account")
	}
	return &directoryv1.GetAccountResponse{Account: a}, nil
}

func (d *directory) ListAccounts(_ context.Context, req *directoryv1.ListAccountsRequest) (*directoryv1.ListAccountsResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	resp := &directoryv1.ListAccountsResponse{}
	for _, id := range slices.Sorted(maps.Keys(d.accounts)) {
		if id > req.GetPageToken() && len(resp.GetAccounts()) == 0 { // pages of one
			resp.Accounts = append(resp.Accounts, d.accounts[id])
			resp.NextPageToken = id
		}
	}
	return resp, nil
}

// storage keeps notices once by delivery id, and what SumUsage is to answer.
type storage struct {
	storagev1.UnimplementedStorageServiceServer
	storagev1.UnimplementedStorageAdminServiceServer
	mu      sync.Mutex
	notices map[string]*storagev1.DeliverNoticeRequest
	order   []string
	// answer is the error given after a notice was stored: a lost answer.
	answer func() error
	sums   map[string]func(applied int64) *storagev1.SumUsageResponse
}

func (s *storage) DeliverNotice(_ context.Context, req *storagev1.DeliverNoticeRequest) (*storagev1.DeliverNoticeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, seen := s.notices[req.GetDeliveryId()]; !seen {
		s.notices[req.GetDeliveryId()] = req
		s.order = append(s.order, req.GetDeliveryId())
	}
	if s.answer != nil {
		return nil, s.answer()
	}
	return &storagev1.DeliverNoticeResponse{Uid: 1}, nil
}

func (s *storage) SumUsage(_ context.Context, req *storagev1.SumUsageRequest) (*storagev1.SumUsageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sum, ok := s.sums[req.GetAccountId()]; ok {
		return sum(req.GetAppliedSequence()), nil
	}
	return &storagev1.SumUsageResponse{LastSequence: req.GetAppliedSequence()}, nil
}

// subjects of the notices, in order.
func (s *storage) subjects() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.order {
		_, rest, _ := strings.Cut(string(s.notices[id].GetMessage()), "\r\nSubject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		out = append(out, subject)
	}
	return out
}

// world is a quota service between a directory and a storage.
type world struct {
	t         *testing.T
	dir       string
	directory *directory
	storage   *storage
	registry  *prometheus.Registry
	srv       *Server
	in        *rpc.Inproc
	close     func()
}

func newWorld(t *testing.T, args ...string) *world {
	w := &world{t: t, dir: t.TempDir(), directory: newDirectory(),
		storage: &storage{notices: map[string]*storagev1.DeliverNoticeRequest{}, sums: map[string]func(int64) *storagev1.SumUsageResponse{}}}
	w.start(args...)
	t.Cleanup(func() { w.close() })
	return w
}

// replica makes another process beside the same directory and storage.
func (w *world) replica(args ...string) *world {
	other := &world{t: w.t, dir: w.dir, directory: w.directory, storage: w.storage}
	other.start(args...)
	w.t.Cleanup(func() { other.close() })
	return other
}

// start makes a new process on the same data: no component runs but the store.
func (w *world) start(args ...string) {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	w.registry = prometheus.NewPedanticRegistry()
	w.in = rpc.NewInproc(log, nil)
	storagev1.RegisterStorageServiceServer(w.in, w.storage)
	storagev1.RegisterStorageAdminServiceServer(w.in, w.storage)
	directoryv1.RegisterDirectoryServiceServer(w.in, w.directory)
	directoryv1.RegisterDirectoryAdminServiceServer(w.in, w.directory)
	cfg := Config{Dir: w.dir}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := errors.Join(append(cfg.Validate(), fs.Parse(args))...); err != nil {
		w.t.Fatal(err)
	}
	own := w.in.Client("quota")
	srv, err := New(w.t.Context(), cfg, Deps{
		Log:            log,
		Registerer:     w.registry,
		Directory:      directoryv1.NewDirectoryServiceClient(own),
		DirectoryAdmin: directoryv1.NewDirectoryAdminServiceClient(own),
		Storage:        storagev1.NewStorageServiceClient(own),
		StorageAdmin:   storagev1.NewStorageAdminServiceClient(own),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	srv.Register(w.in)
	w.srv = srv
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- lifecycle.Run(ctx, log, srv.Components()[0]) }()
	w.close = sync.OnceFunc(func() {
		stop()
		if err := <-stopped; err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) quota(caller string) quotav1.QuotaServiceClient {
	return quotav1.NewQuotaServiceClient(w.in.Client(caller))
}

func (w *world) admin() quotav1.QuotaAdminServiceClient {
	return quotav1.NewQuotaAdminServiceClient(w.in.Client("admin"))
}

func (w *world) settle(events ...*quotav1.Event) map[string]int64 {
	w.t.Helper()
	resp, err := w.quota("storage").Settle(w.t.Context(), &quotav1.SettleRequest{Events: events})
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.GetApplied()
}

func (w *world) usage(account string) *quotav1.Usage {
	w.t.Helper()
	resp, err := w.quota("imap").GetUsage(w.t.Context(), &quotav1.GetUsageRequest{AccountId: account})
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.GetUsage()
}

func (w *world) setLimit(account string, bytes int64) {
	w.t.Helper()
	_, err := w.admin().SetLimit(w.t.Context(), &quotav1.SetLimitRequest{
		Scope: &quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: account}},
		Limit: &quotav1.Limit{Bytes: &bytes},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func event(account string, sequence, bytes, messages int64) *quotav1.Event {
	return &quotav1.Event{AccountId: account, Sequence: sequence, DeltaBytes: bytes, DeltaMessages: messages}
}

func wantReason(t *testing.T, err error, want rpcv1.Reason) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("error %v (%v), want %v", err, fault.Reason(err), want)
	}
}
