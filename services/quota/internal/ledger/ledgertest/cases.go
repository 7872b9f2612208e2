package ledgertest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

func testMissing(t *testing.T, open Open) {
	f := setup(t, open, "a")
	_, err := f.Reserve(t.Context(), []ledger.Reservation{
		{ID: "1", AccountID: "c", Amount: amount(1, 1)}, {ID: "2", AccountID: "a", Amount: amount(1, 1)}, {ID: "3", AccountID: "b", Amount: amount(1, 1)},
	})
	wantMissing(t, err, "b", "c")
	f.wantUsage("a", amount(0, 0), amount(0, 0))
	_, err = f.Usage(t.Context(), "b")
	wantMissing(t, err, "b")
	_, _, err = f.Check(t.Context(), "b", amount(1, 1))
	wantMissing(t, err, "b")
	wantMissing(t, f.SetLimit(t.Context(), ledger.Scope{AccountID: "b"}, limit(new(int64(1)), nil)), "b")
}

func testReserve(t *testing.T, open Open) {
	f := setup(t, open, "a", "b")
	results, err := f.Reserve(t.Context(), []ledger.Reservation{
		{ID: "1", AccountID: "b", Amount: amount(60, 1)},
		{ID: "2", AccountID: "a", Amount: amount(100, 1)},
		{ID: "3", AccountID: "b", Amount: amount(41, 1)}, // does not fit beside 1
		{ID: "4", AccountID: "b", Amount: amount(40, 1)}, // does
		{ID: "5", AccountID: "a", Amount: amount(1, 1)},
	})
	f.must(err)
	for i, want := range []bool{true, true, false, true, false} {
		if results[i].Granted != want {
			t.Errorf("reservation %d granted: %v, want %v", i+1, results[i].Granted, want)
		}
	}
	refused := results[2].Usage
	if refused.AccountID != "b" || refused.Limit.Bytes != 100 || refused.Reserved != amount(60, 1) {
		t.Errorf("refusal tells usage %+v", refused)
	}
	f.wantUsage("b", amount(0, 0), amount(100, 2))
	f.must(f.Release(t.Context(), []string{"1", "unknown", "2"}))
	f.must(f.Release(t.Context(), []string{"1"}))
	f.wantUsage("b", amount(0, 0), amount(40, 1))
	f.wantUsage("a", amount(0, 0), amount(0, 0))
}

func testReserveAgain(t *testing.T, open Open) {
	f := setup(t, open, "a", "b")
	for range 2 {
		if !f.reserve("a", "1", 100) {
			t.Fatal("refused")
		}
	}
	f.wantUsage("a", amount(0, 0), amount(100, 1))
	for _, other := range []ledger.Reservation{
		{ID: "1", AccountID: "b", Amount: amount(100, 1)},
		{ID: "1", AccountID: "a", Amount: amount(99, 1)},
	} {
		if _, err := f.Reserve(t.Context(), []ledger.Reservation{other}); !errors.Is(err, ledger.ErrReused) {
			t.Errorf("reuse of an id by %+v: error %v", other, err)
		}
	}
}

func testExempt(t *testing.T, open Open) {
	f := setup(t, open, "a")
	results, err := f.Reserve(t.Context(), []ledger.Reservation{{ID: "1", AccountID: "a", Amount: amount(150, 1), Exempt: true}})
	f.must(err)
	if !results[0].Granted {
		t.Error("an exempt reservation was refused")
	}
	f.wantUsage("a", amount(0, 0), amount(150, 1))
	if f.reserve("a", "2", 1) {
		t.Error("granted over the limit")
	}
}

