package ledgertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

func testReplicas(t *testing.T, open Open) {
	f := setup(t, open, "a")
	other := f.replica()
	f.must(other.SetLimit(t.Context(), ledger.Scope{AccountID: "a"}, limit(new(int64(200)), nil)))
	if !f.reserve("a", "1", 150) {
		t.Error("a limit that another replica raised does not hold at once")
	}
	if results, err := other.Reserve(t.Context(), []ledger.Reservation{{ID: "2", AccountID: "a", Amount: amount(51, 1)}}); err != nil || results[0].Granted {
		t.Errorf("the other replica overshoots: %v, %v", results, err)
	}
}

// testLargeBatches lets two replicas reserve and settle for many accounts at a time, in opposite orders.
func testLargeBatches(t *testing.T, open Open) {
	const accounts, rounds = 60, 4
	ids := make([]string, accounts)
	for i := range ids {
		ids[i] = fmt.Sprintf("account-%02d", i)
	}
	f := setup(t, open, ids...)
	var wg sync.WaitGroup
	for r, l := range []*ledger.Ledger{f.Ledger, f.replica()} {
		wg.Go(func() {
			for round := range rounds {
				var reservations []ledger.Reservation
				var names []string
				for i := range ids {
					if r == 1 {
						i = accounts - 1 - i
					}
					name := fmt.Sprintf("%d-%d-%d", r, round, i)
					names = append(names, name)
					reservations = append(reservations, ledger.Reservation{ID: name, AccountID: ids[i], Amount: amount(20, 1)})
				}
				results, err := l.Reserve(t.Context(), reservations)
				if err != nil {
					t.Error(err)
					return
				}
				for _, result := range results {
					if !result.Granted {
						t.Errorf("refused at %v", result.Usage)
					}
				}
				if round%2 == 0 {
					if err := l.Release(t.Context(), names); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	// Each replica has kept two reservations of 20 bytes, which fit.
	var events []ledger.Event
	for i, id := range ids {
		f.wantUsage(id, amount(0, 0), amount(80, 4))
		for r := range 2 {
			for k, round := range []int{1, 3} {
				events = append(events, ledger.Event{AccountID: id, Sequence: int64(r*2 + k + 1), Delta: amount(20, 1),
					ReservationIDs: []string{fmt.Sprintf("%d-%d-%d", r, round, i)}})
			}
		}
	}
	replicas := []*ledger.Ledger{f.Ledger, f.replica(), f.replica()}
	applied := make([]int, len(replicas))
	for r, l := range replicas { // all of them settle all
		wg.Go(func() {
			s, err := l.Settle(t.Context(), events)
			if err != nil {
				t.Error(err)
				return
			}
			applied[r] = s.Events
		})
	}
	wg.Wait()
	if sum := applied[0] + applied[1] + applied[2]; sum != len(events) {
		t.Errorf("%d of %d events were applied", sum, len(events))
	}
	for _, id := range ids {
		f.wantUsage(id, amount(80, 4), amount(0, 0))
	}
	if notices, err := f.Notices(t.Context(), 1000); err != nil || len(notices) != accounts {
		t.Errorf("%d notices for %d accounts that reached 80 %%, %v", len(notices), accounts, err)
	}
}

// testForgetAndReserve deletes and opens an account while another replica writes into it: nothing of the old one may stay.
func testForgetAndReserve(t *testing.T, open Open) {
	f := setup(t, open, "a")
	other := f.replica()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			if err := errors.Join(other.Forget(t.Context(), "a"), other.Open(t.Context(), ledger.Account{ID: "a", Domain: "example.test"})); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 60 {
		_, err := f.Reserve(t.Context(), []ledger.Reservation{{ID: fmt.Sprint(i), AccountID: "a", Amount: amount(10, 1)}})
		if _, missing := errors.AsType[*ledger.MissingError](err); err != nil && !missing {
			t.Error(err)
		}
	}
	wg.Wait()
	f.clock.pass(ttl)
	_, err := f.Expire(t.Context())
	f.must(err)
	f.wantUsage("a", amount(0, 0), amount(0, 0))
	f.must(f.Forget(t.Context(), "a"))
	f.must(f.Open(t.Context(), ledger.Account{ID: "a", Domain: "example.test"}))
	if n, err := f.Expire(t.Context()); n != 0 || err != nil {
		t.Errorf("%d reservations of an account that is gone, %v", n, err)
	}
}

func testOneIDTwoAccounts(t *testing.T, open Open) {
	f := setup(t, open, "a", "b")
	other := f.replica()
	for i := range 20 {
		var errs [2]error
		var wg sync.WaitGroup
		for k, l := range []*ledger.Ledger{f.Ledger, other} {
			wg.Go(func() {
				_, errs[k] = l.Reserve(t.Context(), []ledger.Reservation{{ID: fmt.Sprint(i), AccountID: []string{"a", "b"}[k], Amount: amount(1, 1)}})
			})
		}
		wg.Wait()
		granted := 0
		for _, err := range errs {
			if err == nil {
				granted++
			} else if !errors.Is(err, ledger.ErrReused) {
				t.Error(err)
			}
		}
		if granted != 1 {
			t.Errorf("%d accounts hold reservation %d", granted, i)
		}
	}
}

func testNoticeTwoSenders(t *testing.T, open Open) {
	f := setup(t, open, "a")
	other := f.replica()
	f.settle("a", 1, 85, 1)
	for _, l := range []*ledger.Ledger{f.Ledger, other} {
		notices, err := l.Notices(t.Context(), 10)
		f.must(err)
		if len(notices) != 1 || notices[0].ID() != "quota-a-1" {
			t.Fatalf("notices %+v", notices)
		}
	}
	n := ledger.Notice{AccountID: "a", Number: 1}
	first, err := other.Delivered(t.Context(), n)
	f.must(err)
	second, err := f.Delivered(t.Context(), n)
	f.must(err)
	if !first || second {
		t.Errorf("the senders were first: %v and %v", first, second)
	}
}

func testWhoReconciles(t *testing.T, open Open) {
	const every, lease = time.Hour, time.Minute
	f := setup(t, open)
	other := f.replica()
	claim := func(l *ledger.Ledger, holder string, want bool) {
		t.Helper()
		if mine, err := l.ClaimReconciliation(t.Context(), holder, every, lease); mine != want || err != nil {
			t.Fatalf("%s claims: %v, %v, want %v", holder, mine, err, want)
		}
	}
	if last, err := f.LastReconciliation(t.Context()); !last.Finished.IsZero() || err != nil {
		t.Errorf("before the first: %+v, %v", last, err)
	}
	claim(f.Ledger, "one", true)
	claim(other, "two", false)
	f.clock.pass(lease / 2)
	claim(f.Ledger, "one", true)
	f.clock.pass(lease * 3 / 4)
	claim(other, "two", false)
	f.clock.pass(lease / 4)
	claim(other, "two", true) // one has died
	claim(f.Ledger, "one", false)
	f.must(f.AbandonReconciliation(t.Context(), "one"))
	claim(f.Ledger, "one", false)
	f.must(other.AbandonReconciliation(t.Context(), "two"))
	claim(f.Ledger, "one", true)
	f.must(f.FinishReconciliation(t.Context(), amount(7, 1)))
	claim(f.Ledger, "one", false)
	claim(other, "two", false)
	last, err := other.LastReconciliation(t.Context())
	if f.must(err); !last.Finished.Equal(f.clock.Now()) || last.Drift != amount(7, 1) {
		t.Errorf("the last: %+v", last)
	}
	f.clock.pass(every)
	claim(other, "two", true)
}
