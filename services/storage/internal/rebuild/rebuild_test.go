package rebuild_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/catalog"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/meta/metatest"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
	"github.com/yubin-mail/yubin/services/storage/internal/rebuild"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// each runs a test on every kind of database.
func each(t *testing.T, test func(*testing.T, func(*testing.T) *sqldb.DB)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

func TestMailboxesComeBackAsTheCatalogSawThem(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		for seed := range uint64(2) {
			w := newWorld(t, open, seed)
			for range 4 { // a whole snapshot, and increments
				for range 45 {
					w.step()
				}
				w.snapshot()
			}
			want := w.state()
			w.start() // the database is lost
			report := w.rebuild()
			if len(report.Lost) > 0 || len(report.Damaged) > 0 || len(report.Refused) > 0 || report.Delivered > 0 {
				t.Errorf("report: %+v", report)
			}
			w.compare(w.state(), want)
		}
	})
}

// history makes mail and lets the catalog see it.
func (w *world) history() map[string]accountState {
	w.Helper()
	for range 2 {
		for range 40 {
			w.step()
		}
		w.snapshot()
	}
	return w.state()
}

func TestMailThatCameAfterTheCatalogIsInTheMailboxItCameInto(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		w := newWorld(t, open, 7)
		w.history()
		// The clock of the packs is the real one: let the snapshots be of long ago.
		w.count++
		late := fmt.Sprintf("Subject: late\r\nMessage-ID: <late@x>\r\n\r\n%d\r\n", w.count)
		w.setTaken(time.Now().Add(-time.Hour))
		w.put(late, delivery.Target{AccountID: "alice", Mailbox: "INBOX", Fallback: true, Prefix: prefix("alice")},
			delivery.Target{AccountID: "bob", Mailbox: "Nowhere", Fallback: true, Prefix: prefix("bob")},
			delivery.Target{AccountID: "erin", Mailbox: "INBOX", Fallback: true, Prefix: prefix("erin")})
		w.start()
		report := w.rebuild()
		if report.Delivered < 3 || len(report.Lost) > 0 || len(report.Damaged) > 0 {
			t.Errorf("report: %+v", report)
		}
		for _, account := range []string{"alice", "bob", "erin"} {
			if !slices.ContainsFunc(w.inbox(account), func(text string) bool { return strings.HasSuffix(text, late) }) {
				t.Errorf("%s: the late message is not in INBOX", account)
			}
		}
		for _, a := range report.Accounts {
			if a.Address != a.AccountID+"@example.test" {
				t.Errorf("account %s is said to be %q", a.AccountID, a.Address)
			}
		}
	})
}

func TestWithoutACatalogAllMailIsWhereItWasDelivered(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		w := newWorld(t, open, 8)
		for range 10 {
			w.deliver("alice", "bob")
		}
		_, err := w.store.CreateMailbox(t.Context(), "alice", "Lists/Go", 0)
		w.ok(err)
		w.put("Subject: kept\r\n\r\nx\r\n", delivery.Target{AccountID: "alice", Mailbox: "Lists/Go", Flags: 3, Keywords: []string{"$Work"}, InternalUnix: 12345})
		w.start()
		report := w.rebuild()
		if report.Delivered != 21 || len(report.Accounts) != 2 {
			t.Errorf("report: %+v", report)
		}
		m, err := w.store.MailboxNamed(t.Context(), "alice", "Lists/Go")
		w.ok(err)
		page, _, err := w.store.Messages(t.Context(), "alice", m.GetMailboxId(), uidset.All, 0, meta.Wanted{})
		w.ok(err)
		if s := page[0].State; len(page) != 1 || s.GetFlags() != 3 || !slices.Equal(s.GetKeywords(), []string{"$Work"}) || s.GetInternalUnix() != 12345 {
			t.Errorf("appended message: %v", page[0].State)
		}
	})
}

