package server

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	invalid         = rpcv1.Reason_REASON_INVALID
	notFound        = rpcv1.Reason_REASON_NOT_FOUND
	accountNotFound = rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND
	exists          = rpcv1.Reason_REASON_ALREADY_EXISTS
)

func TestAdminRefusals(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	long := strings.Repeat("x", 201)
	if _, err := s.admin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: &directoryv1.Alias{Address: "team@example.test", Targets: []string{alice}}}); err != nil {
		t.Fatal(err)
	}
	create := func(req *directoryv1.CreateAccountRequest) error {
		_, err := s.admin.CreateAccount(ctx, req)
		return err
	}
	update := func(req *directoryv1.UpdateAccountRequest) error {
		_, err := s.admin.UpdateAccount(ctx, req)
		return err
	}
	putDomain := func(d *directoryv1.Domain) error {
		_, err := s.admin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: d})
		return err
	}
	putAlias := func(a *directoryv1.Alias) error {
		_, err := s.admin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: a})
		return err
	}
	setPassword := func(address, password string) error {
		_, err := s.admin.SetPassword(ctx, &directoryv1.SetPasswordRequest{Address: address, Password: password})
		return err
	}
	app := func(address, label string, protocols ...string) error {
		_, err := s.admin.CreateAppPassword(ctx, &directoryv1.CreateAppPasswordRequest{Address: address, Label: label, Protocols: protocols})
		return err
	}
	other := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		name string
		err  error
		want rpcv1.Reason
	}{
		{"no domain", putDomain(nil), invalid},
		{"domain with space", putDomain(&directoryv1.Domain{Name: "exa mple"}), invalid},
		{"catch-all is no address", putDomain(&directoryv1.Domain{Name: "b.test", CatchAll: []string{"x"}}), invalid},
		{"catch-all elsewhere", putDomain(&directoryv1.Domain{Name: "b.test", CatchAll: []string{"x@foreign.test"}}), notFound},
		{"unknown policy", putDomain(&directoryv1.Domain{Name: "b.test", PopDelete: 9}), invalid},
		{"domain in use", other(s.admin.DeleteDomain(ctx, &directoryv1.DeleteDomainRequest{Name: "example.test"})), invalid},
		{"delete no domain", other(s.admin.DeleteDomain(ctx, &directoryv1.DeleteDomainRequest{Name: "b.test"})), notFound},
		{"account twice", create(&directoryv1.CreateAccountRequest{Address: "ALICE@example.test"}), exists},
		{"account at an alias", create(&directoryv1.CreateAccountRequest{Address: "team@example.test"}), exists},
		{"account without domain", create(&directoryv1.CreateAccountRequest{Address: "x@foreign.test"}), notFound},
		{"postmaster alone", create(&directoryv1.CreateAccountRequest{Address: "postmaster"}), invalid},
		{"address literal", create(&directoryv1.CreateAccountRequest{Address: "x@[192.0.2.1]"}), invalid},
		{"short password", create(&directoryv1.CreateAccountRequest{Address: "x@example.test", Password: "1234567"}), invalid},
		{"control in a name", create(&directoryv1.CreateAccountRequest{Address: "x@example.test", DisplayName: "a\r\nb"}), invalid},
		{"long name", update(&directoryv1.UpdateAccountRequest{Address: alice, DisplayName: &long}), invalid},
		{"policy of account", update(&directoryv1.UpdateAccountRequest{Address: alice, PopDelete: directoryv1.PopDelete(-1).Enum()}), invalid},
		{"update nobody", update(&directoryv1.UpdateAccountRequest{Address: "x@example.test"}), accountNotFound},
		{"delete nobody", other(s.admin.DeleteAccount(ctx, &directoryv1.DeleteAccountRequest{Address: "x@example.test"})), accountNotFound},
		{"password of nobody", setPassword("x@example.test", secret), accountNotFound},
		{"empty password", setPassword(alice, ""), invalid},
		{"long password", setPassword(alice, strings.Repeat("x", 513)), invalid},
		{"password with NUL", setPassword(alice, "1234567\x00"), invalid},
		{"app of nobody", app("x@example.test", "PC"), accountNotFound},
		{"app without label", app(alice, ""), invalid},
		{"app for ftp", app(alice, "PC", "ftp"), invalid},
		{"apps of nobody", other(s.admin.ListAppPasswords(ctx, &directoryv1.ListAppPasswordsRequest{Address: "x@example.test"})), accountNotFound},
		{"delete no app", other(s.admin.DeleteAppPassword(ctx, &directoryv1.DeleteAppPasswordRequest{Address: alice, Id: "x"})), notFound},
		{"alias at an account", putAlias(&directoryv1.Alias{Address: alice, Targets: []string{alice}}), exists},
		{"alias to nothing", putAlias(&directoryv1.Alias{Address: "y@example.test"}), invalid},
		{"alias elsewhere", putAlias(&directoryv1.Alias{Address: "y@example.test", Targets: []string{"x@foreign.test"}}), notFound},
		{"alias to too many", putAlias(&directoryv1.Alias{Address: "y@example.test", Targets: make([]string, 101)}), invalid},
		{"delete no alias", other(s.admin.DeleteAlias(ctx, &directoryv1.DeleteAliasRequest{Address: "y@example.test"})), notFound},
		{"page token", other(s.admin.ListAccounts(ctx, &directoryv1.ListAccountsRequest{PageToken: "!"})), invalid},
		{"list of no domain", other(s.admin.ListAliases(ctx, &directoryv1.ListAliasesRequest{Domain: "a b"})), invalid},
	} {
		if got := fault.Reason(tt.err); tt.err == nil || got != tt.want {
			t.Errorf("%s: %v (%v), want %v", tt.name, got, tt.err, tt.want)
		}
	}
}

