// Package storetest is what every database must pass to hold a directory.
package storetest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/yubin-mail/yubin/pkg/address"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Run tests the stores that open makes: each call makes an empty database, and what it returns gives a store on that, as
// another replica would have. The test's cleanup closes them.
func Run(t *testing.T, open func(t *testing.T) func() *store.Store) {
	for name, test := range map[string]func(*testing.T, func() *store.Store){
		"Replicas":    testReplicas,
		"LoginEvents": testLoginEvents,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for name, test := range map[string]func(*testing.T, *store.Store){
		"Domains":        testDomains,
		"Accounts":       testAccounts,
		"AccountPages":   testAccountPages,
		"Passwords":      testPasswords,
		"AppPasswords":   testAppPasswords,
		"Aliases":        testAliases,
		"OneNameOnly":    testOneName,
		"ConcurrentMake": testConcurrentCreate,
		"Settings":       testSettings,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)()) })
	}
}

func addr(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func putDomain(t *testing.T, s *store.Store, names ...string) {
	t.Helper()
	for i, name := range names {
		_, err := s.PutDomain(t.Context(), store.Domain{Name: name}, int64(1000-i))
		must(t, err)
	}
}

func create(t *testing.T, s *store.Store, id, text string) store.Account {
	t.Helper()
	a, err := s.CreateAccount(t.Context(), store.Account{ID: id, Address: addr(t, text), Created: 7})
	must(t, err)
	return a
}

func testDomains(t *testing.T, s *store.Store) {
	ctx := t.Context()
	d := store.Domain{
		Name: "b.test", CatchAll: []address.Address{addr(t, "all@b.test"), addr(t, `"x y"@b.test`)},
		PopDelete: directoryv1.PopDelete_POP_DELETE_TRASH, NoSubaddress: true, Disabled: true,
	}
	created, err := s.PutDomain(ctx, d, 100)
	must(t, err)
	equal(t, created, true)
	created, err = s.PutDomain(ctx, store.Domain{Name: "a.test"}, 200)
	must(t, err)
	equal(t, created, true)
	_, err = s.PutDomain(ctx, store.Domain{Name: "c.test", CatchAll: []address.Address{addr(t, "x@d.test")}}, 300)
	want(t, err, store.ErrNoDomain)
	domains, err := s.Domains(ctx)
	must(t, err)
	equal(t, domains, []store.Domain{{Name: "a.test"}, d})

	d.CatchAll, d.PopDelete, d.Disabled = nil, directoryv1.PopDelete_POP_DELETE_KEEP, false
	created, err = s.PutDomain(ctx, d, 300)
	must(t, err)
	equal(t, created, false)
	must(t, s.Read(ctx, "test", func(v store.Snapshot) error {
		got, err := v.Domain(ctx, "b.test")
		equal(t, got, d)
		if err != nil {
			return err
		}
		first, err := v.FirstDomain(ctx)
		equal(t, first, d)
		if err != nil {
			return err
		}
		_, err = v.Domain(ctx, "c.test")
		want(t, err, store.ErrNotFound)
		return nil
	}))

	create(t, s, "1", "x@b.test")
	want(t, s.DeleteDomain(ctx, "b.test"), store.ErrNotEmpty)
	_, err = s.DeleteAccount(ctx, addr(t, "x@b.test"))
	must(t, err)
	_, err = s.PutAlias(ctx, store.Alias{Address: addr(t, "y@b.test"), Targets: []address.Address{addr(t, "x@b.test")}}, 1)
	must(t, err)
	want(t, s.DeleteDomain(ctx, "b.test"), store.ErrNotEmpty)
	must(t, s.DeleteAlias(ctx, addr(t, "y@b.test")))
	must(t, s.DeleteDomain(ctx, "b.test"))
	want(t, s.DeleteDomain(ctx, "b.test"), store.ErrNotFound)
}

func testAccounts(t *testing.T, s *store.Store) {
	ctx := t.Context()
	_, err := s.PutDomain(ctx, store.Domain{Name: "a.test", PopDelete: directoryv1.PopDelete_POP_DELETE_TRASH}, 1)
	must(t, err)
	in := store.Account{
		ID: "id-1", Address: addr(t, "alice@a.test"), DisplayName: "Алиса 愛麗絲", Disabled: true, PopDelete: directoryv1.PopDelete_POP_DELETE_KEEP, Created: 42,
		Credentials: store.Credentials{Password: "phc", Scram: "keys"},
	}
	stored, err := s.CreateAccount(ctx, in)
	must(t, err)
	in.Version, in.DomainPopDelete = 1, directoryv1.PopDelete_POP_DELETE_TRASH
	equal(t, stored, in)
	got, err := s.Account(ctx, in.Address)
	must(t, err)
	equal(t, got, in)
	got, err = s.AccountByID(ctx, "id-1")
	must(t, err)
	equal(t, got, in)

	updated, err := s.UpdateAccount(ctx, in.Address, func(a *store.Account) {
		a.DisplayName, a.Disabled, a.PopDelete = "Alice", false, 0
	})
	must(t, err)
	in.DisplayName, in.Disabled, in.PopDelete = "Alice", false, 0
	equal(t, updated, in)
	got, err = s.Account(ctx, in.Address)
	must(t, err)
	equal(t, got, in)

	_, err = s.CreateAccount(ctx, store.Account{ID: "id-2", Address: in.Address})
	want(t, err, store.ErrExists)
	_, err = s.CreateAccount(ctx, store.Account{ID: "id-2", Address: addr(t, "x@nowhere.test")})
	want(t, err, store.ErrNoDomain)
	id, err := s.DeleteAccount(ctx, in.Address)
	must(t, err)
	equal(t, id, "id-1")
	_, err = s.DeleteAccount(ctx, in.Address)
	want(t, err, store.ErrNotFound)
	_, err = s.Account(ctx, in.Address)
	want(t, err, store.ErrNotFound)
	_, err = s.AccountByID(ctx, "id-1")
	want(t, err, store.ErrNotFound)
	_, err = s.UpdateAccount(ctx, in.Address, func(*store.Account) {})
	want(t, err, store.ErrNotFound)
}

func testAccountPages(t *testing.T, s *store.Store) {
	putDomain(t, s, "a.test", "b.test", "c.test")
	order := []string{"a@a.test", "b@a.test", "a@b.test", "b@b.test", "c@b.test", "a@c.test"}
	for i := range order {
		text := order[(i*5+2)%len(order)] // not in order
		create(t, s, text, text)
	}
	list := func(domain, after string, limit int) (out []string) {
		t.Helper()
		var from address.Address
		if after != "" {
			from = addr(t, after)
		}
		accounts, err := s.Accounts(t.Context(), domain, from, limit)
		must(t, err)
		for _, a := range accounts {
			out = append(out, a.Address.String())
		}
		return out
	}
	equal(t, list("", "", 100), order)
	equal(t, list("", "", 4), order[:4])
	equal(t, list("", "b@b.test", 100), order[4:])
	equal(t, list("", "zz@a.test", 1), order[2:3])
	equal(t, list("b.test", "", 100), order[2:5])
	equal(t, list("b.test", "a@b.test", 1), order[3:4])
	equal(t, list("b.test", "c@b.test", 1), []string(nil))
	equal(t, list("z.test", "", 1), []string(nil))
}

func testPasswords(t *testing.T, s *store.Store) {
	ctx := t.Context()
	putDomain(t, s, "a.test")
	alice := create(t, s, "1", "alice@a.test").Address
	credentials := func() store.Credentials {
		t.Helper()
		a, err := s.Account(ctx, alice)
		must(t, err)
		return a.Credentials
	}
	equal(t, credentials(), store.Credentials{Version: 1})
	must(t, s.SetPassword(ctx, alice, store.Credentials{Password: "p2", Scram: "s2"}))
	equal(t, credentials(), store.Credentials{Version: 2, Password: "p2", Scram: "s2"})
	must(t, s.RenewPassword(ctx, alice, store.Credentials{Version: 2, Password: "p2'", Scram: "s2'"}))
	equal(t, credentials(), store.Credentials{Version: 2, Password: "p2'", Scram: "s2'"})
	must(t, s.RenewPassword(ctx, alice, store.Credentials{Version: 1, Password: "stale"}))
	equal(t, credentials(), store.Credentials{Version: 2, Password: "p2'", Scram: "s2'"})
	want(t, s.SetPassword(ctx, addr(t, "bob@a.test"), store.Credentials{}), store.ErrNotFound)
}

func testAppPasswords(t *testing.T, s *store.Store) {
	ctx := t.Context()
	putDomain(t, s, "a.test")
	alice := create(t, s, "1", "alice@a.test").Address
	p := store.AppPassword{AccountID: "1", ID: "x", Label: "phone", Protocols: []string{"imap", "smtp"}, Digest: "d", Scram: "s", Created: 5}
	q := store.AppPassword{AccountID: "1", ID: "w", Label: "PC", Protocols: []string{}, Created: 6}
	must(t, s.CreateAppPassword(ctx, alice, p, 2))
	want(t, s.CreateAppPassword(ctx, alice, p, 2), store.ErrExists)
	must(t, s.CreateAppPassword(ctx, alice, q, 2))
	want(t, s.CreateAppPassword(ctx, alice, store.AppPassword{AccountID: "1", ID: "y"}, 2), store.ErrTooMany)
	want(t, s.CreateAppPassword(ctx, alice, store.AppPassword{AccountID: "other", ID: "y"}, 9), store.ErrNotFound)
	list, err := s.AppPasswords(ctx, "1")
	must(t, err)
	equal(t, list, []store.AppPassword{p, q})

	must(t, s.TouchAppPassword(ctx, "1", "x", 77))
	must(t, s.TouchAppPassword(ctx, "1", "x", 76)) // a replica whose clock is behind
	p.LastUsed = 77
	got, err := s.AppPassword(ctx, "1", "x")
	must(t, err)
	equal(t, got, p)

	must(t, s.DeleteAppPassword(ctx, alice, "x"))
	want(t, s.DeleteAppPassword(ctx, alice, "x"), store.ErrNotFound)
	want(t, s.DeleteAppPassword(ctx, addr(t, "bob@a.test"), "w"), store.ErrNotFound)
	_, err = s.DeleteAccount(ctx, alice)
	must(t, err)
	_, err = s.AppPassword(ctx, "1", "w")
	want(t, err, store.ErrNotFound)
}

func testAliases(t *testing.T, s *store.Store) {
	ctx := t.Context()
	putDomain(t, s, "b.test", "a.test")
	one := store.Alias{Address: addr(t, "team@b.test"), Targets: []address.Address{addr(t, "x@b.test"), addr(t, `"y,z"@a.test`)}}
	two := store.Alias{Address: addr(t, "team@a.test"), Targets: []address.Address{addr(t, "x@b.test")}}
	for _, a := range []store.Alias{one, two} {
		created, err := s.PutAlias(ctx, a, 1)
		must(t, err)
		equal(t, created, true)
	}
	one.Targets = one.Targets[1:]
	created, err := s.PutAlias(ctx, one, 2)
	must(t, err)
	equal(t, created, false)
	list, err := s.Aliases(ctx, "")
	must(t, err)
	equal(t, list, []store.Alias{two, one})
	list, err = s.Aliases(ctx, "b.test")
	must(t, err)
	equal(t, list, []store.Alias{one})
	_, err = s.PutAlias(ctx, store.Alias{Address: addr(t, "x@c.test")}, 1)
	want(t, err, store.ErrNoDomain)
	_, err = s.PutAlias(ctx, store.Alias{Address: addr(t, "x@a.test"), Targets: []address.Address{addr(t, "x@c.test")}}, 1)
	want(t, err, store.ErrNoDomain)
	must(t, s.DeleteAlias(ctx, one.Address))
	want(t, s.DeleteAlias(ctx, one.Address), store.ErrNotFound)
	must(t, s.Read(ctx, "test", func(v store.Snapshot) error {
		_, err := v.Alias(ctx, one.Address)
		want(t, err, store.ErrNotFound)
		got, err := v.Alias(ctx, two.Address)
		equal(t, got, two)
		return err
	}))
}

// An address is an account's or an alias's, never both.
func testOneName(t *testing.T, s *store.Store) {
	putDomain(t, s, "a.test")
	create(t, s, "1", "alice@a.test")
	_, err := s.PutAlias(t.Context(), store.Alias{Address: addr(t, "alice@a.test"), Targets: []address.Address{addr(t, "x@a.test")}}, 1)
	want(t, err, store.ErrExists)
	_, err = s.PutAlias(t.Context(), store.Alias{Address: addr(t, "team@a.test"), Targets: []address.Address{addr(t, "x@a.test")}}, 1)
	must(t, err)
	_, err = s.CreateAccount(t.Context(), store.Account{ID: "2", Address: addr(t, "team@a.test")})
	want(t, err, store.ErrExists)
}

func testConcurrentCreate(t *testing.T, s *store.Store) {
	putDomain(t, s, "a.test")
	a := addr(t, "alice@a.test")
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := s.CreateAccount(context.WithoutCancel(t.Context()), store.Account{ID: string(rune('a' + i)), Address: a})
			switch {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, store.ErrExists):
				t.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	equal(t, made.Load(), int32(1))
}

func testSettings(t *testing.T, s *store.Store) {
	for _, value := range []string{"first", "second"} {
		got, err := s.Setting(t.Context(), "name", value)
		must(t, err)
		equal(t, got, "first")
	}
}
