package api

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// maxAppPasswords is how many an account may have: each takes part in a login by SCRAM.
const maxAppPasswords = 32

// CreateAppPassword implements DirectoryAdminService.
func (a *Admin) CreateAppPassword(ctx context.Context, req *directoryv1.CreateAppPasswordRequest) (*directoryv1.CreateAppPasswordResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if req.GetLabel() == "" {
		return nil, invalid("label: say which program the password is for")
	}
	if err := checkText("label", req.GetLabel()); err != nil {
		return nil, err
	}
	only := slices.Compact(slices.Sorted(slices.Values(req.GetProtocols())))
	for _, p := range only {
		if !slices.Contains(protocols, p) {
			return nil, invalid("protocols: %q is none of smtp, pop3, imap", p)
		}
	}
	account, err := a.o.Store.Account(ctx, addr)
	if err != nil {
		return nil, translateAccount(err)
	}
	for {
		id, typed := password.NewApp()
		p := store.AppPassword{
			AccountID: account.ID, ID: id, Label: req.GetLabel(), Protocols: only, Digest: password.AppDigest(account.ID, typed),
			Scram: a.o.Keys.Scram(addr, typed), Created: a.o.Now().Unix(),
		}
		err := a.o.Store.CreateAppPassword(ctx, addr, p, maxAppPasswords)
		switch {
		case err == nil:
			return &directoryv1.CreateAppPasswordResponse{AppPassword: appPasswordProto(p), Password: typed}, nil
		case errors.Is(err, store.ErrTooMany):
			return nil, fault.Wrap(err, codes.FailedPrecondition, rpcv1.Reason_REASON_LIMIT,
				"the account has as many app passwords as it may; delete one first")
		case !errors.Is(err, store.ErrExists): // of a million ids it may have drawn one in use
			return nil, translateAccount(err)
		}
	}
}

// ListAppPasswords implements DirectoryAdminService.
func (a *Admin) ListAppPasswords(ctx context.Context, req *directoryv1.ListAppPasswordsRequest) (*directoryv1.ListAppPasswordsResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	account, err := a.o.Store.Account(ctx, addr)
	if err != nil {
		return nil, translateAccount(err)
	}
	list, err := a.o.Store.AppPasswords(ctx, account.ID)
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.ListAppPasswordsResponse{}
	for _, p := range list {
		resp.AppPasswords = append(resp.AppPasswords, appPasswordProto(p))
	}
	return resp, nil
}

// DeleteAppPassword implements DirectoryAdminService.
func (a *Admin) DeleteAppPassword(ctx context.Context, req *directoryv1.DeleteAppPasswordRequest) (*directoryv1.DeleteAppPasswordResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := a.o.Store.DeleteAppPassword(ctx, addr, req.GetId()); err != nil {
		return nil, translate(err, "the app password")
	}
	return &directoryv1.DeleteAppPasswordResponse{}, nil
}

func appPasswordProto(p store.AppPassword) *directoryv1.AppPassword {
	return &directoryv1.AppPassword{
		Id: p.ID, Label: p.Label, Protocols: p.Protocols, CreatedUnix: p.Created, LastUsedUnix: p.LastUsed,
	}
}
