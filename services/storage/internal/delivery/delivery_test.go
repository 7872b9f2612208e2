package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
	"github.com/yubin-mail/yubin/services/storage/internal/space"
)

// gate is an object store that asks before each write.
type gate struct {
	object.Store
	put func() error
}

func (g *gate) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := g.put(); err != nil {
		return err
	}
	return g.Store.Put(ctx, key, r, size)
}

type fixture struct {
	*Writer
	t      *testing.T
	db     *sqldb.DB
	ledger *quotatest.Ledger
}

func setup(t *testing.T, put func() error) *fixture {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	objects, err := object.OpenDir(filepath.Join(dir, "bodies"))
	must(err)
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "storage.db"), sqldb.Options{})
	must(err)
	store, err := meta.New(t.Context(), db, meta.Options{})
	must(err)
	bodies, err := body.NewStore(body.Config{Objects: &gate{objects, put}})
	must(err)
	spools, err := body.OpenSpools(body.SpoolConfig{Dir: filepath.Join(dir, "tmp")})
	must(err)
	ledger := quotatest.New()
	reserver := capacity.New(ledger.Client(), log)
	f := &fixture{t: t, db: db, ledger: ledger, Writer: New(Config{Wait: -1}, Deps{
		Meta: store, Bodies: bodies, Spools: spools, Capacity: reserver, Log: log, Now: time.Now,
		Space: space.New(0, nil, time.Now, log, nil),
	})}
	t.Cleanup(func() {
		_ = f.Close(context.Background()) // a test may have closed it
		reserver.Wait()
		must(errors.Join(db.Close(), objects.Close()))
	})
	return f
}

// request makes a request for one message to accounts.
func (f *fixture) request(text string, accounts ...string) Request {
	f.t.Helper()
	m, err := f.NewMessage(0)
	if err == nil {
		_, err = io.WriteString(m, text)
	}
	if err == nil {
		err = m.Seal(uint64(len(text)))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	r := Request{}
	for _, account := range accounts {
		r.Targets = append(r.Targets, Target{Message: m, AccountID: account, Mailbox: "INBOX"})
	}
	return r
}

// holdDatabase keeps others from writing until the returned function is called.
func (f *fixture) holdDatabase() (release func()) {
	f.t.Helper()
	held, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- f.db.Write(context.Background(), "hold", func(*sqldb.Tx) error {
			close(held)
			<-done
			return nil
		})
	}()
	<-held
	return func() {
		f.t.Helper()
		close(done)
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	}
}

func (f *fixture) wantReserved(account string, messages int64) {
	f.t.Helper()
	f.capacity.Wait()
	// Nothing settles here, so that a reservation of what is stored stands.
	if a := f.ledger.Account(account); a.ReservedMessages != messages {
		f.t.Errorf("account %s has %d messages reserved, want %d", account, a.ReservedMessages, messages)
	}
}

func TestAGroupWritesItsBodiesWhileAnotherCommits(t *testing.T) {
	puts := make(chan struct{}, 2)
	f := setup(t, func() error { puts <- struct{}{}; return nil })
	release := f.holdDatabase()
	var wg sync.WaitGroup
	for i := range 2 {
		r := f.request(fmt.Sprintf("Subject: %d\r\n\r\n", i), "bob")
		wg.Go(func() {
			if outcomes, err := f.Store(t.Context(), r); err != nil || outcomes[0].Status != Stored {
				t.Errorf("message %d: %v, %v", i, outcomes, err)
			}
		})
		<-puts // neither can have committed
	}
	release()
	wg.Wait()
	f.wantReserved("bob", 2)
}

func TestAGroupThatFailsIsAlone(t *testing.T) {
	broken, puts := errors.New("broken"), make(chan error, 2)
	puts <- broken
	puts <- nil
	f := setup(t, func() error { return <-puts })
	if _, err := f.Store(t.Context(), f.request("Subject: lost\r\n\r\n", "bob")); !errors.Is(err, broken) || fault.Reason(err) != rpcv1.Reason_REASON_UNAVAILABLE {
		t.Errorf("Store = %v", err)
	}
	if _, err := f.Store(t.Context(), f.request("Subject: stored\r\n\r\n", "bob")); err != nil {
		t.Error(err)
	}
	f.wantReserved("bob", 1)
}

func TestWhatTheDatabaseDoesNotTakeIsLeftOutAlone(t *testing.T) {
	f := setup(t, func() error { return nil })
	stored := f.request("Subject: stored\r\n\r\n", "bob")
	if _, err := f.Store(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	const n, bad = 7, 4
	jobs := make([]*job, n)
	for i := range jobs {
		r := f.request(fmt.Sprintf("Subject: %d\r\n\r\n", i), "bob")
		if i == bad {
			r.Targets[0].Message.content.ID = stored.Targets[0].Message.content.ID // breaks the primary key
		}
		jobs[i] = f.newJob(r)
	}
	for i, r := range f.storeGroup(t.Context(), jobs) {
		if (r.Err != nil) != (i == bad) {
			t.Errorf("job %d: %v, %v", i, r.Value, r.Err)
		}
	}
	f.wantReserved("bob", n)
}

func TestASlowBodyReservesAgainBeforeItsCommit(t *testing.T) {
	for name, c := range map[string]struct {
		expired, allOrNone bool
		limit              int64
		want               []Status
		reserved           int64
	}{
		"still held":              {want: []Status{Stored, Stored}, reserved: 1},
		"expired, fits":           {expired: true, limit: -1, want: []Status{Stored, Stored}, reserved: 1},
		"expired, full":           {expired: true, want: []Status{OverQuota, Stored}},
		"expired, full, all":      {expired: true, allOrNone: true, want: []Status{OverQuota, NotStored}},
		"still held, all or none": {allOrNone: true, want: []Status{Stored, Stored}, reserved: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, func() error { return nil })
			r := f.request("Subject: "+strings.Repeat("slow ", 100)+"\r\n\r\n", "alice", "bob")
			r.AllOrNone = c.allOrNone
			j := f.newJob(r)
			if err := f.prepare(t.Context(), []*job{j}); err != nil {
				t.Fatal(err)
			}
			j.reserved = j.reserved.Add(-capacity.FreshTime)
			if c.expired {
				f.ledger.Expire(j.rows[0].ReservationID)
				f.ledger.SetLimit("alice", c.limit, c.limit)
			}
			if _, err := f.commits.Submit(t.Context(), []*job{j}); err != nil || j.err != nil {
				t.Fatal(err, j.err)
			}
			for i, want := range c.want {
				if j.outcomes[i].Status != want {
					t.Errorf("target %d: %v, want status %v", i, j.outcomes[i], want)
				}
			}
			if n := f.ledger.Reserves(); n != 2 {
				t.Errorf("reserved %d times", n)
			}
			f.wantReserved("alice", c.reserved)
			if stored := c.want[1] == Stored; stored {
				f.wantReserved("bob", 1)
			} else {
				f.wantReserved("bob", 0)
			}
		})
	}
}

func TestCloseGivesUpGroupsThatCannotCommit(t *testing.T) {
	puts := make(chan struct{}, 1)
	f := setup(t, func() error { puts <- struct{}{}; return nil })
	release := f.holdDatabase()
	defer release()
	done := make(chan error, 1)
	r := f.request("Subject: late\r\n\r\n", "bob")
	go func() {
		_, err := f.Store(t.Context(), r)
		done <- err
	}()
	<-puts
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v", err)
	}
	if err := <-done; err == nil {
		t.Error("a delivery that was given up was acknowledged")
	}
}
