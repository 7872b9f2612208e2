package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// testReplicas lets two replicas change the same things at the same time.
func testReplicas(t *testing.T, open func() *store.Store) {
	replicas := []*store.Store{open(), open()}
	ctx := t.Context()
	both := func(do func(replica int, s *store.Store) error) {
		t.Helper()
		var wg sync.WaitGroup
		for i, s := range replicas {
			wg.Go(func() {
				if err := do(i, s); err != nil {
					t.Errorf("replica %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	}
	const rounds = 10
	names := make([]string, 4)
	for i := range names {
		names[i] = fmt.Sprintf("d%d.test", i)
	}
	putDomain(t, replicas[0], names...)
	for round := range rounds {
		// An address goes to an account or to an alias.
		taken := addr(t, fmt.Sprintf("r%d@d0.test", round))
		var given atomic.Int32
		both(func(i int, s *store.Store) (err error) {
			if i == 0 {
				_, err = s.CreateAccount(ctx, store.Account{ID: fmt.Sprint("id-", round), Address: taken})
			} else {
				_, err = s.PutAlias(ctx, store.Alias{Address: taken, Targets: []address.Address{addr(t, "x@d1.test")}}, 1)
			}
			if err == nil {
				given.Add(1)
			} else if !errors.Is(err, store.ErrExists) {
				return err
			}
			return nil
		})
		equal(t, given.Load(), int32(1))

		// A domain goes, or an account comes into it.
		name := fmt.Sprintf("gone%d.test", round)
		putDomain(t, replicas[0], name)
		var results [2]error
		both(func(i int, s *store.Store) error {
			if i == 0 {
				results[0] = s.DeleteDomain(ctx, name)
			} else {
				_, results[1] = s.CreateAccount(ctx, store.Account{ID: "g" + name, Address: addr(t, "a@"+name)})
			}
			return nil
		})
		if (results[0] == nil) == (results[1] == nil) {
			t.Errorf("deleting a domain: %v, making an account in it: %v", results[0], results[1])
		}

		// Domains and aliases that name each other's domains, in any order.
		both(func(i int, s *store.Store) error {
			order := slices.Clone(names)
			if i == 1 {
				slices.Reverse(order)
			}
			targets := make([]address.Address, len(order))
			for k, name := range order {
				targets[k] = addr(t, "team@"+name)
			}
			_, first := s.PutAlias(ctx, store.Alias{Address: targets[0], Targets: targets}, 1)
			_, second := s.PutDomain(ctx, store.Domain{Name: order[0], CatchAll: targets}, 1)
			return errors.Join(first, second)
		})
	}
	// Each changes something else of one account, and passwords count up.
	alice := create(t, replicas[0], "alice", "alice@d2.test").Address
	both(func(i int, s *store.Store) error {
		for range rounds {
			_, err := s.UpdateAccount(ctx, alice, func(a *store.Account) {
				if i == 0 {
					a.DisplayName += "x"
				} else {
					a.Disabled = !a.Disabled
				}
			})
			if err := errors.Join(err, s.SetPassword(ctx, alice, store.Credentials{Password: fmt.Sprint(i)})); err != nil {
				return err
			}
		}
		return nil
	})
	got, err := replicas[1].Account(ctx, alice)
	must(t, err)
	if len(got.DisplayName) != rounds || got.Disabled || got.Version != 1+2*rounds {
		t.Errorf("after %d changes by each: %+v", rounds, got)
	}
	// The number of app passwords is bounded for both together.
	both(func(i int, s *store.Store) error {
		for k := range rounds {
			err := s.CreateAppPassword(ctx, alice, store.AppPassword{AccountID: "alice", ID: fmt.Sprint(i, "-", k)}, rounds)
			if err != nil && !errors.Is(err, store.ErrTooMany) {
				return err
			}
		}
		return nil
	})
	list, err := replicas[0].AppPasswords(ctx, "alice")
	must(t, err)
	equal(t, len(list), rounds)
	// Secrets are made once.
	var secrets [2]string
	both(func(i int, s *store.Store) (err error) {
		secrets[i], err = s.Setting(ctx, "secret", fmt.Sprint("of replica ", i))
		return err
	})
	equal(t, secrets[0], secrets[1])
}

func testLoginEvents(t *testing.T, open func() *store.Store) {
	one, other, ctx := open(), open(), t.Context()
	start := time.UnixMilli(1_700_000_000_000)
	event := func(i int) throttle.Event {
		e := throttle.Event{At: start.Add(time.Duration(i/3) * time.Second), Account: throttle.Account{byte(i), 255}, Success: i%2 == 0}
		if i%4 > 0 {
			e.IP = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		}
		return e
	}
	const n = 2500 // several pages
	var events []throttle.Event
	for i := range n {
		events = append(events, event(i))
	}
	must(t, one.RecordLogins(ctx, "one", events))
	must(t, other.RecordLogins(ctx, "other", []throttle.Event{event(0)}))
	read := func(replica string, from time.Time) map[throttle.Event]int {
		t.Helper()
		got, ids := map[throttle.Event]int{}, map[string]bool{}
		must(t, other.Logins(ctx, replica, from, func(id string, e throttle.Event) {
			if ids[id] {
				t.Errorf("%s was given twice", id)
			}
			ids[id] = true
			got[e]++
		}))
		return got
	}
	all := map[throttle.Event]int{}
	for _, e := range events {
		all[e]++
	}
	equal(t, read("other", start.Add(-time.Second)), all)
	equal(t, read("one", start), map[throttle.Event]int{event(0): 1})
	equal(t, read("other", event(n-1).At), map[throttle.Event]int{event(n - 1): 1})
	must(t, one.ForgetLogins(ctx, event(n-1).At))
	equal(t, read("other", start), map[throttle.Event]int{event(n - 1): 1})
}
