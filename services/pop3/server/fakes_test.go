package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func down() error {
	return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "down")
}

// directory lets everybody in whose password is "pass word 密", and some are special.
type directory struct {
	directoryv1.UnimplementedDirectoryServiceServer
	policy directoryv1.PopDelete

	mu     sync.Mutex
	starts []*directoryv1.AuthenticateRequest_Start
}

const password = "pass word 密"

func (d *directory) Authenticate(stream grpc.BidiStreamingServer[directoryv1.AuthenticateRequest, directoryv1.AuthenticateResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	d.mu.Lock()
	d.starts = append(d.starts, start)
	d.mu.Unlock()
	response := start.GetInitialResponse()
	ask := func(challenge string) (string, error) {
		if err := stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Challenge{Challenge: []byte(challenge)}}); err != nil {
			return "", err
		}
		next, err := stream.Recv()
		return string(next.GetResponse()), err
	}
	var user, pass string
	switch start.GetMechanism() {
	case "PLAIN":
		text := string(response)
		if response == nil {
			if text, err = ask(""); err != nil {
				return err
			}
		}
		parts := strings.Split(text, "\x00")
		if len(parts) != 3 {
			return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_SASL_MALFORMED, "malformed")
		}
		user, pass = parts[1], parts[2]
	case "LOGIN":
		if user, err = ask("Username:"); err != nil {
			return err
		}
		if pass, err = ask("Password:"); err != nil {
			return err
		}
	}
	switch {
	case user == "throttled":
		return fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_THROTTLED, "throttled")
	case user == "down":
		return down()
	case pass != password:
		return fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "wrong")
	case user == "disabled":
		return fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_ACCOUNT_DISABLED, "disabled")
	}
	return stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Success_{Success: &directoryv1.AuthenticateResponse_Success{
		Account: &directoryv1.Account{AccountId: user, EffectivePopDelete: d.policy},
	}}})
}

func (d *directory) lastStart() *directoryv1.AuthenticateRequest_Start {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.starts[len(d.starts)-1]
}

const (
	mailboxID   = 7
	uidValidity = 4242
	chunkSize   = 10 // small, so that messages come in many
)

// storage has one maildrop that all accounts share.
type storage struct {
	storagev1.UnimplementedStorageServiceServer

	mu       sync.Mutex
	uids     []uint32
	messages map[uint32]string
	popped   map[uint32]bool
	lease    int           // counts leases
	leased   chan error    // gets why the lease's stream ends; nil: nobody has it
	opened   chan string   // gets the previous lease of each that is taken
	freed    chan struct{} // gets a value when a lease has ended
	commits  []*storagev1.CommitMaildropRequest
	// hooks make calls fail; nil: they do not.
	onOpen, onSync, onCommit func() error
	onRead                   func(sent int) error
	fetches, together        int          // calls of Fetch, and messages that it gave whole
	committed                func() error // after the commit: a lost answer
}

func newStorage(messages ...string) *storage {
	s := &storage{messages: map[uint32]string{}, popped: map[uint32]bool{}, freed: make(chan struct{}, 1000), opened: make(chan string, 1000)}
	for i, m := range messages {
		s.add(uint32(i*2+1), m) // odd UIDs: nothing is adjacent
	}
	return s
}

func (s *storage) add(uid uint32, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uids = append(s.uids, uid)
	s.messages[uid] = message
}

func call(hook func() error) error {
	if hook == nil {
		return nil
	}
	return hook()
}

func (s *storage) OpenMaildrop(req *storagev1.OpenMaildropRequest, stream grpc.ServerStreamingServer[storagev1.OpenMaildropResponse]) error {
	s.mu.Lock()
	if err := call(s.onOpen); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.leased != nil {
		s.mu.Unlock()
		return fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_MAILDROP_IN_USE, "in use")
	}
	ends := make(chan error, 1)
	s.leased = ends
	s.lease++
	s.opened <- req.GetPreviousLeaseId()
	first := &storagev1.OpenMaildropResponse{LeaseId: fmt.Sprint(s.lease), Mailbox: &storagev1.Mailbox{MailboxId: mailboxID, UidValidity: uidValidity}}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leased = nil
		s.freed <- struct{}{}
	}()
	if err := stream.Send(first); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
		return stream.Context().Err()
	case err := <-ends:
		return err
	}
}