func testCheck(t *testing.T, open Open) {
	f := setup(t, open, "a")
	f.must(f.SetLimit(t.Context(), ledger.Scope{AccountID: "a"}, limit(nil, new(int64(2)))))
	f.reserve("a", "1", 70)
	for _, c := range []struct {
		n    ledger.Amount
		fits bool
	}{
		{amount(30, 1), true}, {amount(31, 1), false}, {amount(1, 2), false}, {amount(0, 0), true},
	} {
		fits, usage, err := f.Check(t.Context(), "a", c.n)
		f.must(err)
		if fits != c.fits || usage.Reserved != amount(70, 1) || usage.Limit != amount(100, 2) {
			t.Errorf("check of %v: %v with %+v", c.n, fits, usage)
		}
	}
	f.clock.pass(ttl)
	if fits, usage, err := f.Check(t.Context(), "a", amount(100, 1)); !fits || err != nil || usage.Reserved != amount(0, 0) {
		t.Errorf("an expired reservation counts: %+v, %v", usage, err)
	}
}

func testExpiry(t *testing.T, open Open) {
	f := setup(t, open, "a", "b")
	f.reserve("a", "1", 60)
	f.reserve("b", "2", 60)
	f.clock.pass(ttl - time.Millisecond)
	if f.reserve("a", "3", 50) {
		t.Error("a reservation expired too early")
	}
	if n, err := f.Expire(t.Context()); n != 0 || err != nil {
		t.Errorf("expired %d too early, %v", n, err)
	}
	f.clock.pass(time.Millisecond)
	if !f.reserve("a", "3", 50) {
		t.Error("an expired reservation still counts")
	}
	if n, err := f.Expire(t.Context()); n != 1 || err != nil {
		t.Errorf("expired %d reservations, %v; want that of b", n, err)
	}
	f.wantUsage("b", amount(0, 0), amount(0, 0))
	// The write had committed all the same.
	f.settle("b", 1, 60, 1, "2")
	f.wantUsage("b", amount(60, 1), amount(0, 0))
}

func testRenewal(t *testing.T, open Open) {
	f := setup(t, open, "a")
	for range 3 {
		if !f.reserve("a", "1", 60) {
			t.Error("a reservation was not renewed")
		}
		f.wantUsage("a", amount(0, 0), amount(60, 1))
		f.clock.pass(ttl - time.Millisecond)
		if n, err := f.Expire(t.Context()); n != 0 || err != nil {
			t.Errorf("expired %d reservations, %v", n, err)
		}
	}
	f.clock.pass(time.Millisecond)
	if !f.reserve("a", "2", 60) || f.reserve("a", "1", 60) {
		t.Error("an expired reservation was renewed, though its capacity is taken")
	}
}

func testSettle(t *testing.T, open Open) {
	f := setup(t, open, "a")
	f.reserve("a", "1", 10)
	f.reserve("a", "2", 20)
	f.clock.pass(time.Second)
	s := f.settle("a", 1, 10, 1, "1")
	if s.Applied["a"] != 1 || s.Events != 1 || s.Duplicates != 0 || len(s.Gaps) != 0 || !slices.Equal(s.Lags, []time.Duration{time.Second}) {
		t.Errorf("settlement %+v", s)
	}
	f.wantUsage("a", amount(10, 1), amount(20, 1))
	if s := f.settle("a", 1, 10, 1, "1"); s.Applied["a"] != 1 || s.Events != 0 || s.Duplicates != 1 {
		t.Errorf("duplicate: %+v", s)
	}
	if s := f.settle("a", 3, 30, 1); s.Applied["a"] != 1 || s.Events != 0 || !slices.Equal(s.Gaps, []string{"a"}) {
		t.Errorf("gap: %+v", s)
	}
	f.wantUsage("a", amount(10, 1), amount(20, 1))
	s, err := f.Settle(t.Context(), []ledger.Event{
		{AccountID: "a", Sequence: 1, Delta: amount(10, 1)},
		{AccountID: "a", Sequence: 2, Delta: amount(20, 1), ReservationIDs: []string{"2"}},
		{AccountID: "a", Sequence: 3, Delta: amount(-10, -1)},
		{AccountID: "a", Sequence: 3, Delta: amount(-10, -1)},
		{AccountID: "a", Sequence: 5, Delta: amount(1, 1)},
	})
	f.must(err)
	if s.Applied["a"] != 3 || s.Events != 2 || s.Duplicates != 2 || len(s.Gaps) != 1 {
		t.Errorf("mixed: %+v", s)
	}
	f.wantUsage("a", amount(20, 1), amount(0, 0))
}