func TestWhatWasDeletedBeforeTheCatalogStaysDeleted(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		w := newWorld(t, open, 9)
		w.deliver("alice", "bob") // one body: bob keeps it
		w.deliver("alice")
		w.deliver("carol")
		inbox, err := w.store.MailboxNamed(t.Context(), "alice", "INBOX")
		w.ok(err)
		_, err = w.store.StoreFlags(t.Context(), "alice", inbox.GetMailboxId(), uidset.All, meta.FlagChange{
			Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_DELETED),
		})
		w.ok(err)
		_, _, err = w.store.Expunge(t.Context(), "alice", inbox.GetMailboxId(), uidset.All)
		w.ok(err)
		w.now = w.now.Add(2 * retention) // nothing can be restored any more
		for more := true; more; {
			_, more, err = w.store.PurgeExpired(t.Context())
			w.ok(err)
		}
		_, err = w.store.PurgeAccount(t.Context(), "carol")
		w.ok(err)
		w.snapshot()
		w.start()
		report := w.rebuild()
		if report.Purged != 1 || report.Dead != 3 || report.Delivered != 0 {
			t.Errorf("report: %+v", report)
		}
		if got := w.inbox("alice"); len(got) != 0 {
			t.Errorf("alice has %d messages back", len(got))
		}
		if got := w.inbox("bob"); len(got) != 1 {
			t.Errorf("bob has %d messages, want 1", len(got))
		}
		if _, err := w.store.MailboxNamed(t.Context(), "carol", "INBOX"); !errors.Is(err, meta.ErrAccountNotFound) {
			t.Errorf("the purged account: got %v, want ErrAccountNotFound", err)
		}
	})
}

func TestAClientLearnsWhatIsTrueAgain(t *testing.T) {
	w := newWorld(t, databases["SQLite"], 10)
	for range 6 {
		w.deliver("alice")
	}
	inbox, err := w.store.MailboxNamed(t.Context(), "alice", "INBOX")
	w.ok(err)
	w.snapshot()
	// What the client sees after the snapshot, and the store forgets.
	w.deliver("alice")
	_, err = w.store.StoreFlags(t.Context(), "alice", inbox.GetMailboxId(), uidset.Of(2), meta.FlagChange{Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: 1})
	w.ok(err)
	seen, err := w.store.MailboxNamed(t.Context(), "alice", "INBOX")
	w.ok(err)
	w.start()
	w.rebuild()
	d, err := w.store.Sync(t.Context(), "alice", inbox.GetMailboxId(), seen.GetHighestModseq(), seen.GetUidValidity())
	w.ok(err)
	var states []string
	for _, s := range d.Changed {
		states = append(states, fmt.Sprint(s.GetUid(), " ", s.GetFlags()))
	}
	if got := states[:6]; fmt.Sprint(got) != "[1 0 2 0 3 0 4 0 5 0 6 0]" {
		t.Errorf("changed: %v", got)
	}
	if !d.Vanished.Contains(7) || d.Vanished.Contains(6) {
		t.Errorf("vanished: %v", d.Vanished)
	}
	if d.Mailbox.GetUidNext() <= seen.GetUidNext()+100_000 {
		t.Errorf("UIDNEXT is %d after %d", d.Mailbox.GetUidNext(), seen.GetUidNext())
	}
}

func TestARebuildGoesOnWhereItWasCutOff(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		w := newWorld(t, open, 11)
		want := w.history()
		w.start()
		cut := errors.New("cut off")
		for n := 1; ; n++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			steps := 0
			opts := w.rebuildOptions()
			opts.Progress = func(string, int, int) {
				if steps++; steps == 8*n {
					cancel(cut)
				}
			}
			_, err := rebuild.Run(ctx, opts)
			cancel(nil)
			if err == nil {
				break
			}
			if !errors.Is(context.Cause(ctx), cut) {
				t.Fatal(err)
			}
			if begun, err := w.store.Rebuilding(t.Context()); err != nil || !begun {
				t.Fatalf("after run %d the rebuild counts as ended: %v", n, err)
			}
		}
		w.compare(w.state(), want)
		if _, err := rebuild.Run(t.Context(), w.rebuildOptions()); !errors.Is(err, meta.ErrNotEmpty) {
			t.Errorf("once more: got %v, want ErrNotEmpty", err)
		}
	})
}

