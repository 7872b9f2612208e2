package session

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// people is a directory in which everybody but nobody has an address at example.test and may log in.
type people struct {
	directory
}

func person(name string) *directoryv1.Account {
	return &directoryv1.Account{AccountId: name, Address: name + "@example.test"}
}

func (people) Authenticate(stream directoryv1.DirectoryService_AuthenticateServer) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	name := strings.Split(string(req.GetStart().GetInitialResponse()), "\x00")[1]
	success := &directoryv1.AuthenticateResponse_Success{Account: person(name)}
	return stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Success_{Success: success}})
}

func (people) GetAccount(_ context.Context, r *directoryv1.GetAccountRequest) (*directoryv1.GetAccountResponse, error) {
	name, ok := strings.CutSuffix(r.GetAddress(), "@example.test")
	if r.GetAccountId() != "" {
		name, ok = r.GetAccountId(), true
	}
	if !ok || name == "nobody" {
		return nil, fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "no such account")
	}
	return &directoryv1.GetAccountResponse{Account: person(name)}, nil
}

// limits is a quota service in which every account has used 10 KiB and 3 messages.
type limits struct {
	quotav1.UnimplementedQuotaServiceServer
	quotav1.UnimplementedQuotaAdminServiceServer
	mu  sync.Mutex
	set map[string]*quotav1.Limit
}

func (l *limits) SetLimit(_ context.Context, r *quotav1.SetLimitRequest) (*quotav1.SetLimitResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set[r.GetScope().GetAccountId()] = r.GetLimit()
	return &quotav1.SetLimitResponse{}, nil
}

func (l *limits) GetUsage(_ context.Context, r *quotav1.GetUsageRequest) (*quotav1.GetUsageResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := &quotav1.Usage{LimitBytes: -1, LimitMessages: -1, UsedBytes: 10 << 10, UsedMessages: 3}
	if limit := l.set[r.GetAccountId()]; limit != nil && limit.Bytes != nil {
		u.LimitBytes = limit.GetBytes()
	}
	if limit := l.set[r.GetAccountId()]; limit != nil && limit.Messages != nil {
		u.LimitMessages = limit.GetMessages()
	}
	return &quotav1.GetUsageResponse{Usage: u}, nil
}

// TestSetQuota: RFC 9208 section 4.1.3. Only operators may.
func TestSetQuota(t *testing.T) {
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	l := &limits{set: map[string]*quotav1.Limit{}}
	quotav1.RegisterQuotaServiceServer(in, l)
	quotav1.RegisterQuotaAdminServiceServer(in, l)
	directoryv1.RegisterDirectoryServiceServer(in, people{})
	g := newGateway(t, func(o *Options) {
		o.Directory, o.Operators = directoryv1.NewDirectoryServiceClient(in.Client("imap")), []string{"root@example.test"}
		o.Quota, o.QuotaAdmin = quotav1.NewQuotaServiceClient(in.Client("imap")), quotav1.NewQuotaAdminServiceClient(in.Client("imap"))
	})
	root, alice := g.connect(), g.connect()
	if _, tagged := root.do("LOGIN root x"); !strings.Contains(tagged, " QUOTASET ") {
		t.Errorf("an operator is told %q", tagged)
	}
	if _, tagged := alice.do("LOGIN alice x"); strings.Contains(tagged, "QUOTASET") {
		t.Errorf("somebody else is told %q", tagged)
	}
	root.expect(`SETQUOTA "User quota" (STORAGE 512)`, `* QUOTA "User quota" (STORAGE 10 512)`, "OK SETQUOTA completed")
	root.expect(`SETQUOTA alice@example.test (STORAGE 1024 MESSAGE 7)`, `* QUOTA "alice@example.test" (STORAGE 10 1024 MESSAGE 3 7)`, "OK")
	root.expect(`GETQUOTA alice@example.test`, `* QUOTA "alice@example.test" (STORAGE 10 1024 MESSAGE 3 7)`, "OK")
	alice.expect(`GETQUOTA "User quota"`, `* QUOTA "User quota" (STORAGE 10 1024 MESSAGE 3 7)`, "OK")
	// What is not named any more is not limited any more.
	root.expect(`SETQUOTA alice@example.test (MESSAGE 0)`, `* QUOTA "alice@example.test" (MESSAGE 3 0)`, "OK")
	root.expect(`SETQUOTA alice@example.test ()`, "OK SETQUOTA completed")
	root.expect(`GETQUOTA alice@example.test`, "NO [NONEXISTENT]")
	for _, bad := range []struct{ arguments, want string }{
		{`nobody@elsewhere.test (STORAGE 1)`, "NO [NONEXISTENT]"},
		{`nothing (STORAGE 1)`, "NO [NONEXISTENT]"},
		{`alice@example.test (MAILBOX 1)`, "NO [CANNOT]"},
		{`alice@example.test (STORAGE 9223372036854775807)`, "NO [LIMIT]"},
		{`alice@example.test (MESSAGE 9223372036854775807)`, "NO [LIMIT]"},
		{`alice@example.test (STORAGE)`, "BAD "},
		{`alice@example.test`, "BAD "},
	} {
		root.expect("SETQUOTA "+bad.arguments, bad.want)
	}
	alice.expect(`SETQUOTA alice@example.test (STORAGE 1)`, "NO [NOPERM]")
	alice.expect(`SETQUOTA "User quota" (STORAGE 1)`, "NO [NOPERM]")
	alice.expect(`GETQUOTA root@example.test`, "NO [NONEXISTENT]")
}