func testSettleSeveral(t *testing.T, open Open) {
	f := setup(t, open, "a", "b")
	s, err := f.Settle(t.Context(), []ledger.Event{
		{AccountID: "b", Sequence: 1, Delta: amount(1, 1)},
		{AccountID: "nobody", Sequence: 1, Delta: amount(1, 1)},
		{AccountID: "a", Sequence: 2, Delta: amount(1, 1)},
		{AccountID: "b", Sequence: 2, Delta: amount(1, 1)},
	})
	f.must(err)
	want := map[string]int64{"a": 0, "b": 2}
	if !reflect.DeepEqual(s.Applied, want) || !slices.Equal(s.Missing, []string{"nobody"}) || !slices.Equal(s.Gaps, []string{"a"}) {
		t.Errorf("settlement %+v", s)
	}
}

func testLimits(t *testing.T, open Open) {
	f := setup(t, open, "a", "b")
	f.must(f.Open(t.Context(), ledger.Account{ID: "c", Domain: "other.test"}))
	limits := func() (out [3]ledger.Amount) {
		for i, id := range []string{"a", "b", "c"} {
			u, err := f.Usage(t.Context(), id)
			f.must(err)
			out[i] = u.Limit
		}
		return out
	}
	const none = ledger.Unlimited
	steps := []struct {
		scope ledger.Scope
		limit ledger.Limit
		want  [3]ledger.Amount
	}{
		{ledger.Scope{}, limit(nil, new(int64(9))), [3]ledger.Amount{amount(100, 9), amount(100, 9), amount(100, 9)}},
		{ledger.Scope{Domain: "example.test"}, limit(new(int64(50)), nil), [3]ledger.Amount{amount(50, 9), amount(50, 9), amount(100, 9)}},
		{ledger.Scope{AccountID: "a"}, limit(new(int64(0)), new(int64(none))), [3]ledger.Amount{amount(0, none), amount(50, 9), amount(100, 9)}},
		{ledger.Scope{}, limit(new(int64(none)), nil), [3]ledger.Amount{amount(0, none), amount(50, none), amount(none, none)}},
	}
	for _, s := range steps {
		f.must(f.SetLimit(t.Context(), s.scope, s.limit))
		if got := limits(); got != s.want {
			t.Errorf("after %+v: limits %v, want %v", s.scope, got, s.want)
		}
	}
	listed, err := f.Limits(t.Context())
	f.must(err)
	want := []ledger.ScopedLimit{
		{Limit: limit(new(int64(none)), nil)},
		{Scope: ledger.Scope{Domain: "example.test"}, Limit: limit(new(int64(50)), nil)},
		{Scope: ledger.Scope{AccountID: "a"}, Limit: limit(new(int64(0)), new(int64(none)))},
	}
	if !reflect.DeepEqual(listed, want) {
		t.Errorf("limits %+v, want %+v", listed, want)
	}
	if f.reserve("a", "1", 1) || !f.reserve("c", "2", 1<<40) {
		t.Error("the limits 0 and none do not hold")
	}
	for _, scope := range []ledger.Scope{{}, {Domain: "example.test"}, {AccountID: "a"}} {
		f.must(f.SetLimit(t.Context(), scope, ledger.Limit{}))
	}
	if got := limits(); got != [3]ledger.Amount{amount(100, none), amount(100, none), amount(100, none)} {
		t.Errorf("after all were taken away: limits %v", got)
	}
}