func TestAppPasswordLimit(t *testing.T) {
	s := start(t)
	req := &directoryv1.CreateAppPasswordRequest{Address: alice, Label: "PC"}
	for range 32 {
		if _, err := s.admin.CreateAppPassword(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.admin.CreateAppPassword(t.Context(), req); !fault.Is(err, rpcv1.Reason_REASON_LIMIT) {
		t.Errorf("got %v, want LIMIT", err)
	}
}

func TestGatewaysMayNotChangeTheDirectory(t *testing.T) {
	s := start(t)
	admin := directoryv1.NewDirectoryAdminServiceClient(s.in.Client("imap"))
	_, err := admin.SetPassword(t.Context(), &directoryv1.SetPasswordRequest{Address: alice, Password: "another-password"})
	if !fault.Is(err, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED) {
		t.Errorf("got %v, want CALLER_NOT_ALLOWED", err)
	}
}

func TestListAccountsByPage(t *testing.T) {
	s := start(t)
	want := []string{alice}
	for _, local := range []string{"b", "c", `"d e"`, "f+g"} {
		want = append(want, s.create(local+"@example.test", "").GetAddress())
	}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(strings.Trim(a, `"`), strings.Trim(b, `"`)) })
	for size := range uint32(7) {
		var got []string
		req := &directoryv1.ListAccountsRequest{Domain: "EXAMPLE.test", PageSize: size}
		for {
			resp, err := s.admin.ListAccounts(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range resp.GetAccounts() {
				got = append(got, a.GetAddress())
			}
			if size > 0 && len(resp.GetAccounts()) > int(size) {
				t.Errorf("a page of %d has %d", size, len(resp.GetAccounts()))
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", size, got, want)
		}
	}
}

func TestDomainDefaults(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	effective := func() directoryv1.PopDelete {
		t.Helper()
		resp, err := s.gateway.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: "Alice@example.TEST"}})
		if err != nil {
			t.Fatal(err)
		}
		byID, err := s.gateway.GetAccount(ctx, &directoryv1.GetAccountRequest{
			Key: &directoryv1.GetAccountRequest_AccountId{AccountId: resp.GetAccount().GetAccountId()},
		})
		if err != nil || !proto.Equal(resp, byID) {
			t.Errorf("by address %v, by id %v, %v", resp, byID, err)
		}
		return resp.GetAccount().GetEffectivePopDelete()
	}
	if got := effective(); got != directoryv1.PopDelete_POP_DELETE_EXPUNGE {
		t.Errorf("nothing said: %v", got)
	}
	domain := &directoryv1.Domain{Name: "example.test", PopDelete: directoryv1.PopDelete_POP_DELETE_TRASH}
	resp, err := s.admin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: domain})
	if err != nil || resp.GetCreated() || !proto.Equal(resp.GetDomain(), domain) {
		t.Fatalf("put domain: %v, %v", resp, err)
	}
	if got := effective(); got != directoryv1.PopDelete_POP_DELETE_TRASH {
		t.Errorf("said by the domain: %v", got)
	}
	if _, err := s.admin.UpdateAccount(ctx, &directoryv1.UpdateAccountRequest{
		Address: alice, PopDelete: directoryv1.PopDelete_POP_DELETE_KEEP.Enum(),
	}); err != nil {
		t.Fatal(err)
	}
	if got := effective(); got != directoryv1.PopDelete_POP_DELETE_KEEP {
		t.Errorf("said by the account: %v", got)
	}
	for _, req := range []*directoryv1.GetAccountRequest{
		{Key: &directoryv1.GetAccountRequest_AccountId{AccountId: "x"}}, {Key: &directoryv1.GetAccountRequest_Address{Address: "x@example.test"}},
	} {
		if _, err := s.gateway.GetAccount(ctx, req); !fault.Is(err, accountNotFound) {
			t.Errorf("%v: %v", req, err)
		}
	}
	if _, err := s.gateway.GetAccount(ctx, &directoryv1.GetAccountRequest{}); !fault.Is(err, invalid) {
		t.Errorf("no key: %v", err)
	}
}

