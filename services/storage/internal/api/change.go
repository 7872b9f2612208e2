package api

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// maxFlagKeywords bounds the keywords of one request.
const maxFlagKeywords = 64

// StoreFlags implements storagev1.StorageServiceServer.
func (s *Service) StoreFlags(ctx context.Context, r *storagev1.StoreFlagsRequest) (*storagev1.StoreFlagsResponse, error) {
	store, account, set, err := s.storeAndSet(r)
	if err != nil {
		return nil, err
	}
	switch r.GetOperation() {
	case storagev1.StoreFlagsRequest_OPERATION_SET, storagev1.StoreFlagsRequest_OPERATION_ADD, storagev1.StoreFlagsRequest_OPERATION_REMOVE:
	default:
		return nil, invalid("no flag operation")
	}
	if len(r.GetKeywords()) > maxFlagKeywords {
		return nil, invalid("more than %d keywords", maxFlagKeywords)
	}
	out, err := store.StoreFlags(ctx, account, r.GetMailboxId(), set, meta.FlagChange{
		Operation: r.GetOperation(), Flags: r.GetFlags(), Keywords: r.GetKeywords(), UnchangedSince: r.UnchangedSince,
	})
	if err != nil {
		return nil, err
	}
	return &storagev1.StoreFlagsResponse{States: out.States, Modified: out.Modified.Proto(), HighestModseq: out.HighestModseq, PreviousModseq: out.PreviousModseq}, nil
}

// storeAndSet checks what the requests on messages have in common.
func (s *Service) storeAndSet(r interface {
	about
	GetUids() []*storagev1.UidRange
}) (store *meta.Store, account string, set uidset.Set, err error) {
	store, account, err = s.metaAs(r)
	if err == nil {
		set, err = uidset.FromProto(r.GetUids())
	}
	return store, account, set, err
}

// Expunge implements storagev1.StorageServiceServer.
func (s *Service) Expunge(ctx context.Context, r *storagev1.ExpungeRequest) (*storagev1.ExpungeResponse, error) {
	store, account, set, err := s.storeAndSet(r)
	if err != nil {
		return nil, err
	}
	if len(set) == 0 {
		set = uidset.All
	}
	expunged, step, err := store.Expunge(ctx, account, r.GetMailboxId(), set)
	if err != nil {
		return nil, err
	}
	return &storagev1.ExpungeResponse{Expunged: expunged.Proto(), HighestModseq: step.HighestModseq, PreviousModseq: step.PreviousModseq}, nil
}

// Move implements storagev1.StorageServiceServer.
func (s *Service) Move(ctx context.Context, r *storagev1.MoveRequest) (*storagev1.MoveResponse, error) {
	store, account, set, err := s.storeAndSet(r)
	if err != nil {
		return nil, err
	}
	to, err := existing(r.GetToMailbox())
	if err != nil {
		return nil, err
	}
	into, err := otherAccount(account, r)
	if err != nil {
		return nil, err
	}
	var out *meta.Moved
	if into == account {
		out, err = store.Move(ctx, account, r.GetMailboxId(), set, to)
	} else {
		out, err = s.transfer(ctx, store, meta.Transfer{
			AccountID: account, MailboxID: r.GetMailboxId(), UIDs: set, ToAccountID: into, ToMailbox: to, Move: true,
		})
	}
	if err != nil {
		return nil, err
	}
	return &storagev1.MoveResponse{Mapping: out.Mapping, HighestModseq: out.HighestModseq, PreviousModseq: out.PreviousModseq}, nil
}

// Copy implements storagev1.StorageServiceServer.
func (s *Service) Copy(ctx context.Context, r *storagev1.CopyRequest) (*storagev1.CopyResponse, error) {
	store, account, set, err := s.storeAndSet(r)
	if err != nil {
		return nil, err
	}
	to, err := existing(r.GetToMailbox())
	if err != nil {
		return nil, err
	}
	into, err := otherAccount(account, r)
	if err != nil {
		return nil, err
	}
	if into != account {
		out, err := s.transfer(ctx, store, meta.Transfer{
			AccountID: account, MailboxID: r.GetMailboxId(), UIDs: set, ToAccountID: into, ToMailbox: to,
		})
		if err != nil {
			return nil, err
		}
		return &storagev1.CopyResponse{Mapping: out.Mapping}, nil
	}
	target, err := store.MailboxNamed(ctx, account, to)
	if err != nil {
		return nil, err
	}
	out := &meta.Moved{Mapping: &storagev1.UidMapping{MailboxId: target.GetMailboxId(), UidValidity: target.GetUidValidity()}}
	err = s.copyReserved(ctx, account, &out,
		func(ctx context.Context) (bytes, messages int64, err error) {
			return store.CopySize(ctx, account, r.GetMailboxId(), set, to)
		},
		func(ctx context.Context, reserved meta.Reserved) (*meta.Moved, error) {
			return store.Copy(ctx, account, r.GetMailboxId(), set, to, reserved)
		})
	if err != nil {
		return nil, err
	}
	return &storagev1.CopyResponse{Mapping: out.Mapping}, nil
}

// transfer copies or moves messages to another account, whose quota they must fit into.
func (s *Service) transfer(ctx context.Context, store *meta.Store, x meta.Transfer) (*meta.Moved, error) {
	var out *meta.Moved
	err := s.copyReserved(ctx, x.ToAccountID, &out,
		func(ctx context.Context) (bytes, messages int64, err error) {
			out, bytes, messages, err = store.TransferSize(ctx, x)
			return bytes, messages, err
		},
		func(ctx context.Context, reserved meta.Reserved) (*meta.Moved, error) {
			return store.Transfer(ctx, x, reserved)
		})
	return out, err
}

// copyReserved is withReservation for messages that are copied into an account. It sets out, if there are any.
func (s *Service) copyReserved(
	ctx context.Context, account string, out **meta.Moved,
	size func(context.Context) (bytes, messages int64, err error),
	write func(context.Context, meta.Reserved) (*meta.Moved, error),
) error {
	return s.withReservation(ctx, account, false, size, func(ctx context.Context, reserved meta.Reserved) error {
		moved, err := write(ctx, reserved)
		if err != nil {
			return err
		}
		if len(moved.Mapping.GetSource()) == 0 { // gone meanwhile: no event settles it
			s.Capacity.Release(reserved.ID)
		}
		*out = moved
		return nil
	})
}