func TestDamageCostsWhatIsDamaged(t *testing.T) {
	w := newWorld(t, databases["SQLite"], 12)
	for range 5 {
		w.deliver("alice")
	}
	w.snapshot()
	keys := w.keys(body.KeyPrefix)
	w.rewrite(keys[0], func(b []byte) []byte { return b[:len(b)-60] }) // the index
	w.rewrite(keys[1], func(b []byte) []byte { b[200] ^= 0xff; return b })
	w.ok(w.objects.Delete(t.Context(), keys[2]))
	w.start()
	report := w.rebuild()
	if len(w.inbox("alice")) != 3 || len(report.Lost) != 2 || len(report.Damaged) < 2 {
		t.Errorf("%d messages; report: %+v", len(w.inbox("alice")), report)
	}
	for _, l := range report.Lost {
		if l.AccountID != "alice" || l.Mailbox != "INBOX" || l.UID != 2 && l.UID != 3 {
			t.Errorf("lost: %+v", l)
		}
	}
}

func TestADamagedSnapshotFallsBackToTheOneBefore(t *testing.T) {
	w := newWorld(t, databases["SQLite"], 13)
	w.deliver("alice")
	w.snapshot()
	before := w.keys(catalog.KeyPrefix)
	w.deliver("alice")
	w.snapshot()
	for _, key := range w.keys(catalog.KeyPrefix) {
		if !slices.Contains(before, key) {
			w.rewrite(key, func(b []byte) []byte { return b[:len(b)/2] })
		}
	}
	w.setTaken(time.Now().Add(-time.Hour))
	w.start()
	report := w.rebuild()
	if len(w.inbox("alice")) != 2 || report.Delivered != 1 || len(report.Damaged) == 0 {
		t.Errorf("%d messages; report: %+v", len(w.inbox("alice")), report)
	}
}

// TestADeliveryThatWasTriedAgainComesBackOnce: the body of the second try lies in a pack, too.
func TestADeliveryThatWasTriedAgainComesBackOnce(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		w := newWorld(t, open, 15)
		for range 2 {
			w.request("again", "Subject: one\r\n\r\n1\r\n", delivery.Target{AccountID: "alice", Mailbox: "INBOX"})
		}
		if packs := w.keys(body.KeyPrefix); len(packs) != 2 {
			t.Fatalf("%d packs, want one for each try", len(packs))
		}
		w.start()
		report := w.rebuild()
		if got := w.inbox("alice"); len(got) != 1 || report.Delivered != 1 || report.Dead != 1 {
			t.Errorf("alice has %d messages, report %+v", len(got), report)
		}
	})
}

