package feed

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// database opens the store.
func database(t *testing.T, opts meta.Options) *meta.Store {
	t.Helper()
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "storage.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := meta.New(t.Context(), db, opts)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// poll runs a poller until the test ends.
func poll(t *testing.T, local *Memory, store *meta.Store, pause time.Duration) *Poller {
	t.Helper()
	p := NewPoller(local, store, func() time.Duration { return pause }, slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return p
}

func TestPollBringsWhatNobodyTold(t *testing.T) {
	store, local := database(t, meta.Options{}), NewMemory(nil) // nothing that is committed is published
	s := local.Subscribe()
	defer s.Close()
	mailbox, err := store.CreateMailbox(t.Context(), "bob", "Work", 0)
	if err != nil {
		t.Fatal(err)
	}
	key := Key{AccountID: "bob", MailboxID: mailbox.GetMailboxId()}
	s.Add(key)
	poll(t, local, store, time.Millisecond)
	hears(t, s, meta.Change{AccountID: "bob", MailboxID: key.MailboxID, Modseq: mailbox.GetHighestModseq()})
	if err := store.DeleteMailbox(t.Context(), "bob", "Work"); err != nil {
		t.Fatal(err)
	}
	hears(t, s, meta.Change{AccountID: "bob", MailboxID: key.MailboxID, Deleted: true})
	if keys := local.watched(); len(keys) != 0 {
		t.Errorf("what is gone is still looked for: %v", keys)
	}
}

func TestPollGoesThroughAllMailboxes(t *testing.T) {
	store, local := database(t, meta.Options{}), NewMemory(nil)
	s := local.Subscribe()
	defer s.Close()
	boxes, _, err := store.ListMailboxes(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	const missing = 3 * pollBatch
	for id := range uint64(missing) {
		s.Add(Key{AccountID: "nobody", MailboxID: id + 1})
	}
	for _, m := range boxes {
		s.Add(Key{AccountID: "bob", MailboxID: m.GetMailboxId()})
	}
	p := poll(t, local, store, time.Hour)
	p.Wake()
	present, gone := 0, 0
	for present+gone < len(boxes)+missing {
		select {
		case <-s.Ready():
		case <-time.After(patience):
			t.Fatalf("%d mailboxes are there and %d gone", present, gone)
		}
		changes, _ := s.Take()
		for _, c := range changes {
			if c.Deleted {
				gone++
			} else {
				present++
			}
		}
	}
	if present != len(boxes) {
		t.Errorf("%d mailboxes are there, want %d", present, len(boxes))
	}
}

func TestPollOutlivesTheDatabase(t *testing.T) {
	local := NewMemory(nil)
	s := local.Subscribe()
	defer s.Close()
	s.Add(Key{AccountID: "a", MailboxID: 1})
	failing := &failingTable{asked: make(chan struct{})}
	p := NewPoller(local, failing, func() time.Duration { return time.Millisecond }, slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	for range 3 {
		<-failing.asked
	}
	cancel()
	running.Wait()
}

// failingTable is a database that is not there.
type failingTable struct{ asked chan struct{} }

func (f *failingTable) Highest(ctx context.Context, _ []Key) ([]meta.Change, error) {
	select {
	case f.asked <- struct{}{}:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
