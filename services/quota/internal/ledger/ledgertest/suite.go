// Package ledgertest is the conformance suite of the ledger: every database that is to hold one must pass it.
package ledgertest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// Open makes an empty database, and returns what gives a handle on it each time, as another replica would have. The handles
// are closed when the test ends.
type Open func(t *testing.T) func() *sqldb.DB

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"missing account":         testMissing,
		"reserve up to the limit": testReserve,
		"reserve again":           testReserveAgain,
		"exempt":                  testExempt,
		"check":                   testCheck,
		"expiry":                  testExpiry,
		"renewal":                 testRenewal,
		"settle once":             testSettle,
		"settle several accounts": testSettleSeveral,
		"limits":                  testLimits,
		"repair":                  testRepair,
		"forget":                  testForget,
		"list":                    testList,
		"notices":                 testNotices,
		"notices of refusals":     testRefusalNotice,
		"two replicas":            testReplicas,
		"large batches":           testLargeBatches,
		"totals":                  testTotals,
		"forget and reserve":      testForgetAndReserve,
		"one id, two accounts":    testOneIDTwoAccounts,
		"a notice, two senders":   testNoticeTwoSenders,
		"who reconciles":          testWhoReconciles,
		"model":                   testModel,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// clock is a settable time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const ttl = 10 * time.Minute

type fixture struct {
	*ledger.Ledger
	t     *testing.T
	open  func() *sqldb.DB
	clock *clock
}

// setup makes a ledger with 100 bytes an account and any number of messages, and opens the accounts in domain example.test.
func setup(t *testing.T, open Open, accounts ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, open: open(t), clock: &clock{now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}}
	f.Ledger = f.replica()
	for _, id := range accounts {
		f.must(f.Open(t.Context(), ledger.Account{ID: id, Domain: "example.test"}))
	}
	return f
}

// replica gives another ledger on the same database.
func (f *fixture) replica() *ledger.Ledger {
	f.t.Helper()
	l, err := ledger.New(f.t.Context(), f.open(), ledger.Options{
		Default: ledger.Amount{Bytes: 100, Messages: ledger.Unlimited},
		TTL:     ttl,
		Levels:  []int{80, 90, 100},
		Now:     f.clock.Now,
	})
	f.must(err)
	return l
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// reserve asks for bytes in one message, and tells whether it was granted.
func (f *fixture) reserve(account, id string, bytes int64) bool {
	f.t.Helper()
	results, err := f.Reserve(f.t.Context(), []ledger.Reservation{{ID: id, AccountID: account, Amount: ledger.Amount{Bytes: bytes, Messages: 1}}})
	f.must(err)
	return results[0].Granted
}

func (f *fixture) settle(account string, sequence, bytes, messages int64, reservations ...string) *ledger.Settlement {
	f.t.Helper()
	s, err := f.Settle(f.t.Context(), []ledger.Event{{AccountID: account, Sequence: sequence,
		Delta: ledger.Amount{Bytes: bytes, Messages: messages}, ReservationIDs: reservations}})
	f.must(err)
	return s
}

func (f *fixture) wantUsage(account string, used, reserved ledger.Amount) {
	f.t.Helper()
	u, err := f.Usage(f.t.Context(), account)
	f.must(err)
	if u.Used != used || u.Reserved != reserved {
		f.t.Fatalf("%s has used %v and reserved %v, want %v and %v", account, u.Used, u.Reserved, used, reserved)
	}
}

func wantMissing(t *testing.T, err error, accounts ...string) {
	t.Helper()
	missing, ok := errors.AsType[*ledger.MissingError](err)
	if !ok || !slices.Equal(missing.Accounts, accounts) {
		t.Fatalf("error %v, want a MissingError of %v", err, accounts)
	}
}

func amount(bytes, messages int64) ledger.Amount {
	return ledger.Amount{Bytes: bytes, Messages: messages}
}

func limit(bytes, messages *int64) ledger.Limit {
	return ledger.Limit{Bytes: bytes, Messages: messages}
}
