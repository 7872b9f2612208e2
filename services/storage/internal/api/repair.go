package api

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/audit"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// missingAtOnce bounds the messages of one answer of RepairMissing.
const missingAtOnce = 200

// RenewUidValidity implements storagev1.StorageAdminServiceServer.
func (a *admin) RenewUidValidity(ctx context.Context, r *storagev1.RenewUidValidityRequest) (*storagev1.RenewUidValidityResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	name := r.GetMailbox()
	if name != "" {
		var err error
		if name, err = names.Normalise(name); err != nil {
			return nil, err
		}
	}
	list, err := a.s.Meta.RenewUIDValidity(ctx, r.GetAccountId(), name)
	if err != nil {
		return nil, err
	}
	return &storagev1.RenewUidValidityResponse{Mailboxes: list}, nil
}

// RepairMissing implements storagev1.StorageAdminServiceServer. It goes by what an audit finds, which has looked twice.
func (a *admin) RepairMissing(r *storagev1.RepairMissingRequest, stream grpc.ServerStreamingServer[storagev1.RepairMissingResponse]) error {
	ctx := stream.Context()
	_, err := a.s.Auditor.Verify(ctx, audit.Report{Finding: func(f audit.Finding) error {
		if f.Kind != audit.MissingObject && f.Kind != audit.ShortObject {
			return nil
		}
		size, err := a.sizeOf(ctx, f.Object)
		if err != nil {
			return err
		}
		missing, err := a.s.Meta.MissingIn(ctx, f.Object, size, !r.GetDryRun())
		if err != nil {
			return err
		}
		return sendMissing(stream, f.Object, missing)
	}})
	return runFault(ctx, err)
}

// sizeOf gives the octets of an object, 0 if there is none.
func (a *admin) sizeOf(ctx context.Context, key string) (int64, error) {
	info, err := a.s.Auditor.Objects.Stat(ctx, key)
	if errors.Is(err, object.ErrNotFound) {
		return 0, nil
	}
	return info.Size, err
}

func sendMissing(stream grpc.ServerStreamingServer[storagev1.RepairMissingResponse], key string, missing []*meta.MissingMessage) error {
	response := &storagev1.RepairMissingResponse{}
	for i, m := range missing {
		d := meta.Deleted{Summary: m.Summary}
		response.Missing = append(response.Missing, &storagev1.RepairMissingResponse_Missing{
			AccountId: m.AccountID, Mailbox: m.Mailbox, Uid: m.UID, Subject: d.Subject(), From: d.From(), ObjectKey: key, Deleted: m.Gone, Size: uint64(m.Size),
		})
		if len(response.Missing) < missingAtOnce && i < len(missing)-1 {
			continue
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		response = &storagev1.RepairMissingResponse{}
	}
	return nil
}
