package api

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// maxLookups bounds the questions to the directory at a time.
const maxLookups = 16

// open makes ledger rows for accounts, with their domains from the directory. unknown are those that the directory
// does not have. An error of the directory is UNAVAILABLE.
func (s *Service) open(ctx context.Context, ids []string) (unknown []string, err error) {
	found := make([]*directoryv1.Account, len(ids)) // nil: unknown
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxLookups)
	for i, id := range ids {
		group.Go(func() error {
			got, err := s.Directory.GetAccount(groupCtx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_AccountId{AccountId: id}})
			if fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
				return nil
			}
			found[i] = got.GetAccount()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the directory cannot be reached, try again later")
	}
	var accounts []ledger.Account
	for i, id := range ids {
		if found[i] == nil {
			unknown = append(unknown, id)
			continue
		}
		accounts = append(accounts, ledger.Account{ID: id, Domain: found[i].GetDomain()})
	}
	if len(accounts) == 0 {
		return unknown, nil
	}
	return unknown, s.Ledger.Open(ctx, accounts...)
}

// withAccount runs fn, which needs the ledger row of one account. If there is none it is made, and fn runs again.
func (s *Service) withAccount(ctx context.Context, fn func() error) error {
	err := fn()
	missing, ok := errors.AsType[*ledger.MissingError](err)
	if !ok {
		return err
	}
	unknown, err := s.open(ctx, missing.Accounts)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return errNoAccount
	}
	return fn()
}

var errNoAccount = fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "there is no such account")

func invalid(format string, args ...any) error {
	return fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, format, args...)
}
