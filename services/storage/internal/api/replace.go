package api

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// Replace implements storagev1.StorageServiceServer.
func (s *Service) Replace(stream grpc.ClientStreamingServer[storagev1.ReplaceRequest, storagev1.ReplaceResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return ended(err)
	}
	target := first.GetTarget()
	if target == nil {
		return invalid("a replacement begins with its target")
	}
	from, actor, err := asked(target)
	if err != nil {
		return err
	}
	account, err := otherAccount(from, target)
	if err != nil {
		return err
	}
	box, has, err := s.destination(stream.Context(), actor, account, target)
	if err != nil {
		return err
	}
	old := &delivery.Replaced{Replaced: meta.Replaced{
		AccountID: from, MailboxID: target.GetMailboxId(), UID: target.GetUid(), Actor: actor,
	}}
	request := delivery.Request{AllOrNone: true, Replaces: old}
	if target.GetAppendId() != "" {
		request.ID = "r:" + target.GetAppendId()
	}
	key := meta.DeliveryKey{AccountID: account, DeliveryID: delivery.RowID(request.ID, 0), Mailbox: box.GetName()}
	if err := s.findReplaced(stream.Context(), request.ID, key, old); err != nil {
		return err
	}
	a := &appending{service: s, account: account, mailbox: box.GetName(), most: 1, actor: actor, has: has}
	defer a.close()
	err = a.receive(func() (*storagev1.AppendRequest, error) {
		r, err := stream.Recv()
		return appendRequest(r), err
	})
	if err != nil {
		return err
	}
	request.Targets = a.targets
	outcomes, err := s.Writer.Store(stream.Context(), request)
	if err != nil {
		return err
	}
	switch o := outcomes[0]; o.Status {
	case delivery.Stored:
		return stream.SendAndClose(&storagev1.ReplaceResponse{MailboxId: o.MailboxID, UidValidity: o.UIDValidity, Uid: o.UID})
	case delivery.NoAccount:
		return meta.ErrAccountNotFound
	}
	return capacity.ErrOverQuota
}

// appendRequest gives a part of a message as Append takes it.
func appendRequest(r *storagev1.ReplaceRequest) *storagev1.AppendRequest {
	switch m := r.GetMessage().(type) {
	case *storagev1.ReplaceRequest_Start:
		return &storagev1.AppendRequest{Message: &storagev1.AppendRequest_Start{Start: m.Start}}
	case *storagev1.ReplaceRequest_Chunk:
		return &storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: m.Chunk}}
	case *storagev1.ReplaceRequest_Commit:
		return &storagev1.AppendRequest{Message: &storagev1.AppendRequest_Commit{Commit: m.Commit}}
	}
	return &storagev1.AppendRequest{}
}

// findReplaced sets the size of the message that is to be replaced. If it is gone because an earlier try has replaced it, its size stays 0:
// the write path then answers as that try did.
func (s *Service) findReplaced(ctx context.Context, request string, key meta.DeliveryKey, old *delivery.Replaced) (err error) {
	old.Size, err = s.Meta.As(old.Actor).MessageSize(ctx, old.AccountID, old.MailboxID, old.UID)
	if request == "" || !errors.Is(err, meta.ErrMessageNotFound) {
		return err
	}
	found, findErr := s.Meta.Deliveries(ctx, []meta.DeliveryKey{key})
	if findErr != nil {
		return findErr
	}
	if _, repeated := found[key]; repeated {
		return nil
	}
	return err
}
