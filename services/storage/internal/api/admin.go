package api

import (
	"context"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// maxRestoreIDs bounds the messages that a Restore names.
const maxRestoreIDs = 10_000

// admin implements storagev1.StorageAdminServiceServer.
type admin struct {
	storagev1.UnimplementedStorageAdminServiceServer
	s *Service
}

// SumUsage implements storagev1.StorageAdminServiceServer.
func (a *admin) SumUsage(ctx context.Context, r *storagev1.SumUsageRequest) (*storagev1.SumUsageResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	u, err := a.s.Meta.SumUsage(ctx, r.GetAccountId(), r.GetAppliedSequence())
	if err != nil {
		return nil, err
	}
	return &storagev1.SumUsageResponse{
		Bytes: u.Bytes, Messages: u.Messages,
		PendingBytes: u.PendingBytes, PendingMessages: u.PendingMessages,
		LastSequence: u.LastSequence,
	}, nil
}

// ListDeleted implements storagev1.StorageAdminServiceServer.
func (a *admin) ListDeleted(r *storagev1.ListDeletedRequest, stream grpc.ServerStreamingServer[storagev1.ListDeletedResponse]) error {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return err
	}
	for last := (*meta.Deleted)(nil); ; {
		page, err := a.s.Meta.ListDeleted(stream.Context(), r.GetAccountId(), last)
		if err != nil || len(page) == 0 {
			return err
		}
		response := &storagev1.ListDeletedResponse{}
		for _, d := range page {
			response.Deleted = append(response.Deleted, &storagev1.ListDeletedResponse_Deleted{
				DeletedId: d.Key.String(), Mailbox: d.Mailbox, State: d.State,
				DeletedUnix: d.DeletedUnix, ExpiresUnix: d.ExpiresUnix,
				Subject: d.Subject(), From: d.From(),
			})
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		last = page[len(page)-1]
	}
}

// Restore implements storagev1.StorageAdminServiceServer.
func (a *admin) Restore(ctx context.Context, r *storagev1.RestoreRequest) (*storagev1.RestoreResponse, error) {
	filter, err := restoreFilter(r)
	if err != nil {
		return nil, err
	}
	restored := 0
	err = a.s.withReservation(ctx, r.GetAccountId(), r.GetIgnoreQuota(),
		func(ctx context.Context) (bytes, messages int64, err error) {
			return a.s.Meta.RestoreSize(ctx, r.GetAccountId(), filter)
		},
		func(ctx context.Context, reserved meta.Reserved) error {
			n, err := a.s.Meta.Restore(ctx, r.GetAccountId(), filter, reserved)
			if err == nil && n == 0 { // gone meanwhile: no event settles it
				a.s.Capacity.Release(reserved.ID)
			}
			restored = n
			return err
		})
	if err != nil {
		return nil, err
	}
	return &storagev1.RestoreResponse{Restored: uint32(restored)}, nil
}

func restoreFilter(r *storagev1.RestoreRequest) (f meta.RestoreFilter, err error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return f, err
	}
	if len(r.GetDeletedIds()) > maxRestoreIDs {
		return f, invalid("more than %d deleted messages", maxRestoreIDs)
	}
	seen := map[meta.DeletedKey]bool{}
	for _, id := range r.GetDeletedIds() {
		k, err := meta.ParseDeletedKey(id)
		if err != nil {
			return f, err
		}
		if !seen[k] {
			seen[k] = true
			f.Keys = append(f.Keys, k)
		}
	}
	f.DeletedSince = r.GetDeletedSinceUnix()
	if r.GetMailbox() != "" {
		if f.Mailbox, err = names.Normalise(r.GetMailbox()); err != nil {
			return f, err
		}
	}
	if r.GetToMailbox() != "" {
		if f.To, err = names.Normalise(r.GetToMailbox()); err != nil {
			return f, err
		}
	}
	return f, nil
}

// PurgeAccount implements storagev1.StorageAdminServiceServer.
func (a *admin) PurgeAccount(ctx context.Context, r *storagev1.PurgeAccountRequest) (*storagev1.PurgeAccountResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	n, err := a.s.Meta.PurgeAccount(ctx, r.GetAccountId())
	if err != nil {
		return nil, err
	}
	return &storagev1.PurgeAccountResponse{Messages: n}, nil
}
