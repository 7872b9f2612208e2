package api

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// ListMailboxes implements storagev1.StorageServiceServer.
func (s *Service) ListMailboxes(ctx context.Context, r *storagev1.ListMailboxesRequest) (*storagev1.ListMailboxesResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	var actor meta.Actor
	if r.GetSharedWith() != nil {
		var err error
		if actor, err = checkActor(r.GetSharedWith()); err != nil {
			return nil, err
		}
		if actor.AccountID != r.GetAccountId() {
			return nil, invalid("an account can list what is shared with it, not with others")
		}
	}
	list, subscribedOnly, err := s.Meta.ListMailboxes(ctx, r.GetAccountId())
	if err != nil {
		return nil, err
	}
	response := &storagev1.ListMailboxesResponse{Mailboxes: list, SubscribedOnly: subscribedOnly}
	if r.GetSharedWith() != nil {
		response.Shared, err = s.Meta.As(actor).SharedMailboxes(ctx)
	}
	return response, err
}

// GetMailbox implements storagev1.StorageServiceServer.
func (s *Service) GetMailbox(ctx context.Context, r *storagev1.GetMailboxRequest) (*storagev1.GetMailboxResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	if _, byID := r.GetKey().(*storagev1.GetMailboxRequest_MailboxId); byID {
		m, err := store.Mailbox(ctx, account, r.GetMailboxId())
		return &storagev1.GetMailboxResponse{Mailbox: m}, err
	}
	m, err := named(ctx, store, account, r.GetName())
	return &storagev1.GetMailboxResponse{Mailbox: m}, err
}

// named finds a mailbox by the name of a request. A name that no mailbox can have is not found.
func named(ctx context.Context, store *meta.Store, account, name string) (*storagev1.Mailbox, error) {
	name, err := existing(name)
	if err != nil {
		return nil, err
	}
	return store.MailboxNamed(ctx, account, name)
}

// existing gives the stored form of the name of a mailbox that should exist: a name that cannot be is not found.
func existing(name string) (string, error) {
	normal, err := names.Normalise(name)
	if err != nil {
		return "", meta.ErrMailboxNotFound
	}
	return normal, nil
}

// CreateMailbox implements storagev1.StorageServiceServer.
func (s *Service) CreateMailbox(ctx context.Context, r *storagev1.CreateMailboxRequest) (*storagev1.CreateMailboxResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	name, err := names.Normalise(r.GetName())
	if err != nil {
		return nil, err
	}
	switch r.GetSpecialUse() {
	case storagev1.SpecialUse_SPECIAL_USE_INBOX, storagev1.SpecialUse_SPECIAL_USE_ALL, storagev1.SpecialUse_SPECIAL_USE_FLAGGED:
		// The inbox is one; virtual mailboxes are not held (RFC 6154 section 2).
		return nil, invalid("a mailbox of that special use cannot be created")
	}
	m, err := store.CreateMailbox(ctx, account, name, r.GetSpecialUse())
	if err != nil {
		return nil, err
	}
	return &storagev1.CreateMailboxResponse{Mailbox: m}, nil
}

// RenameMailbox implements storagev1.StorageServiceServer.
func (s *Service) RenameMailbox(ctx context.Context, r *storagev1.RenameMailboxRequest) (*storagev1.RenameMailboxResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	from, err := existing(r.GetFrom())
	if err != nil {
		return nil, err
	}
	to, err := names.Normalise(r.GetTo())
	if err != nil {
		return nil, err
	}
	return &storagev1.RenameMailboxResponse{}, store.RenameMailbox(ctx, account, from, to)
}

// DeleteMailbox implements storagev1.StorageServiceServer.
func (s *Service) DeleteMailbox(ctx context.Context, r *storagev1.DeleteMailboxRequest) (*storagev1.DeleteMailboxResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	name, err := existing(r.GetName())
	if err != nil {
		return nil, err
	}
	return &storagev1.DeleteMailboxResponse{}, store.DeleteMailbox(ctx, account, name)
}

// SetSubscribed implements storagev1.StorageServiceServer.
func (s *Service) SetSubscribed(ctx context.Context, r *storagev1.SetSubscribedRequest) (*storagev1.SetSubscribedResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	name, err := names.Normalise(r.GetName())
	if err != nil {
		return nil, err
	}
	return &storagev1.SetSubscribedResponse{}, s.Meta.SetSubscribed(ctx, r.GetAccountId(), name, r.GetSubscribed())
}