// TestPacksThatDoNotTellTheContentID is about packs from before they did.
func TestPacksThatDoNotTellTheContentID(t *testing.T) {
	w := newWorld(t, databases["SQLite"], 14)
	old := func(text string) {
		spool := w.spools.New(0)
		_, err := spool.Write([]byte(text))
		w.ok(err)
		structure, err := message.Parse(spool, spool.Size(), message.DefaultLimits())
		w.ok(err)
		c, err := meta.NewContent(uuid.Must(uuid.NewV7()).String(), structure, []byte("Subject: one\r\n\r\n"))
		w.ok(err)
		header, err := proto.Marshal(&storagev1.DeliverRequest_Header{DeliveryId: "x", SizeHint: 5, AllOrNone: true, Recipients: []*storagev1.DeliverRequest_Recipient{
			{AccountId: "alice", Prefix: prefix("alice"), Mailbox: "INBOX"},
		}})
		w.ok(err)
		locations, err := w.bodies.Put(t.Context(), []*body.Pending{{Spool: spool, Meta: header}})
		w.ok(err)
		c.Location = locations[0]
		w.ok(w.store.Insert(t.Context(), []*meta.Unit{{Rows: []*meta.Row{{AccountID: "alice", Mailbox: "INBOX", Content: c, Prefix: prefix("alice")}}}}))
		w.ok(spool.Close())
	}
	old("Subject: one\r\n\r\n1\r\n")
	w.snapshot()
	want := w.state()
	w.start()
	w.rebuild()
	w.compare(w.state(), want)
	// Without a catalog it comes back too.
	for _, key := range w.keys(catalog.KeyPrefix) {
		w.ok(w.objects.Delete(t.Context(), key))
	}
	w.start()
	w.rebuild()
	if got := w.inbox("alice"); len(got) != 1 {
		t.Errorf("alice has %d messages, want 1", len(got))
	}
}

func TestBodiesThatWereMovedAreFound(t *testing.T) {
	w := newWorld(t, databases["SQLite"], 15)
	w.history()
	w.append("alice", "Sent") // of which the pack knows alice alone
	sent, err := w.store.MailboxNamed(t.Context(), "alice", "Sent")
	w.ok(err)
	last := uidset.Of(sent.GetUidNext() - 1)
	_, err = w.transfer("alice", sent.GetMailboxId(), last, "bob", "INBOX", false)
	w.ok(err)
	_, err = w.transfer("alice", sent.GetMailboxId(), last, "carol", "INBOX", true)
	w.ok(err)
	w.snapshot()
	want := w.state()
	for i, key := range w.keys(body.KeyPrefix) {
		raw := w.read(key)
		p, err := pack.Open(bytes.NewReader(raw), int64(len(raw)))
		w.ok(err)
		var moved bytes.Buffer
		out := pack.NewWriter(&moved)
		for _, f := range slices.Backward(p.Frames()) {
			var text bytes.Buffer
			_, err := p.WriteFrame(&text, f)
			w.ok(err)
			_, err = out.Append(f.Meta, &text, f.Size)
			w.ok(err)
		}
		w.ok(out.Close())
		at := uuid.Must(uuid.NewV7())
		to := body.KeyPrefix + time.Now().UTC().Format("20060102") + "/" + at.String()
		w.ok(w.objects.Put(t.Context(), to, &moved, int64(moved.Len())))
		if i%2 == 0 { // of the others both are there, as after a crash of the compactor
			w.ok(w.objects.Delete(t.Context(), key))
		}
	}
	w.start()
	if report := w.rebuild(); len(report.Lost) > 0 || report.Delivered > 0 {
		t.Errorf("report: %+v", report)
	}
	w.compare(w.state(), want)
}

// Whichever of the two accounts the catalog has seen since, what was moved from one to the other is somewhere: where it was, restorable there, or
// where it went.
func TestWhatWasMovedIntoAnotherAccountIsNotLost(t *testing.T) {
	const at, deletedAt, into = "in the inbox it was in", "deleted there", "in the inbox it was moved to"
	for _, c := range []struct {
		unseen []string // accounts of which the snapshot after the move is not there
		want   string
	}{
		{nil, deletedAt + ", " + into},
		{[]string{"alice", "bob"}, at},
		{[]string{"alice"}, at + ", " + into},
		{[]string{"bob"}, deletedAt},
	} {
		w := newWorld(t, databases["SQLite"], 20)
		w.deliver("alice")
		w.append("bob", "Sent")
		w.snapshot()
		inbox, err := w.store.MailboxNamed(t.Context(), "alice", "INBOX")
		w.ok(err)
		_, err = w.transfer("alice", inbox.GetMailboxId(), uidset.All, "bob", "INBOX", true)
		w.ok(err)
		before := w.keys(catalog.KeyPrefix)
		w.snapshot()
		for _, key := range w.keys(catalog.KeyPrefix) {
			if !slices.Contains(before, key) {
				w.without(key, c.unseen)
			}
		}
		w.start()
		if report := w.rebuild(); len(report.Lost) > 0 || len(report.Damaged) > 0 {
			t.Errorf("report: %+v", report)
		}
		var got []string
		if len(w.inbox("alice")) > 0 {
			got = append(got, at)
		}
		if deleted, err := w.store.ListDeleted(t.Context(), "alice", nil); err != nil || len(deleted) > 0 {
			got = append(got, deletedAt)
		}
		if len(w.inbox("bob")) > 0 {
			got = append(got, into)
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("without the snapshots of %v the message is %q, want %q", c.unseen, got, c.want)
		}
	}
}