func TestResolveAndSender(t *testing.T) {
	s := start(t, "--directory-postmaster="+alice)
	ctx := t.Context()
	account, err := s.gateway.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: alice}})
	if err != nil {
		t.Fatal(err)
	}
	id := account.GetAccount().GetAccountId()
	for _, name := range []string{"bob", "carol"} {
		s.create(name+"@example.test", "")
	}
	for _, a := range []*directoryv1.Alias{
		{Address: "team@example.test", Targets: []string{alice, "bob@example.test"}},
		{Address: "others@example.test", Targets: []string{"carol@example.test"}},
	} {
		if _, err := s.admin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: a}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.admin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: &directoryv1.Domain{Name: "catch.test", CatchAll: []string{alice}}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		address string
		status  directoryv1.ResolveResponse_Status
		count   int
		sender  bool
	}{
		{alice, directoryv1.ResolveResponse_STATUS_OK, 1, true},
		{"Alice+books@EXAMPLE.test", directoryv1.ResolveResponse_STATUS_OK, 1, true},
		{"team@example.test", directoryv1.ResolveResponse_STATUS_OK, 2, true},
		{"others@example.test", directoryv1.ResolveResponse_STATUS_OK, 1, false},
		{"bob@example.test", directoryv1.ResolveResponse_STATUS_OK, 1, false},
		{"anything@catch.test", directoryv1.ResolveResponse_STATUS_OK, 1, false},
		{"Postmaster", directoryv1.ResolveResponse_STATUS_OK, 1, true},
		{"postmaster@catch.test", directoryv1.ResolveResponse_STATUS_OK, 1, true},
		{"nobody@example.test", directoryv1.ResolveResponse_STATUS_UNKNOWN, 0, false},
		{"x@foreign.test", directoryv1.ResolveResponse_STATUS_FOREIGN, 0, false},
		{"x@[192.0.2.1]", directoryv1.ResolveResponse_STATUS_FOREIGN, 0, false},
	} {
		resp, err := s.gateway.Resolve(ctx, &directoryv1.ResolveRequest{Address: tt.address})
		if err != nil || resp.GetStatus() != tt.status || len(resp.GetRecipients()) != tt.count {
			t.Errorf("%s: %v, %v", tt.address, resp, err)
		}
		allowed, err := s.gateway.AuthorizeSender(ctx, &directoryv1.AuthorizeSenderRequest{AccountId: id, Address: tt.address})
		if err != nil || allowed.GetAllowed() != tt.sender {
			t.Errorf("sender %s: %v, %v", tt.address, allowed, err)
		}
	}
	resp, err := s.gateway.Resolve(ctx, &directoryv1.ResolveRequest{Address: "alice+Books@example.test"})
	if err != nil || resp.GetRecipients()[0].GetDetail() != "books" || resp.GetRecipients()[0].GetAccountId() != id || resp.GetRecipients()[0].GetAddress() != alice {
		t.Errorf("recipient: %v, %v", resp, err)
	}
	if _, err := s.gateway.Resolve(ctx, &directoryv1.ResolveRequest{Address: "x"}); !fault.Is(err, invalid) {
		t.Errorf("no address: %v", err)
	}
	if n := s.metric("yubin_directory_resolves_total", "status", "foreign"); n != 2 {
		t.Errorf("%v foreign addresses counted, want 2", n)
	}
}

