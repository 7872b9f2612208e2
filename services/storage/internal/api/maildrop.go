package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// heartbeatEvery is how often an open maildrop's stream shows that it lives.
const heartbeatEvery = 20 * time.Second

// OpenMaildrop implements storagev1.StorageServiceServer.
func (s *Service) OpenMaildrop(r *storagev1.OpenMaildropRequest, stream grpc.ServerStreamingServer[storagev1.OpenMaildropResponse]) error {
	ctx := stream.Context()
	if err := checkAccount(r.GetAccountId()); err != nil {
		return err
	}
	if len(r.GetPreviousLeaseId()) > maxID {
		return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "the lease id is too long")
	}
	lease, err := s.Leases.Acquire(ctx, r.GetAccountId(), r.GetPreviousLeaseId())
	if err != nil {
		return err
	}
	end := lease.Release
	defer func() { end() }()
	inbox, err := s.Meta.MailboxNamed(ctx, r.GetAccountId(), names.Inbox)
	if err != nil {
		return err
	}
	if err := stream.Send(&storagev1.OpenMaildropResponse{LeaseId: lease.ID, Mailbox: inbox}); err != nil {
		return err
	}
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rpc.Stopping(ctx):
			end = lease.Leave // the session goes on elsewhere
			return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "storage is leaving")
		case <-lease.Lost:
			return meta.ErrLeaseLost
		case <-heartbeat.C:
			if err := stream.Send(&storagev1.OpenMaildropResponse{LeaseId: lease.ID}); err != nil {
				return err
			}
		}
	}
}

// CommitMaildrop implements storagev1.StorageServiceServer.
func (s *Service) CommitMaildrop(ctx context.Context, r *storagev1.CommitMaildropRequest) (*storagev1.CommitMaildropResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	set, err := uidset.FromProto(r.GetUids())
	if err != nil {
		return nil, err
	}
	lease := meta.Lease{AccountID: r.GetAccountId(), ID: r.GetLeaseId()}
	return &storagev1.CommitMaildropResponse{}, s.Meta.CommitMaildrop(ctx, lease, set, r.GetAction())
}
