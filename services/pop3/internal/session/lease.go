package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	// resumeTime is how long a session whose replica of storage is lost looks for another. Storage holds its lease a little longer.
	resumeTime = 30 * time.Second
	// resumePause is between two attempts.
	resumePause = 200 * time.Millisecond
)

// leaseStream is open as long as the lease is held.
type leaseStream = grpc.ServerStreamingClient[storagev1.OpenMaildropResponse]

// lease takes the lease of an account's maildrop.
func lease(ctx context.Context, s *Session, accountID string) (*maildrop, error) {
	ctx, release := context.WithCancel(ctx)
	stream, first, err := s.openLease(ctx, accountID, "")
	if err != nil {
		release()
		return nil, err
	}
	d := &maildrop{
		accountID:   accountID,
		leaseID:     first.GetLeaseId(),
		mailboxID:   first.GetMailbox().GetMailboxId(),
		uidValidity: first.GetMailbox().GetUidValidity(),
		release:     release,
		lost:        make(chan struct{}),
	}
	go func() {
		defer close(d.lost)
		if err := d.hold(ctx, s, stream); ctx.Err() == nil {
			s.log.DebugContext(ctx, "maildrop lost", "error", err)
			s.leave(textLeaseLost)
		}
	}()
	return d, nil
}

// openLease opens the stream of a lease, which ends with ctx.
func (s *Session) openLease(ctx context.Context, accountID, previous string) (leaseStream, *storagev1.OpenMaildropResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	silent := time.AfterFunc(s.server.config.CallTimeout, cancel)
	stream, err := s.server.clients.Storage.OpenMaildrop(ctx, &storagev1.OpenMaildropRequest{AccountId: accountID, PreviousLeaseId: previous})
	var first *storagev1.OpenMaildropResponse
	if err == nil {
		first, err = stream.Recv()
	}
	if !silent.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("open maildrop: %w", err)
	}
	return stream, first, nil
}

// hold returns when the lease is lost, or ctx ends. When only the replica of storage is lost, the session goes on at another.
func (d *maildrop) hold(ctx context.Context, s *Session, stream leaseStream) error {
	for {
		err := heartbeats(stream)
		if !passing(err) {
			return err
		}
		if stream, err = d.resume(ctx, s); err != nil {
			return err
		}
	}
}

// heartbeats receives until the stream ends.
func heartbeats(stream leaseStream) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

// passing tells whether storage may take the session again.
func passing(err error) bool {
	return rpc.Lost(err) || fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) || errors.Is(err, context.DeadlineExceeded)
}

// resume exchanges the lease for one at another replica.
func (d *maildrop) resume(ctx context.Context, s *Session) (stream leaseStream, err error) {
	patience, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	for {
		err = d.withLease(func(lease string) error {
			var first *storagev1.OpenMaildropResponse
			if stream, first, err = s.openLease(ctx, d.accountID, lease); err == nil {
				d.leaseID = first.GetLeaseId()
			}
			return err
		})
		if !passing(err) {
			return stream, err
		}
		select {
		case <-time.After(resumePause):
		case <-patience.Done():
			return nil, err
		}
	}
}

// withLease calls fn with the lease, which is not exchanged meanwhile.
func (d *maildrop) withLease(fn func(lease string) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fn(d.leaseID)
}
