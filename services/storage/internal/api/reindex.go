package api

import (
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// reindexLook is how often Reindex looks how far it is.
const reindexLook = 250 * time.Millisecond

// errNoIndex is the fault of a service without an index.
var errNoIndex = fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_INVALID, "the text index is off (--storage-index-text 0)")

// Reindex implements storagev1.StorageAdminServiceServer.
func (a *admin) Reindex(r *storagev1.ReindexRequest, stream grpc.ServerStreamingServer[storagev1.ReindexResponse]) error {
	ctx := stream.Context()
	account := r.GetAccountId()
	if account != "" {
		if err := checkAccount(account); err != nil {
			return err
		}
	}
	if a.s.Index == nil {
		return errNoIndex
	}
	out := &storagev1.ReindexResponse{}
	for after := (meta.MailboxKey{}); ; {
		page, err := a.s.Meta.MailboxesOf(ctx, account, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			if err := a.s.Meta.RenewTexts(ctx, b.MailboxKey); err != nil && !errors.Is(err, meta.ErrMailboxNotFound) {
				return err
			}
			out.Mailboxes++
			out.Messages += b.Messages
			after = b.MailboxKey
		}
		if err := a.s.Meta.EnqueueTexts(ctx, page); err != nil {
			return err
		}
		a.s.Index.Wake()
		if err := stream.Send(&storagev1.ReindexResponse{Mailboxes: out.Mailboxes, Messages: out.Messages}); err != nil {
			return err
		}
	}
	tick := time.NewTicker(reindexLook)
	defer tick.Stop()
	for {
		left, err := a.s.Meta.TextQueue(ctx, account)
		if err != nil {
			return err
		}
		out.MailboxesDone = max(out.Mailboxes-left.Mailboxes, 0)
		out.MessagesDone = max(out.Messages-left.Messages, 0)
		out.Finished = left.Mailboxes == 0
		if err := stream.Send(&storagev1.ReindexResponse{
			Mailboxes: out.Mailboxes, MailboxesDone: out.MailboxesDone, Messages: out.Messages, MessagesDone: out.MessagesDone, Finished: out.Finished,
		}); err != nil || out.Finished {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