// Without a domain there is no postmaster, and everything is foreign.
func TestEmptyDirectory(t *testing.T) {
	s := open(t, t.TempDir())
	for address, want := range map[string]directoryv1.ResolveResponse_Status{
		"postmaster": directoryv1.ResolveResponse_STATUS_UNKNOWN, "x@example.test": directoryv1.ResolveResponse_STATUS_FOREIGN,
	} {
		resp, err := s.gateway.Resolve(t.Context(), &directoryv1.ResolveRequest{Address: address})
		if err != nil || resp.GetStatus() != want {
			t.Errorf("%s: %v, %v", address, resp, err)
		}
	}
}

func TestAliasesAndDomainsAreListed(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	alias := &directoryv1.Alias{Address: "team@example.test", Targets: []string{alice}}
	for i, created := range []bool{true, false} {
		resp, err := s.admin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: &directoryv1.Alias{
			Address: "TEAM@example.test", Targets: []string{alice, "ALICE@example.test"},
		}})
		if err != nil || resp.GetCreated() != created {
			t.Errorf("put %d: %v, %v", i, resp, err)
		}
	}
	aliases, err := s.admin.ListAliases(ctx, &directoryv1.ListAliasesRequest{Domain: "example.test"})
	if err != nil || len(aliases.GetAliases()) != 1 || !proto.Equal(aliases.GetAliases()[0], alias) {
		t.Errorf("aliases: %v, %v", aliases, err)
	}
	if _, err := s.admin.DeleteAlias(ctx, &directoryv1.DeleteAliasRequest{Address: "team@example.test"}); err != nil {
		t.Error(err)
	}
	domains, err := s.admin.ListDomains(ctx, &directoryv1.ListDomainsRequest{})
	if err != nil || len(domains.GetDomains()) != 1 || domains.GetDomains()[0].GetName() != "example.test" {
		t.Errorf("domains: %v, %v", domains, err)
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	cfg := Config{postmaster: "x@y@z", argon2Memory: 4 * config.GiB}
	errs := cfg.Validate()
	if len(errs) < 10 {
		t.Errorf("%d errors: %v", len(errs), errs)
	}
	for _, err := range errs {
		if !strings.HasPrefix(err.Error(), "--directory-") {
			t.Errorf("%q does not begin with its flag", err)
		}
	}
}