// current gives the id of the lease.
func (s *storage) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.lease)
}

// endLease ends the stream of the lease.
func (s *storage) endLease(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leased <- why
}

func (s *storage) Sync(req *storagev1.SyncRequest, stream grpc.ServerStreamingServer[storagev1.SyncResponse]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := call(s.onSync); err != nil {
		return err
	}
	if req.GetMailboxId() != mailboxID || req.GetSinceModseq() != 0 || req.GetUidValidity() != uidValidity {
		return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "not what was opened")
	}
	page := &storagev1.SyncResponse{}
	for _, uid := range s.uids {
		page.Changed = append(page.Changed, &storagev1.MessageState{Uid: uid, Size: uint64(len(s.messages[uid])), Popped: s.popped[uid]})
		if len(page.GetChanged()) == 500 {
			if err := stream.Send(page); err != nil {
				return err
			}
			page = &storagev1.SyncResponse{}
		}
	}
	page.Mailbox = &storagev1.Mailbox{MailboxId: mailboxID}
	return stream.Send(page)
}

func headerSize(message string) int {
	if i := strings.Index(message, "\r\n\r\n"); i >= 0 {
		return i + 4
	}
	return len(message)
}

// maxHeader stands for the size from which on Fetch gives no whole header.
const maxHeader = 200

func (s *storage) Fetch(req *storagev1.FetchRequest, stream grpc.ServerStreamingServer[storagev1.FetchResponse]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	answer := &storagev1.FetchResponse{}
	for _, r := range req.GetUids() {
		for uid := r.GetStart(); uid <= r.GetStop(); uid++ {
			message, ok := s.messages[uid]
			if !ok {
				continue
			}
			size := headerSize(message)
			out := &storagev1.Message{State: &storagev1.MessageState{Uid: uid}, HeaderSize: uint64(size)}
			if req.GetHeader() {
				out.Header = []byte(message[:min(size, maxHeader)])
			}
			if uint64(len(message)) <= req.GetWholeBytes() && s.onRead == nil { // a test that looks at Read wants every message from there
				out.Whole = []byte(message)
				s.together++
			}
			answer.Messages = append(answer.Messages, out)
		}
	}
	return stream.Send(answer)
}

func (s *storage) Read(req *storagev1.ReadRequest, stream grpc.ServerStreamingServer[storagev1.ReadResponse]) error {
	s.mu.Lock()
	message, ok := s.messages[req.GetUid()]
	hook := s.onRead
	s.mu.Unlock()
	if !ok {
		return fault.New(codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, "gone")
	}
	sent := 0
	message = message[min(uint64(len(message)), req.GetOffset()):]
	for chunk := range slices.Chunk([]byte(message), chunkSize) {
		if hook != nil {
			if err := hook(sent); err != nil {
				return err
			}
		}
		if err := stream.Send(&storagev1.ReadResponse{Chunk: chunk}); err != nil {
			return err
		}
		sent += len(chunk)
	}
	return nil
}

func (s *storage) CommitMaildrop(_ context.Context, req *storagev1.CommitMaildropRequest) (*storagev1.CommitMaildropResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := call(s.onCommit); err != nil {
		return nil, err
	}
	if s.leased == nil || req.GetLeaseId() != fmt.Sprint(s.lease) {
		return nil, fault.New(codes.Aborted, rpcv1.Reason_REASON_LEASE_LOST, "lost")
	}
	s.commits = append(s.commits, req)
	for _, r := range req.GetUids() {
		for uid := r.GetStart(); uid <= r.GetStop(); uid++ {
			delete(s.messages, uid)
			s.uids = slices.DeleteFunc(s.uids, func(u uint32) bool { return u == uid })
		}
	}
	return &storagev1.CommitMaildropResponse{}, call(s.committed)
}

// left gives the UIDs that are still there.
func (s *storage) left() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.uids)
}
