package ledgertest

import (
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// testTotals has one of two replicas take the sums, and both show them.
func testTotals(t *testing.T, open Open) {
	const every, lease = 10 * time.Minute, time.Minute
	f := setup(t, open, "a", "b")
	other := f.replica()
	claim := func(l *ledger.Ledger, holder string, want bool) {
		t.Helper()
		if mine, err := l.ClaimTotals(t.Context(), holder, every, lease); mine != want || err != nil {
			t.Fatalf("%s claims: %v, %v, want %v", holder, mine, err, want)
		}
	}
	if last, history, err := f.LastTotals(t.Context()); !last.Taken.IsZero() || len(history) != 0 || err != nil {
		t.Errorf("before the first: %+v, %v, %v", last, history, err)
	}
	claim(f.Ledger, "one", true)
	claim(other, "two", false)
	f.clock.pass(2 * lease)
	claim(other, "two", true) // the first has gone silent
	f.must(f.SetLimit(t.Context(), ledger.Scope{AccountID: "b"}, limit(new(int64(ledger.Unlimited)), nil)))
	f.reserve("a", "1", 90)
	var sums ledger.Totals
	usages, err := f.ListUsage(t.Context(), "", 10)
	f.must(err)
	for _, u := range usages {
		sums.Add(u)
	}
	f.must(other.SaveTotals(t.Context(), sums))
	claim(f.Ledger, "one", false)
	last, history, err := f.LastTotals(t.Context())
	f.must(err)
	if !last.Taken.Equal(f.clock.Now()) || last.Accounts != 2 || last.Limit != 100 || last.Reserved != amount(90, 1) || last.Used != amount(0, 0) || last.Fill[0] != 2 {
		t.Errorf("shown are %+v", last)
	}
	if len(history) != 1 || history[0].Used != 0 {
		t.Errorf("history is %v", history)
	}
	f.clock.pass(every)
	claim(f.Ledger, "one", true)
	// One sample an hour is kept, the last, for a week.
	for i := range 24 * 9 * 2 {
		f.clock.pass(30 * time.Minute)
		f.must(f.SaveTotals(t.Context(), ledger.Totals{Limited: int64(i)}))
	}
	_, history, err = other.LastTotals(t.Context())
	f.must(err)
	if n := len(history); n != 7*24+1 || history[n-1].Used != 24*9*2-1 || history[n-2].Used != history[n-1].Used-1 && history[n-2].Used != history[n-1].Used-2 {
		t.Errorf("%d samples, the last of them %v", n, history[n-2:])
	}
}
