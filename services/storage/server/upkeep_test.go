package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/audit"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/compact"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// flawed is an object store that gives other octets than it has of one object, or has lost it.
type flawed struct {
	object.Store
	key  atomic.Pointer[string]
	gone atomic.Bool
	harm func(octets []byte, off int64)
	puts atomic.Int64
}

func (s *flawed) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	flaw := s.key.Load()
	if flaw == nil || *flaw != key {
		return s.Store.GetRange(ctx, key, off, n)
	}
	if s.gone.Load() {
		return nil, fmt.Errorf("get: %w", object.ErrNotFound)
	}
	in, err := s.Store.GetRange(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	octets, err := io.ReadAll(in)
	s.harm(octets, off)
	return io.NopCloser(bytes.NewReader(octets)), errors.Join(err, in.Close())
}

func (s *flawed) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	s.puts.Add(1)
	return s.Store.Put(ctx, key, r, size)
}

func startFlawed(t *testing.T, args ...string) (*harness, *flawed) {
	t.Helper()
	store := &flawed{harm: func([]byte, int64) {}}
	// Without the loop, so that a test alone decides what is compacted, and without the index, so that nobody else reads.
	h := startOn(t, func(s object.Store) object.Store { store.Store = s; return store },
		append(args, "--storage-compact-rate=0", "--storage-index-text=0", "--storage-read-cache=1MiB")...)
	return h, store
}