func TestTheCatalogGoesOnAfterARebuild(t *testing.T) {
	w := newWorld(t, databases["SQLite"], 16)
	w.history()
	w.start()
	w.rebuild()
	for range 40 {
		w.step()
	}
	w.snapshot()
	want := w.state()
	w.start()
	w.rebuild()
	w.compare(w.state(), want)
	for range 3 { // older generations go
		for _, account := range accounts {
			_, err := w.store.Restore(t.Context(), account, meta.RestoreFilter{}, meta.Reserved{Bytes: 1 << 40, Messages: 1 << 20})
			w.ok(err)
			w.deliver(account)
		}
		w.snapshot()
	}
	if n := len(w.keys(catalog.KeyPrefix)); n > 6 {
		t.Errorf("the catalog has %d objects, though two generations are kept", n)
	}
}

// TestAnOldDatabaseTakesUpWhatCameSince restores a database without its bucket, in which mail came and bodies were moved meanwhile.
func TestAnOldDatabaseTakesUpWhatCameSince(t *testing.T) {
	file := filepath.Join(t.TempDir(), "storage.db")
	w := newWorld(t, func(t *testing.T) *sqldb.DB {
		db, err := sqldb.OpenSQLite(file, sqldb.Options{})
		return closeLater(t, db, err)
	}, 17)
	for range 3 {
		w.deliver("alice", "bob")
	}
	from, err := w.store.MailboxNamed(t.Context(), "alice", "INBOX")
	w.ok(err)
	_, err = w.store.MailboxNamed(t.Context(), "carol", "INBOX")
	w.ok(err)
	_, err = w.transfer("alice", from.GetMailboxId(), uidset.Of(2), "carol", "INBOX", false)
	w.ok(err)
	want := w.state()
	copied := filepath.Join(t.TempDir(), "storage.db")
	w.ok(w.db.Write(t.Context(), "settle", func(tx *sqldb.Tx) error { // all of it is long past
		_, err := tx.Exec(t.Context(), `UPDATE packs SET created_unix = created_unix - 3600`)
		return err
	}))
	raw, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	w.ok(err)
	_, err = raw.ExecContext(t.Context(), `VACUUM INTO ?`, copied)
	w.ok(errors.Join(err, raw.Close()))
	old := w.keys(body.KeyPrefix)

	w.deliver("alice", "erin")
	to := body.KeyPrefix + time.Now().UTC().Format("20060102") + "/" + uuid.Must(uuid.NewV7()).String()
	w.rewrite(old[1], func(b []byte) []byte {
		w.ok(w.objects.Put(t.Context(), to, bytes.NewReader(b), object.SizeUnknown))
		return nil
	})
	w.ok(w.objects.Delete(t.Context(), old[1])) // moved
	w.ok(w.objects.Delete(t.Context(), old[2])) // lost

	w.open = func(t *testing.T) *sqldb.DB {
		db, err := sqldb.OpenSQLite(copied, sqldb.Options{})
		return closeLater(t, db, err)
	}
	w.start()
	report, err := rebuild.Merge(t.Context(), w.rebuildOptions())
	w.ok(err)
	metatest.Check(t, w.db)
	if report.Delivered != 2 || report.Located != 3 || report.Dead != 0 || len(report.Damaged) > 0 {
		t.Errorf("report: %+v", report)
	}
	missing, err := w.store.MissingIn(t.Context(), old[2], 0, true)
	w.ok(err)
	if len(missing) != 2 {
		t.Errorf("%d messages are missing, want 2", len(missing))
	}
	for account, n := range map[string]int{"alice": 3, "bob": 2, "carol": 1, "erin": 1} {
		if got := w.inbox(account); len(got) != n {
			t.Errorf("%s has %d messages, want %d", account, len(got), n)
		}
	}
	for _, m := range w.state()["bob"].mailboxes {
		for uid, text := range m.messages {
			if text != want["bob"].mailboxes[m.id].messages[uid] {
				t.Errorf("message %d of bob is another one", uid)
			}
		}
	}
	if _, err := rebuild.Merge(t.Context(), w.rebuildOptions()); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// inbox gives the descriptions of the messages in an INBOX.
func (w *world) inbox(account string) (out []string) {
	w.Helper()
	m, err := w.store.MailboxNamed(w.Context(), account, "INBOX")
	w.ok(err)
	for after, more := uint32(0), true; more; {
		var page []*meta.Message
		page, more, err = w.store.Messages(w.Context(), account, m.GetMailboxId(), uidset.All, after, meta.Wanted{})
		w.ok(err)
		for _, msg := range page {
			after = msg.State.GetUid()
			out = append(out, w.describe(msg))
		}
	}
	return out
}

func (w *world) keys(prefix string) (keys []string) {
	w.Helper()
	for info, err := range w.objects.List(w.Context(), prefix, "") {
		w.ok(err)
		keys = append(keys, info.Key)
	}
	return keys
}

func (w *world) read(key string) []byte {
	w.Helper()
	r, err := w.objects.GetRange(w.Context(), key, 0, -1)
	w.ok(err)
	defer r.Close()
	b, err := io.ReadAll(r)
	w.ok(err)
	return b
}

// rewrite puts other octets under a key.
func (w *world) rewrite(key string, change func([]byte) []byte) {
	w.Helper()
	b := change(w.read(key))
	w.ok(w.objects.Delete(w.Context(), key))
	w.ok(w.objects.Put(w.Context(), key, bytes.NewReader(b), object.SizeUnknown))
}

// without takes the snapshots of some accounts out of an object of the catalog.
func (w *world) without(key string, unseen []string) {
	w.Helper()
	w.frames(key, func(e *storagev1.CatalogEntry) bool { return !slices.Contains(unseen, e.GetAccountId()) })
}

// setTaken gives all snapshots another time, as if they had been taken then.
func (w *world) setTaken(at time.Time) {
	w.Helper()
	for _, key := range w.keys(catalog.KeyPrefix) {
		w.frames(key, func(e *storagev1.CatalogEntry) bool {
			at = at.Add(time.Millisecond)
			e.TakenUnixMs = at.UnixMilli()
			return true
		})
	}
}

// frames writes an object of the catalog again with other entries, and without those that are not to be kept.
func (w *world) frames(key string, change func(*storagev1.CatalogEntry) (keep bool)) {
	w.Helper()
	w.rewrite(key, func(raw []byte) []byte {
		p, err := pack.Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return raw // damaged on purpose
		}
		var b bytes.Buffer
		out := pack.NewWriter(&b)
		for _, f := range p.Frames() {
			e, err := catalog.ParseEntry(f.Meta)
			w.ok(err)
			if !change(e) {
				continue
			}
			entry, err := proto.Marshal(e)
			w.ok(err)
			var text bytes.Buffer
			_, err = p.WriteFrame(&text, f)
			w.ok(err)
			_, err = out.Append(entry, &text, f.Size)
			w.ok(err)
		}
		w.ok(out.Close())
		return b.Bytes()
	})
}
