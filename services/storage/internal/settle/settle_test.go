package settle

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
)

// counting counts the calls of Settle and tells of each.
type counting struct {
	quotav1.QuotaServiceClient
	mu     sync.Mutex
	calls  int
	events map[string]int // sent, by account
}

func (c *counting) Settle(ctx context.Context, r *quotav1.SettleRequest, opts ...grpc.CallOption) (*quotav1.SettleResponse, error) {
	c.mu.Lock()
	c.calls++
	for _, e := range r.GetEvents() {
		c.events[e.GetAccountId()]++
	}
	c.mu.Unlock()
	return c.QuotaServiceClient.Settle(ctx, r, opts...)
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func newSettler(t *testing.T) (*Settler, *meta.Store, *quotatest.Ledger, *counting) {
	t.Helper()
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "storage.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := meta.New(t.Context(), db, meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ledger := quotatest.New()
	client := &counting{QuotaServiceClient: ledger.Client(), events: map[string]int{}}
	return New(store, client, slog.New(slog.DiscardHandler), nil), store, ledger, client
}

var contents int

// insert leaves one event of 10 octets.
func insert(t *testing.T, store *meta.Store, account string) {
	t.Helper()
	contents++
	content, err := meta.NewContent(fmt.Sprint(contents), &mailv1.Structure{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content.Location = body.Location{Object: fmt.Sprint(contents), Size: 10}
	unit := &meta.Unit{Rows: []*meta.Row{{AccountID: account, Mailbox: "INBOX", Content: content}}}
	if err := store.Insert(t.Context(), []*meta.Unit{unit}); err != nil {
		t.Fatal(err)
	}
}

func TestManyEventsAreSettledAndForgotten(t *testing.T) {
	s, store, ledger, client := newSettler(t)
	const n = pageSize + pageSize/2
	for i := range n {
		insert(t, store, fmt.Sprint("account", i%3))
	}
	if stuck, err := s.settle(t.Context()); err != nil || stuck {
		t.Fatalf("got %v, %v", stuck, err)
	}
	for i := range 3 {
		if a := ledger.Account(fmt.Sprint("account", i)); a.UsedMessages != n/3 || a.Sequence != n/3 {
			t.Errorf("account %d: %+v", i, a)
		}
	}
	if client.calls > 4 {
		t.Errorf("%d events took %d calls", n, client.calls)
	}
	if err := s.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := store.CountEvents(t.Context()); err != nil || left != 0 {
		t.Errorf("%d events are left, %v", left, err)
	}
}

func TestSettledEventsAreNotSentAgain(t *testing.T) {
	s, store, ledger, client := newSettler(t)
	insert(t, store, "bob")
	for range 3 {
		if _, err := s.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if client.calls != 1 || ledger.Account("bob").UsedBytes != 10 {
		t.Errorf("%d calls, %+v", client.calls, ledger.Account("bob"))
	}
}

func TestAccountThatQuotaDoesNotFollowHoldsUpNoOther(t *testing.T) {
	s, store, ledger, _ := newSettler(t)
	// bob's first event was settled with a quota that has forgotten it since.
	insert(t, store, "bob")
	if err := store.ForgetEvents(t.Context(), map[string]int64{"bob": 1}); err != nil {
		t.Fatal(err)
	}
	for range pageSize + 10 {
		insert(t, store, "bob")
	}
	insert(t, store, "carol")
	stuck, err := s.settle(t.Context())
	if err != nil || !stuck {
		t.Errorf("got %v, %v", stuck, err)
	}
	if ledger.Account("carol").UsedMessages != 1 || ledger.Account("bob").Sequence != 0 {
		t.Errorf("carol %+v, bob %+v", ledger.Account("carol"), ledger.Account("bob"))
	}
	if left, err := store.CountEvents(t.Context()); err != nil || left < pageSize+10 {
		t.Errorf("%d events are left, %v", left, err)
	}
}

func TestRunSettlesWhatIsLeftWhenItStops(t *testing.T) {
	s, store, ledger, _ := newSettler(t)
	ledger.SetDown(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	insert(t, store, "bob")
	s.Wake("bob")
	ledger.SetDown(false)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if ledger.Account("bob").UsedBytes != 10 {
		t.Errorf("quota has %+v", ledger.Account("bob"))
	}
	if left, err := store.CountEvents(t.Context()); err != nil || left != 0 {
		t.Errorf("%d events are left, %v", left, err)
	}
}

func TestEventsOfABusyTimeAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, ledger, client := newSettler(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		leave := func() {
			insert(t, store, "bob")
			s.Wake("bob")
			synctest.Wait()
		}
		time.Sleep(busyTime)
		for i := range fewInRow {
			leave()
			if n := client.count(); n != i+1 {
				t.Errorf("%d calls for the first %d events", n, i+1)
			}
		}
		for range 5 {
			leave()
		}
		if n := client.count(); n != fewInRow {
			t.Errorf("%d calls before the events were gathered", n)
		}
		time.Sleep(gatherTime)
		synctest.Wait()
		if n, a := client.count(), ledger.Account("bob"); n != fewInRow+1 || a.UsedMessages != fewInRow+5 {
			t.Errorf("%d calls, %+v", n, a)
		}
		leave()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if a := ledger.Account("bob"); a.UsedMessages != fewInRow+6 {
			t.Errorf("what was being gathered when the settler stopped: %+v", a)
		}
	})
}

func TestTwoSettlersOnOneDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, store, ledger, client := newSettler(t)
		second := New(store, client, slog.New(slog.DiscardHandler), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		killed, kill := context.WithCancel(ctx)
		for _, run := range []func(){
			func() { _ = first.Run(ctx) },
			func() { // dies without its last settlement
				second.quota = &mortal{client, killed}
				_ = second.Run(killed)
			},
		} {
			done.Go(run)
		}
		synctest.Wait()
		// Each settles what it has committed itself, and nothing else. Of an account that they share, one may send again what the other has settled
		// and not yet removed: quota skips it.
		const n = 3 * fewInRow
		for i := range n {
			insert(t, store, "bob")
			insert(t, store, fmt.Sprint("account ", i%2))
			[]*Settler{first, second}[i%2].Wake("bob", fmt.Sprint("account ", i%2))
			synctest.Wait()
			time.Sleep(busyTime)
		}
		synctest.Wait()
		if bob := ledger.Account("bob"); bob.UsedMessages != n {
			t.Errorf("bob: %+v", bob)
		}
		for _, account := range []string{"account 0", "account 1"} {
			if a := ledger.Account(account); a.UsedMessages != n/2 || client.events[account] != n/2 {
				t.Errorf("%s: %+v; %d events were sent %d times", account, a, n/2, client.events[account])
			}
		}
		// Who commits and dies before it settles leaves its events to the others.
		kill()
		insert(t, store, "bob")
		insert(t, store, "carol")
		second.Wake("bob", "carol")
		time.Sleep(2*sweepTime + forgetAfter)
		synctest.Wait()
		if bob, carol := ledger.Account("bob"), ledger.Account("carol"); bob.UsedMessages != n+1 || carol.UsedMessages != 1 {
			t.Errorf("after a kill: bob %+v, carol %+v", bob, carol)
		}
		if left, err := store.CountEvents(t.Context()); err != nil || left != 0 {
			t.Errorf("%d events are left, %v", left, err)
		}
		cancel()
		done.Wait()
	})
}

// mortal fails as soon as its context has ended.
type mortal struct {
	quotav1.QuotaServiceClient
	ctx context.Context
}

func (m *mortal) Settle(ctx context.Context, r *quotav1.SettleRequest, opts ...grpc.CallOption) (*quotav1.SettleResponse, error) {
	if m.ctx.Err() != nil {
		return nil, m.ctx.Err()
	}
	return m.QuotaServiceClient.Settle(ctx, r, opts...)
}
