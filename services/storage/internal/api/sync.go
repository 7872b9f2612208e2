package api

import (
	"slices"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Sync implements storagev1.StorageServiceServer. What changed is read in one snapshot and sent after it has ended, so that a slow
// gateway does not hold it; the semaphore bounds what all calls hold in memory.
func (s *Service) Sync(r *storagev1.SyncRequest, stream grpc.ServerStreamingServer[storagev1.SyncResponse]) error {
	ctx := stream.Context()
	if err := checkAccount(r.GetAccountId()); err != nil {
		return err
	}
	since, validity := r.GetSinceModseq(), r.GetUidValidity()
	if since > 0 {
		delta, err := s.Meta.SyncFew(ctx, r.GetAccountId(), r.GetMailboxId(), since, validity)
		if err != nil {
			return err
		}
		if delta != nil {
			return stream.Send(&storagev1.SyncResponse{Changed: delta.Changed, Vanished: delta.Vanished.Proto(), Mailbox: delta.Mailbox})
		}
	}
	_, size, err := s.Meta.SyncSize(ctx, r.GetAccountId(), r.GetMailboxId(), since)
	if err != nil {
		return err
	}
	weight := min(size+1, statesInMemory)
	if err := s.states.Acquire(ctx, weight); err != nil {
		return err
	}
	defer s.states.Release(weight)
	delta, err := s.Meta.Sync(ctx, r.GetAccountId(), r.GetMailboxId(), since, validity)
	if err != nil {
		return err
	}
	last := &storagev1.SyncResponse{Mailbox: delta.Mailbox}
	for states := range slices.Chunk(delta.Changed, statesAtOnce) {
		if err := stream.Send(&storagev1.SyncResponse{Changed: states}); err != nil {
			return err
		}
	}
	const rangesAtOnce = 50_000
	for ranges := range slices.Chunk(delta.Vanished.Proto(), rangesAtOnce) {
		if err := stream.Send(&storagev1.SyncResponse{Vanished: ranges}); err != nil {
			return err
		}
	}
	return stream.Send(last)
}