func testRepair(t *testing.T, open Open) {
	f := setup(t, open, "a")
	f.reserve("a", "7", 30)
	f.settle("a", 1, 10, 1)
	at, err := f.Position(t.Context(), "a")
	f.must(err)
	f.settle("a", 2, 10, 1)
	if done, err := f.Repair(t.Context(), at, amount(50, 5), 7); done || err != nil {
		t.Errorf("repaired an account that had moved: %v, %v", done, err)
	}
	at, err = f.Position(t.Context(), "a")
	f.must(err)
	if done, err := f.Repair(t.Context(), at, amount(50, 5), 7); !done || err != nil {
		t.Errorf("repair: %v, %v", done, err)
	}
	// The repair took event 7 into account; its reservation goes when the event comes.
	f.settle("a", 7, 30, 1, "7")
	f.wantUsage("a", amount(50, 5), amount(0, 0))
	f.settle("a", 8, -50, -5)
	f.wantUsage("a", amount(0, 0), amount(0, 0))
}

func testForget(t *testing.T, open Open) {
	f := setup(t, open, "a")
	f.reserve("a", "1", 10)
	f.settle("a", 1, 95, 1)
	f.must(f.Forget(t.Context(), "a"))
	f.must(f.Forget(t.Context(), "a"))
	_, err := f.Usage(t.Context(), "a")
	wantMissing(t, err, "a")
	if notices, err := f.Notices(t.Context(), 10); len(notices) != 0 || err != nil {
		t.Errorf("notices %v, %v", notices, err)
	}
	f.must(f.Open(t.Context(), ledger.Account{ID: "a", Domain: "example.test"}))
	if !f.reserve("a", "1", 100) {
		t.Error("the forgotten account's usage is still there")
	}
}

func testList(t *testing.T, open Open) {
	accounts := make([]string, 25)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("account-%02d", i)
	}
	f := setup(t, open, accounts...)
	var got []string
	for after := ""; ; {
		page, err := f.ListUsage(t.Context(), after, 10)
		f.must(err)
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			got = append(got, u.AccountID)
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, accounts) {
		t.Errorf("listed %v", got)
	}
}

func testNotices(t *testing.T, open Open) {
	f := setup(t, open, "a")
	f.settle("a", 1, 79, 1)
	f.settle("a", 2, 3, 1)
	f.settle("a", 3, 15, 1)
	f.settle("a", 4, -50, -1)
	f.settle("a", 5, 50, 1)
	f.settle("a", 5, 50, 1)
	var levels []int
	for {
		notices, err := f.Notices(t.Context(), 1)
		f.must(err)
		if len(notices) == 0 {
			break
		}
		n := notices[0]
		levels = append(levels, n.Level)
		if want := fmt.Sprintf("quota-a-%d", len(levels)); n.ID() != want || n.Refused || n.Limit.Bytes != 100 {
			t.Errorf("notice %+v", n)
		}
		if first, err := f.Delivered(t.Context(), n); !first || err != nil {
			t.Errorf("delivered: %v, %v", first, err)
		}
	}
	if !slices.Equal(levels, []int{80, 90, 90}) {
		t.Errorf("warned at %v, want 80, 90 and again 90", levels)
	}
}

func testRefusalNotice(t *testing.T, open Open) {
	f := setup(t, open, "a")
	f.settle("a", 1, 70, 1)
	f.reserve("a", "1", 31) // too large, but the mailbox is not full
	f.settle("a", 2, 22, 1)
	for i := range 3 {
		f.reserve("a", fmt.Sprint("again", i), 9)
		if fits, _, err := f.Check(t.Context(), "a", amount(9, 1)); fits || err != nil {
			t.Fatalf("fits: %v, %v", fits, err)
		}
	}
	notices, err := f.Notices(t.Context(), 10)
	f.must(err)
	if len(notices) != 2 || notices[0].Level != 90 || notices[0].Refused || notices[1].Level != 100 || !notices[1].Refused || notices[1].Used.Bytes != 92 {
		t.Errorf("notices %+v", notices)
	}
}
