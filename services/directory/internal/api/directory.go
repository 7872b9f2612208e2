package api

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/resolve"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Resolve implements DirectoryService. It fails with INVALID for what is not an address, and with LIMIT for one that leads too far.
func (d *Directory) Resolve(ctx context.Context, req *directoryv1.ResolveRequest) (*directoryv1.ResolveResponse, error) {
	addr, err := address.Parse(req.GetAddress())
	if err != nil {
		return nil, invalid("%v", err)
	}
	result, err := d.resolve(ctx, addr, resolve.Options{Postmaster: d.o.Postmaster})
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.ResolveResponse{}
	status := "unknown"
	switch {
	case len(result.Recipients) > 0:
		resp.Status, status = directoryv1.ResolveResponse_STATUS_OK, "ok"
	case result.Foreign:
		resp.Status, status = directoryv1.ResolveResponse_STATUS_FOREIGN, "foreign"
	case result.Disabled:
		resp.Status, status = directoryv1.ResolveResponse_STATUS_DISABLED, "disabled"
	default:
		resp.Status = directoryv1.ResolveResponse_STATUS_UNKNOWN
	}
	d.resolves.WithLabelValues(status).Inc()
	for _, r := range result.Recipients {
		resp.Recipients = append(resp.Recipients, &directoryv1.Recipient{
			AccountId: r.Account.ID, Address: r.Account.Address.String(), Detail: r.Detail,
		})
	}
	return resp, nil
}

func (d *Directory) resolve(ctx context.Context, addr address.Address, o resolve.Options) (result resolve.Result, err error) {
	err = d.o.Store.Read(ctx, "resolve", func(v store.Snapshot) error {
		if addr.Domain == "" { // postmaster alone
			first, err := v.FirstDomain(ctx)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			addr.Domain = first.Name
		}
		result, err = resolve.To(ctx, v, addr, o)
		return err
	})
	if errors.Is(err, resolve.ErrLimit) {
		return result, fault.Wrap(err, codes.FailedPrecondition, rpcv1.Reason_REASON_LIMIT, resolve.ErrLimit.Error())
	}
	return result, err
}

// AuthorizeSender implements DirectoryService.
func (d *Directory) AuthorizeSender(ctx context.Context, req *directoryv1.AuthorizeSenderRequest) (*directoryv1.AuthorizeSenderResponse, error) {
	addr, err := address.Parse(req.GetAddress())
	if err != nil {
		return nil, invalid("%v", err)
	}
	// A catch-all does not make the addresses that nobody has its owner's.
	result, err := d.resolve(ctx, addr, resolve.Options{Postmaster: d.o.Postmaster, NoCatchAll: true})
	if err != nil {
		return nil, err
	}
	return &directoryv1.AuthorizeSenderResponse{Allowed: slices.ContainsFunc(result.Recipients, func(r resolve.Recipient) bool {
		return r.Account.ID == req.GetAccountId()
	})}, nil
}

// GetAccount implements DirectoryService.
func (d *Directory) GetAccount(ctx context.Context, req *directoryv1.GetAccountRequest) (*directoryv1.GetAccountResponse, error) {
	var account store.Account
	var err error
	switch key := req.GetKey().(type) {
	case *directoryv1.GetAccountRequest_AccountId:
		account, err = d.o.Store.AccountByID(ctx, key.AccountId)
	case *directoryv1.GetAccountRequest_Address:
		addr, invalidErr := parse("address", key.Address)
		if invalidErr != nil {
			return nil, invalidErr
		}
		account, err = d.o.Store.Account(ctx, addr)
	default:
		return nil, invalid("account_id or address is needed")
	}
	if err != nil {
		return nil, translateAccount(err)
	}
	return &directoryv1.GetAccountResponse{Account: accountProto(account)}, nil
}