// keys of the objects that hold bodies.
func (h *harness) keys() (keys []string) {
	h.t.Helper()
	for info, err := range h.objects.List(h.t.Context(), body.KeyPrefix, "") {
		if err != nil {
			h.t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func (h *harness) compact() compact.Totals {
	h.t.Helper()
	done, err := h.compactor.Pass(h.t.Context(), compact.Options{Now: true}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.reclaimer.DeleteNow(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	return done
}

func TestDamagedBodyIsNeverDroppedByACompaction(t *testing.T) {
	for name, gone := range map[string]bool{"damaged": false, "missing": true} {
		t.Run(name, func(t *testing.T) {
			h, store := startFlawed(t)
			messages := map[uint32]string{}
			for i := range 4 {
				message := mail(fmt.Sprint(i), "x")
				messages[h.mustDeliver("bob", message)] = message
			}
			key := h.keys()[1] // the second message
			store.harm = func(octets []byte, _ int64) { octets[len(octets)/2] ^= 1 }
			store.gone.Store(gone)
			store.key.Store(&key)
			if done := h.compact(); done.Packs != 4 || done.New != 1 || done.Frames != 3 || done.Damaged != 1 {
				t.Errorf("compacted %+v", done)
			}
			if keys := h.keys(); len(keys) != 2 || !slices.Contains(keys, key) {
				t.Errorf("objects %q are left", keys)
			}
			if done := h.compact(); done != (compact.Totals{}) {
				t.Errorf("it was tried again at once: %+v", done)
			}
			inbox := h.mailbox("bob", "INBOX").GetMailboxId()
			for uid, message := range messages {
				stream, err := h.imap.Read(t.Context(), &storagev1.ReadRequest{AccountId: "bob", MailboxId: inbox, Uid: uid})
				if err != nil {
					t.Fatal(err)
				}
				if uid != 2 {
					if got := h.read("bob", inbox, uid, 0, 0); got != message {
						t.Errorf("message %d reads %q", uid, got)
					}
					continue
				}
				_, err = stream.Recv()
				wantReason(t, err, rpcv1.Reason_REASON_CORRUPT)
			}
			reason := map[bool]string{false: "corrupt", true: "missing"}[gone]
			if n := h.metric("yubin_storage_body_errors_total", reason); n != 1 {
				t.Errorf("%v errors are counted", n)
			}
			if list := h.fetch("bob", inbox, span(1, 9)); len(list) != 4 {
				t.Errorf("%d messages are listed", len(list)) // what the database has of it is shown
			}
			// It comes back from a backup.
			store.key.Store(nil)
			h.clock.Forward(25 * time.Hour)
			h.mustDeliver("bob", mail("company", "x"))
			if done := h.compact(); done.Damaged != 0 || len(h.keys()) > 2 {
				t.Errorf("compacted %+v, objects %q are left", done, h.keys())
			}
			if got := h.read("bob", inbox, 2, 0, 0); got != messages[2] {
				t.Errorf("it reads %q", got)
			}
			h.verified()
		})
	}
}

func TestCompactionThatCannotWriteLeavesEverythingAsItIs(t *testing.T) {
	store := &fullStore{}
	h := startOn(t, func(s object.Store) object.Store { store.Store = s; return store }, "--storage-compact-rate=0")
	for i := range 3 {
		h.mustDeliver("bob", mail(fmt.Sprint(i), "x"))
	}
	store.full.Store(true)
	if _, err := h.compactor.Pass(t.Context(), compact.Options{Now: true}, nil); !errors.Is(err, object.ErrFull) {
		t.Errorf("got error %v", err)
	}
	store.full.Store(false)
	if n := len(h.keys()); n != 3 {
		t.Errorf("%d objects are left", n)
	}
	if done := h.compact(); done.Packs != 0 {
		t.Errorf("what could not be rewritten is not left alone: %+v", done)
	}
	h.clock.Forward(time.Hour)
	if done := h.compact(); done.Packs != 3 || done.New != 1 {
		t.Errorf("compacted %+v", done)
	}
	if s := h.verified(); s.Objects != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPackOfADeadCompactorIsDeletedWhenItsTimeIsOver(t *testing.T) {
	h, _ := startFlawed(t)
	h.mustDeliver("bob", mail("x", "x"))
	key := body.NewKey(h.clock.Now())
	if err := h.compactor.Meta.AnnouncePack(t.Context(), key, "the dead", 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := h.objects.Put(t.Context(), key, strings.NewReader("half done"), 9); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.reclaimer.Purge(t.Context()), h.reclaimer.Sweep(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := h.stored(); n != 2 {
		t.Errorf("%d objects are left", n)
	}
	if s := h.verified(); s.Waiting != 1 || s.Orphans != 0 {
		t.Errorf("%+v", s)
	}
	h.clock.Forward(31 * time.Minute)
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.stored(); n != 1 {
		t.Errorf("%d objects are left", n)
	}
}

// A body that went to many is as large for the last one who has it.
func TestBodyThatMostHaveDeletedIsNotCopiedAgainAndAgain(t *testing.T) {
	h, store := startFlawed(t, "--storage-retention=0s")
	var recipients []*storagev1.DeliverRequest_Recipient
	for i := range 20 {
		recipients = append(recipients, to(fmt.Sprint("account-", i)))
	}
	if _, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: recipients}, mail("to all", strings.Repeat("news ", 100))); err != nil {
		t.Fatal(err)
	}
	for _, r := range recipients[1:] {
		h.expunge(r.GetAccountId(), h.mailbox(r.GetAccountId(), "INBOX").GetMailboxId(), span(1, 1))
	}
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	puts := store.puts.Load()
	if done := h.compact(); done.Shared != 1 || done.Packs != 0 || store.puts.Load() != puts {
		t.Errorf("compacted %+v with %d writes", done, store.puts.Load()-puts)
	}
	if done := h.compact(); done != (compact.Totals{}) {
		t.Errorf("there was more to do: %+v", done)
	}
	if s := h.verified(); s.LiveBytes != s.FrameBytes {
		t.Errorf("%+v", s)
	}
}

func TestObjectStaysForTheGrace(t *testing.T) {
	h := start(t, "--storage-delete-grace=1h", "--storage-compact-rate=0")
	for i := range 2 {
		h.mustDeliver("bob", mail(fmt.Sprint(i), "x"))
	}
	if _, err := h.compactor.Pass(t.Context(), compact.Options{Now: true}, nil); err != nil {
		t.Fatal(err)
	}
	purge := func(want int) {
		t.Helper()
		if err := h.reclaimer.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := h.stored(); n != want {
			t.Errorf("%d objects are left, want %d", n, want)
		}
	}
	purge(3)
	h.clock.Forward(59 * time.Minute)
	purge(3)
	h.clock.Forward(2 * time.Minute)
	purge(1)
}

func (h *harness) change(query string, args ...any) {
	h.t.Helper()
	err := h.db.Write(h.t.Context(), "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(h.t.Context(), query, args...)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// findings gives the kinds that verify finds, sorted.
func (h *harness) findings(account string) string {
	h.t.Helper()
	var kinds []string
	report := audit.Report{Finding: func(f audit.Finding) error {
		kinds = append(kinds, f.Kind.String())
		return nil
	}}
	var summary audit.Summary
	var err error
	if account == "" {
		summary, err = h.auditor.Verify(h.t.Context(), report)
	} else {
		summary, err = h.auditor.VerifyAccount(h.t.Context(), account, report)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Sort(kinds)
	return fmt.Sprint(kinds, summary.Troubles)
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	h, _ := startFlawed(t)
	for i := range 4 {
		h.mustDeliver("bob", mail(fmt.Sprint(i), "x"))
	}
	h.mustDeliver("carol", mail("fine", "x"))
	keys := h.keys()
	expect := func(what, account, want string) {
		t.Helper()
		if got := h.findings(account); got != want {
			t.Errorf("%s: found %s, want %s", what, got, want)
		}
	}
	expect("in order", "", "[] 0")
	expect("in order", "bob", "[] 0")

	h.change(`UPDATE packs SET live_bytes = live_bytes + 1 WHERE object_key = ?`, keys[0])
	expect("counters", "", "[wrong counters] 1")
	h.change(`UPDATE packs SET live_bytes = live_bytes - 1 WHERE object_key = ?`, keys[0])

	h.change(`UPDATE contents SET object_offset = object_offset + 100000 WHERE object_key = ?`, keys[1])
	expect("a place past the end", "", "[short object] 1")
	expect("a place past the end", "bob", "[short object] 1")
	h.change(`UPDATE contents SET object_offset = object_offset - 100000 WHERE object_key = ?`, keys[1])

	h.change(`UPDATE packs SET object_key = 'packs/lost' WHERE object_key = ?`, keys[2])
	// Its object looks like an orphan, and its messages like those of nobody.
	expect("no row of the object", "", "[orphan unknown pack wrong counters] 2")
	h.change(`UPDATE packs SET object_key = ? WHERE object_key = 'packs/lost'`, keys[2])

	if err := h.objects.Delete(t.Context(), keys[3]); err != nil {
		t.Fatal(err)
	}
	expect("no object", "", "[missing object] 1")
	expect("no object", "bob", "[missing object] 1")
	expect("another account", "carol", "[] 0")
	foreign := body.NewKey(time.Now().Add(-48 * time.Hour))
	if err := h.objects.Put(t.Context(), foreign, strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	expect("an older object", "", "[foreign object missing object] 1")
}

func TestScrubFindsDamageAndGoesOnWhereItWas(t *testing.T) {
	h, store := startFlawed(t)
	for i := range 6 {
		h.mustDeliver("bob", mail(fmt.Sprint(i), "x"))
	}
	h.mustDeliver("bob", mail("large", strings.Repeat("all work and no play\r\n", 60_000)))
	keys := h.keys()
	var found []string
	scrub := func(o audit.ScrubOptions, progress func(audit.Progress) error) (audit.Summary, error) {
		found = nil
		return h.auditor.Scrub(t.Context(), o, audit.Report{Finding: func(f audit.Finding) error {
			found = append(found, f.Kind.String()+" "+f.Object)
			return nil
		}, Progress: progress})
	}
	if s, err := scrub(audit.ScrubOptions{Rate: 1 << 30}, nil); err != nil || s.Frames != 7 || s.Troubles != 0 {
		t.Errorf("%v, %+v", err, s)
	}
	for what, flip := range map[string]func(size int64) int64{
		"damaged body":  func(int64) int64 { return 60 },             // in the meta, which only a rebuild needs
		"damaged index": func(size int64) int64 { return size - 50 }, // before the footer's end
	} {
		info, err := h.objects.Stat(t.Context(), keys[2])
		if err != nil {
			t.Fatal(err)
		}
		store.harm = func(octets []byte, off int64) {
			if at := flip(info.Size) - off; at >= 0 && at < int64(len(octets)) {
				octets[at] ^= 1
			}
		}
		store.key.Store(&keys[2])
		if s, err := scrub(audit.ScrubOptions{}, nil); err != nil || s.Troubles != 1 || !slices.Equal(found, []string{what + " " + keys[2]}) {
			t.Errorf("%s: %v, %+v, %q", what, err, s, found)
		}
	}
	store.key.Store(nil)
	stop := errors.New("interrupted")
	_, err := scrub(audit.ScrubOptions{}, func(p audit.Progress) error {
		if p.Done == 4 {
			// Nobody else does it meanwhile.
			if _, err := h.auditor.Scrub(t.Context(), audit.ScrubOptions{}, audit.Report{}); !errors.Is(err, job.ErrHeld) {
				t.Errorf("a second scrub: %v", err)
			}
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("got error %v", err)
	}
	if s, err := scrub(audit.ScrubOptions{}, nil); err != nil || s.Frames != 3 {
		t.Errorf("the rest: %v, %+v", err, s)
	}
	if s, err := scrub(audit.ScrubOptions{}, nil); err != nil || s.Frames != 7 {
		t.Errorf("all again: %v, %+v", err, s)
	}
}

func TestJobsAreDoneByOneAtATimeAndGoOnWhereTheyWere(t *testing.T) {
	h, _ := startFlawed(t)
	runner := job.NewRunner(h.compactor.Meta, h.log)
	var rounds []string
	failed := errors.New("failed")
	j := job.Job{Name: "test", Every: time.Hour, Run: func(ctx context.Context, r *job.Round) error {
		rounds = append(rounds, r.Position())
		if err := runner.Once(ctx, job.Job{Name: "test"}, true); !errors.Is(err, job.ErrHeld) {
			t.Errorf("a second round at the same time: %v", err)
		}
		r.Reach(fmt.Sprint("after ", len(rounds)))
		if len(rounds) == 1 {
			return failed
		}
		return nil
	}}
	once := func(want error) {
		t.Helper()
		if err := runner.Once(t.Context(), j, false); !errors.Is(err, want) {
			t.Errorf("got error %v, want %v", err, want)
		}
	}
	once(failed)
	once(nil) // not due
	h.clock.Forward(2 * time.Minute)
	once(nil)
	h.clock.Forward(59 * time.Minute)
	once(nil) // not due
	h.clock.Forward(2 * time.Minute)
	once(nil)
	if got := fmt.Sprintf("%q", rounds); got != `["" "after 1" "after 2"]` {
		t.Errorf("rounds began at %s", got)
	}
	// One who is stopped leaves the job to another at once.
	ctx, cancel := context.WithCancel(t.Context())
	h.clock.Forward(2 * time.Hour)
	err := runner.Once(ctx, job.Job{Name: "test", Every: time.Hour, Run: func(ctx context.Context, _ *job.Round) error {
		cancel()
		return ctx.Err()
	}}, false)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	once(nil)
	if len(rounds) != 4 {
		t.Errorf("%d rounds", len(rounds))
	}
}
