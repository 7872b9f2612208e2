package server

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

var errDown = fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "down")

// directory knows alice, bob, carol (disabled) and the alias team (alice and bob), all in example.test.
type directory struct {
	directoryv1.UnimplementedDirectoryServiceServer
	down bool
}

func (d *directory) Resolve(_ context.Context, req *directoryv1.ResolveRequest) (*directoryv1.ResolveResponse, error) {
	if d.down {
		return nil, errDown
	}
	addr, err := address.Parse(req.GetAddress())
	if err != nil || addr.Local == "malformed" {
		return nil, fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "invalid address")
	}
	user, domain := addr.Local, addr.Domain
	ok := func(users ...string) (*directoryv1.ResolveResponse, error) {
		res := &directoryv1.ResolveResponse{Status: directoryv1.ResolveResponse_STATUS_OK}
		for _, u := range users {
			res.Recipients = append(res.Recipients, &directoryv1.Recipient{AccountId: u, Address: u + "@example.test"})
		}
		return res, nil
	}
	switch {
	case domain != "example.test":
		return &directoryv1.ResolveResponse{Status: directoryv1.ResolveResponse_STATUS_FOREIGN}, nil
	case user == "alice", user == "bob":
		return ok(user)
	case user == "team":
		return ok("alice", "bob")
	case user == "carol":
		return &directoryv1.ResolveResponse{Status: directoryv1.ResolveResponse_STATUS_DISABLED}, nil
	default:
		return &directoryv1.ResolveResponse{Status: directoryv1.ResolveResponse_STATUS_UNKNOWN}, nil
	}
}

func (d *directory) AuthorizeSender(_ context.Context, req *directoryv1.AuthorizeSenderRequest) (*directoryv1.AuthorizeSenderResponse, error) {
	return &directoryv1.AuthorizeSenderResponse{Allowed: req.GetAddress() == req.GetAccountId()+"@example.test"}, nil
}

// Authenticate takes PLAIN with the password "secret".
func (d *directory) Authenticate(stream directoryv1.DirectoryService_AuthenticateServer) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	response := req.GetStart().GetInitialResponse()
	if req.GetStart().InitialResponse == nil {
		if err := stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Challenge{}}); err != nil {
			return err
		}
		if req, err = stream.Recv(); err != nil {
			return err
		}
		response = req.GetResponse()
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 || parts[2] != "secret" {
		return fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "no")
	}
	user, _, _ := strings.Cut(parts[1], "@")
	return stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Success_{
		Success: &directoryv1.AuthenticateResponse_Success{Account: &directoryv1.Account{AccountId: user, Address: user + "@example.test"}},
	}})
}

// quota has accounts that are full already.
type quota struct {
	quotav1.UnimplementedQuotaServiceServer
	mu   sync.Mutex
	down bool
	full map[string]bool
	size int64 // the last asked for
}

// set changes what it answers.
func (q *quota) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func (q *quota) Check(_ context.Context, req *quotav1.CheckRequest) (*quotav1.CheckResponse, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down {
		return nil, errDown
	}
	q.size = req.GetBytes()
	return &quotav1.CheckResponse{Fits: !q.full[req.GetAccountId()]}, nil
}

// storage keeps messages in memory. It can lose answers, and have accounts that are full only at the end of DATA.
type storage struct {
	storagev1.UnimplementedStorageServiceServer
	mu         sync.Mutex
	full, gone map[string]bool
	failBefore int // attempts that fail before anything is stored
	failAfter  int // attempts whose answer is lost
	done       map[string]*storagev1.DeliverResponse
	mails      map[string][]string
	notices    map[string][]string
	aborted    int
}

func newStorage() *storage {
	return &storage{
		full: map[string]bool{}, gone: map[string]bool{}, done: map[string]*storagev1.DeliverResponse{},
		mails: map[string][]string{}, notices: map[string][]string{},
	}
}

func (s *storage) Deliver(stream storagev1.StorageService_DeliverServer) error {
	var header *storagev1.DeliverRequest_Header
	var body strings.Builder
	for {
		req, err := stream.Recv()
		if err != nil {
			s.mu.Lock()
			s.aborted++
			s.mu.Unlock()
			if errors.Is(err, io.EOF) {
				return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "no commit")
			}
			return err
		}
		switch m := req.GetMessage().(type) {
		case *storagev1.DeliverRequest_Header_:
			header = m.Header
		case *storagev1.DeliverRequest_Chunk:
			body.Write(m.Chunk)
		case *storagev1.DeliverRequest_Commit:
			res, err := s.commit(header, body.String(), m.Commit.GetSize())
			if err != nil {
				return err
			}
			return stream.SendAndClose(res)
		}
	}
}

func (s *storage) commit(header *storagev1.DeliverRequest_Header, body string, size uint64) (*storagev1.DeliverResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uint64(len(body)) != size {
		return nil, fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "wrong size")
	}
	if s.failBefore > 0 {
		s.failBefore--
		return nil, errDown
	}
	res, again := s.done[header.GetDeliveryId()]
	if !again {
		res = &storagev1.DeliverResponse{}
		refused := false
		for _, r := range header.GetRecipients() {
			refused = refused || s.full[r.GetAccountId()] || s.gone[r.GetAccountId()]
		}
		for _, r := range header.GetRecipients() {
			status := storagev1.DeliveryStatus_DELIVERY_STATUS_STORED
			switch {
			case s.gone[r.GetAccountId()]:
				status = storagev1.DeliveryStatus_DELIVERY_STATUS_NO_ACCOUNT
			case s.full[r.GetAccountId()]:
				status = storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA
			case refused && header.GetAllOrNone():
				status = storagev1.DeliveryStatus_DELIVERY_STATUS_NOT_STORED
			default:
				s.mails[r.GetAccountId()] = append(s.mails[r.GetAccountId()], string(r.GetPrefix())+body)
			}
			res.Results = append(res.Results, &storagev1.DeliverResponse_Result{AccountId: r.GetAccountId(), Status: status})
		}
		s.done[header.GetDeliveryId()] = res
	}
	if s.failAfter > 0 {
		s.failAfter--
		return nil, errDown
	}
	return res, nil
}

func (s *storage) DeliverNotice(_ context.Context, req *storagev1.DeliverNoticeRequest) (*storagev1.DeliverNoticeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices[req.GetAccountId()] = append(s.notices[req.GetAccountId()], string(req.GetMessage()))
	return &storagev1.DeliverNoticeResponse{}, nil
}

func (s *storage) inbox(account string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails[account]
}
