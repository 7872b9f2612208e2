package maildrop

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// newKeepers gives two keepers, as of two processes, on one table whose clock the test sets.
func newKeepers(t *testing.T) (one, two *Keeper, now *time.Time) {
	t.Helper()
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "storage.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now = new(time.Unix(1_800_000_000, 0))
	store, err := meta.New(t.Context(), db, meta.Options{Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	return New(store, log), New(store, log), now
}

func TestRenewedLeaseOutlivesItsTime(t *testing.T) {
	one, two, now := newKeepers(t)
	held, err := one.Acquire(t.Context(), "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		*now = now.Add(ttl - time.Second)
		one.renew(t.Context())
		if _, err := two.Acquire(t.Context(), "bob", ""); !fault.Is(err, rpcv1.Reason_REASON_MAILDROP_IN_USE) {
			t.Fatalf("a second session got %v", err)
		}
	}
	held.Release()
	select {
	case <-held.Lost:
		t.Error("a lease that was given back is told as lost")
	default:
	}
	if _, err := two.Acquire(t.Context(), "bob", ""); err != nil {
		t.Error(err)
	}
}

func TestLeaseOfASleeperIsLostToAnother(t *testing.T) {
	one, two, now := newKeepers(t)
	held, err := one.Acquire(t.Context(), "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(ttl)
	mine, err := two.Acquire(t.Context(), "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	one.renew(t.Context())
	two.renew(t.Context())
	<-held.Lost
	held.Release() // must not take the other's
	two.renew(t.Context())
	select {
	case <-mine.Lost:
		t.Error("the second session lost its lease")
	default:
	}
}

func TestClientThatComesBackAtOnceWaitsForItsLastSession(t *testing.T) {
	one, two, _ := newKeepers(t)
	held, err := one.Acquire(t.Context(), "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		_, err := two.Acquire(t.Context(), "bob", "")
		asked <- err
	}()
	held.Release()
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

func TestSessionGoesOnAtAnotherReplica(t *testing.T) {
	one, two, _ := newKeepers(t)
	held, err := one.Acquire(t.Context(), "bob", "")
	if err != nil {
		t.Fatal(err)
	}
	next, err := two.Acquire(t.Context(), "bob", held.ID)
	if err != nil {
		t.Fatal(err)
	}
	held.Release() // the first replica learns only now that it has lost the session
	if _, err := one.Acquire(t.Context(), "bob", held.ID); !fault.Is(err, rpcv1.Reason_REASON_MAILDROP_IN_USE) {
		t.Errorf("a third session got %v", err)
	}
	two.renew(t.Context())
	select {
	case <-next.Lost:
		t.Error("the session lost its lease")
	default:
	}
}
