package api

import (
	"context"
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/pkg/address"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

const (
	minPassword = 8   // characters
	maxPassword = 512 // octets
	maxText     = 200 // characters of a display name or a label
	maxPage     = 1000
)

// CreateAccount implements DirectoryAdminService.
func (a *Admin) CreateAccount(ctx context.Context, req *directoryv1.CreateAccountRequest) (*directoryv1.CreateAccountResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := checkText("display_name", req.GetDisplayName()); err != nil {
		return nil, err
	}
	if err := checkPopDelete(req.GetPopDelete()); err != nil {
		return nil, err
	}
	id, err := accountID(req.GetAccountId())
	if err != nil {
		return nil, err
	}
	account := store.Account{
		ID: id, Address: addr, DisplayName: req.GetDisplayName(), Disabled: req.GetDisabled(),
		PopDelete: req.GetPopDelete(), Created: a.o.Now().Unix(),
	}
	if req.GetPassword() != "" {
		if account.Credentials, err = a.credentials(ctx, addr, req.GetPassword()); err != nil {
			return nil, err
		}
	}
	account, err = a.o.Store.CreateAccount(ctx, account)
	if err != nil {
		return nil, translateAccount(err)
	}
	return &directoryv1.CreateAccountResponse{Account: accountProto(account)}, nil
}

// accountID gives a new id, or the lost one that was asked for.
func accountID(lost string) (string, error) {
	if lost == "" {
		return uuid.NewString(), nil
	}
	if id, err := uuid.Parse(lost); err != nil || id.String() != lost {
		return "", invalid("account_id: %q is not a UUID in lower case", lost)
	}
	return lost, nil
}

// UpdateAccount implements DirectoryAdminService.
func (a *Admin) UpdateAccount(ctx context.Context, req *directoryv1.UpdateAccountRequest) (*directoryv1.UpdateAccountResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := checkText("display_name", req.GetDisplayName()); err != nil {
		return nil, err
	}
	if err := checkPopDelete(req.GetPopDelete()); err != nil {
		return nil, err
	}
	account, err := a.o.Store.UpdateAccount(ctx, addr, func(account *store.Account) {
		if req.DisplayName != nil {
			account.DisplayName = req.GetDisplayName()
		}
		if req.Disabled != nil {
			account.Disabled = req.GetDisabled()
		}
		if req.PopDelete != nil {
			account.PopDelete = req.GetPopDelete()
		}
	})
	if err != nil {
		return nil, translateAccount(err)
	}
	return &directoryv1.UpdateAccountResponse{Account: accountProto(account)}, nil
}

// ListAccounts implements DirectoryAdminService. Its order is that of domains, and within them of local parts.
func (a *Admin) ListAccounts(ctx context.Context, req *directoryv1.ListAccountsRequest) (*directoryv1.ListAccountsResponse, error) {
	domain, err := optionalDomain(req.GetDomain())
	if err != nil {
		return nil, err
	}
	after, err := parsePageToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := maxPage
	if n := req.GetPageSize(); n > 0 && n < maxPage {
		size = int(n)
	}
	accounts, err := a.o.Store.Accounts(ctx, domain, after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.ListAccountsResponse{}
	if len(accounts) > size {
		accounts = accounts[:size]
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(accounts[size-1].Address.String()))
	}
	for _, account := range accounts {
		resp.Accounts = append(resp.Accounts, accountProto(account))
	}
	return resp, nil
}

// parsePageToken reads the address after which a page begins.
func parsePageToken(token string) (after address.Address, err error) {
	if token == "" {
		return after, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		after, err = address.Parse(string(text))
	}
	if err != nil {
		return after, invalid("page_token is not from a page before")
	}
	return after, nil
}

// DeleteAccount implements DirectoryAdminService. Aliases that lead to the account stay, as other addresses may be in them too.
func (a *Admin) DeleteAccount(ctx context.Context, req *directoryv1.DeleteAccountRequest) (*directoryv1.DeleteAccountResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	id, err := a.o.Store.DeleteAccount(ctx, addr)
	if err != nil {
		return nil, translateAccount(err)
	}
	return &directoryv1.DeleteAccountResponse{AccountId: id}, nil
}

// SetPassword implements DirectoryAdminService.
func (a *Admin) SetPassword(ctx context.Context, req *directoryv1.SetPasswordRequest) (*directoryv1.SetPasswordResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	credentials, err := a.credentials(ctx, addr, req.GetPassword())
	if err != nil {
		return nil, err
	}
	if err := a.o.Store.SetPassword(ctx, addr, credentials); err != nil {
		return nil, translateAccount(err)
	}
	return &directoryv1.SetPasswordResponse{}, nil
}

func (a *Admin) credentials(ctx context.Context, addr address.Address, typed string) (store.Credentials, error) {
	switch {
	case utf8.RuneCountInString(typed) < minPassword:
		return store.Credentials{}, invalid("password: at least %d characters", minPassword)
	case len(typed) > maxPassword:
		return store.Credentials{}, invalid("password: at most %d octets", maxPassword)
	case !utf8.ValidString(typed) || strings.ContainsFunc(typed, unicode.IsControl):
		return store.Credentials{}, invalid("password: no control characters")
	}
	c, err := a.o.Keys.Credentials(ctx, a.o.Hasher, addr, typed)
	return c, translateAccount(err)
}

func checkText(field, text string) error {
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return invalid("%s: no control characters", field)
	case utf8.RuneCountInString(text) > maxText:
		return invalid("%s: at most %d characters", field, maxText)
	}
	return nil
}
