package rebuild_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/catalog"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/meta/metatest"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
	"github.com/yubin-mail/yubin/services/storage/internal/rebuild"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// databases are the kinds that a rebuild must work with.
var databases = map[string]func(*testing.T) *sqldb.DB{
	"SQLite": func(t *testing.T) *sqldb.DB {
		db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "storage.db"), sqldb.Options{})
		return closeLater(t, db, err)
	},
	"PostgreSQL": func(t *testing.T) *sqldb.DB {
		db, err := sqldb.OpenPostgres(t.Context(), sqldb.PostgresConfig{URL: postgres.Start(t).Database(t)}, sqldb.Options{})
		return closeLater(t, db, err)
	},
}

func closeLater(t *testing.T, db *sqldb.DB, err error) *sqldb.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// world is storage without its transports, on a clock of the test.
type world struct {
	*testing.T
	open    func(*testing.T) *sqldb.DB
	db      *sqldb.DB
	store   *meta.Store
	objects *object.Dir
	bodies  *body.Store
	spools  *body.Spools
	writer  *delivery.Writer
	catalog *catalog.Cataloguer
	now     time.Time
	rand    *rand.Rand
	count   int
}

const retention = 30 * 24 * time.Hour

func newWorld(t *testing.T, open func(*testing.T) *sqldb.DB, seed uint64) *world {
	t.Helper()
	// The packs' keys and the content ids have the real time, so the clock begins there.
	w := &world{T: t, open: open, now: time.Now(), rand: rand.New(rand.NewPCG(seed, 1))}
	t.Logf("seed %d", seed)
	var err error
	w.objects, err = object.OpenDir(filepath.Join(t.TempDir(), "objects"))
	w.ok(err)
	t.Cleanup(func() { _ = w.objects.Close() })
	w.spools, err = body.OpenSpools(body.SpoolConfig{Dir: t.TempDir()})
	w.ok(err)
	w.start()
	return w
}

// start opens an empty database and all that works on it.
func (w *world) start() {
	w.Helper()
	log := slog.New(slog.DiscardHandler)
	clock := func() time.Time { return w.now }
	w.db = w.open(w.T)
	var err error
	w.store, err = meta.New(w.Context(), w.db, meta.Options{Retention: retention, Now: clock})
	w.ok(err)
	w.bodies, err = body.NewStore(body.Config{Objects: w.objects, LargeBytes: 64 << 10})
	w.ok(err)
	w.writer = delivery.New(delivery.Config{Wait: -1}, delivery.Deps{
		Meta: w.store, Bodies: w.bodies, Spools: w.spools, Capacity: capacity.New(quotatest.New().Client(), log), Log: log, Now: clock,
	})
	w.catalog = catalog.New(catalog.Deps{Meta: w.store, Objects: w.objects, Spools: w.spools, Now: clock})
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// snapshot writes the catalog. Deliveries before it are taken to be committed long before.
func (w *world) snapshot() {
	w.Helper()
	w.now = w.now.Add(time.Hour)
	w.ok(w.catalog.Write(w.Context()))
}

// put stores one message for some targets.
func (w *world) put(text string, targets ...delivery.Target) {
	w.Helper()
	w.request("", text, targets...)
}

// request is put with a request id.
func (w *world) request(id, text string, targets ...delivery.Target) {
	w.Helper()
	m, err := w.writer.NewMessage(0)
	w.ok(err)
	defer m.Close()
	_, err = m.Write([]byte(text))
	w.ok(err)
	w.ok(m.Seal(uint64(len(text))))
	for i := range targets {
		targets[i].Message = m
	}
	outcomes, err := w.writer.Store(w.Context(), delivery.Request{ID: id, Targets: targets})
	w.ok(err)
	for _, o := range outcomes {
		if o.Status != delivery.Stored {
			w.Fatalf("message was not stored: %v", o.Status)
		}
	}
}

func (w *world) text() string {
	w.count++
	size := w.rand.IntN(2000)
	if w.rand.IntN(20) == 0 {
		size = 70_000 + w.rand.IntN(300_000)
	}
	subject := fmt.Sprintf("subject %d", w.rand.IntN(8))
	return fmt.Sprintf("From: a@example.test\r\nSubject: %s\r\nMessage-ID: <%d@example.test>\r\nIn-Reply-To: <%d@example.test>\r\n\r\n%d %s\r\n",
		subject, w.count, w.rand.IntN(w.count), w.count, strings.Repeat("Yubin ", size/6))
}

func prefix(account string) []byte { return []byte("Delivered-To: " + account + "@example.test\r\n") }

// deliver stores a message in the INBOX of accounts.
func (w *world) deliver(accounts ...string) {
	w.Helper()
	var targets []delivery.Target
	for _, account := range accounts {
		targets = append(targets, delivery.Target{AccountID: account, Mailbox: "INBOX", Fallback: true, Prefix: prefix(account)})
	}
	w.put(w.text(), targets...)
}

// append stores a message as a mail program does.
func (w *world) append(account, mailbox string) {
	w.Helper()
	w.put(w.text(), delivery.Target{
		AccountID: account, Mailbox: mailbox, Flags: uint32(w.rand.IntN(16)), Keywords: []string{"$Work"}, InternalUnix: 1_000_000 + int64(w.count),
	})
}

var accounts = []string{"alice", "bob", "carol", "dave"}

// step does something at random.
func (w *world) step() {
	w.Helper()
	ctx := w.Context()
	w.now = w.now.Add(time.Second)
	account := accounts[w.rand.IntN(len(accounts))]
	list, _, err := w.store.ListMailboxes(ctx, account)
	w.ok(err)
	m, other := list[w.rand.IntN(len(list))], list[w.rand.IntN(len(list))]
	some := w.some(m)
	switch n := w.rand.IntN(100); {
	case n < 30:
		k := 1 + w.rand.IntN(len(accounts))
		w.deliver(accounts[:k]...)
	case n < 45:
		w.append(account, m.GetName())
	case n < 65:
		op := storagev1.StoreFlagsRequest_Operation(1 + w.rand.IntN(3))
		_, err = w.store.StoreFlags(ctx, account, m.GetMailboxId(), some, meta.FlagChange{
			Operation: op, Flags: uint32(w.rand.IntN(32)), Keywords: [][]string{nil, {"$Work"}, {"Later", "$Forwarded"}}[w.rand.IntN(3)],
		})
	case n < 73:
		_, err = w.store.Move(ctx, account, m.GetMailboxId(), some, other.GetName())
	case n < 75:
		if to := accounts[w.rand.IntN(len(accounts))]; to != account {
			_, err = w.transfer(account, m.GetMailboxId(), some, to, "INBOX", w.rand.IntN(2) == 0)
		}
	case n < 80:
		_, err = w.store.Copy(ctx, account, m.GetMailboxId(), some, other.GetName(), meta.Reserved{Bytes: 1 << 40, Messages: 1 << 20})
	case n < 82:
		if grantee := accounts[w.rand.IntN(len(accounts))]; grantee != account {
			op := storagev1.SetAclRequest_Operation(1 + w.rand.IntN(3))
			err = w.store.SetAcl(ctx, account, m.GetName(), op, meta.Grant{Grantee: grantee, Rights: meta.Rights(w.rand.IntN(1 << 11))})
		}
	case n < 88:
		_, _, err = w.store.Expunge(ctx, account, m.GetMailboxId(), some)
	case n < 92:
		w.count++
		_, err = w.store.CreateMailbox(ctx, account, fmt.Sprintf("Folder %d/Unter %d", w.rand.IntN(9), w.count), 0)
	case n < 95:
		w.count++
		err = w.store.RenameMailbox(ctx, account, m.GetName(), fmt.Sprintf("Renamed %d", w.count))
	case n < 97:
		if err = w.store.DeleteMailbox(ctx, account, m.GetName()); err != nil {
			err = nil // protected
		}
	case n < 98:
		_, err = w.store.Restore(ctx, account, meta.RestoreFilter{}, meta.Reserved{Bytes: 1 << 40, Messages: 1 << 20})
	case n < 99:
		w.count++
		mailbox := []string{"", m.GetName()}[w.rand.IntN(2)]
		err = w.store.SetAnnotations(ctx, account, mailbox, []meta.AnnotationChange{
			{Entry: "/private/comment", Name: "/private/Comment", Value: fmt.Append(nil, w.count)}, {Entry: "/private/x", Name: "/private/x", Value: []byte{}},
		})
	default:
		w.count++
		err = w.store.SetSubscribed(ctx, account, fmt.Sprintf("Folder %d", w.count), w.rand.IntN(2) == 0)
	}
	w.ok(err)
}

// transfer copies or moves messages into another account, as the owner of both.
func (w *world) transfer(account string, mailbox uint64, set uidset.Set, to, name string, move bool) (*meta.Moved, error) {
	return w.store.Transfer(w.Context(), meta.Transfer{
		AccountID: account, MailboxID: mailbox, UIDs: set, ToAccountID: to, ToMailbox: name, Move: move,
	}, meta.Reserved{Bytes: 1 << 40, Messages: 1 << 20})
}

// some chooses UIDs of a mailbox.
func (w *world) some(m *storagev1.Mailbox) uidset.Set {
	first := 1 + uint32(w.rand.IntN(int(m.GetUidNext())))
	return uidset.Set{{Start: first, Stop: first + uint32(w.rand.IntN(8))}}
}

// rebuilt is the store after the loss of its database and a rebuild.
func (w *world) rebuild() *rebuild.Report {
	w.Helper()
	report, err := rebuild.Run(w.Context(), w.rebuildOptions())
	w.ok(err)
	metatest.Check(w, w.db)
	return report
}

func (w *world) rebuildOptions() rebuild.Options {
	return rebuild.Options{Meta: w.store, Objects: w.objects, Spools: w.spools, Dir: w.TempDir(), Log: slog.New(slog.DiscardHandler)}
}

// mailboxState is what a user can see of a mailbox.
type mailboxState struct {
	name        string
	id          uint64
	uidValidity uint32
	subscribed  bool
	access      string
	messages    map[uint32]string // by UID
}

// accountState is what a user can see of an account, and what the operator could restore.
type accountState struct {
	mailboxes      map[uint64]mailboxState
	subscribedOnly string
	annotations    string
	deleted        map[string]string
}

// contents gives the content ids of all messages, in or out of mailboxes.
func (w *world) state() map[string]accountState {
	w.Helper()
	out := map[string]accountState{}
	for _, account := range accounts {
		list, only, err := w.store.ListMailboxes(w.Context(), account)
		if errors.Is(err, meta.ErrAccountNotFound) {
			continue
		}
		w.ok(err)
		a := accountState{mailboxes: map[uint64]mailboxState{}, subscribedOnly: fmt.Sprint(only), deleted: map[string]string{}}
		for _, all := range []bool{false, true} {
			annotations, err := w.store.Annotations(w.Context(), account, meta.AnnotationScope{All: all}, func(names.Entry) bool { return true })
			w.ok(err)
			a.annotations += fmt.Sprint(annotations)
		}
		for _, m := range list {
			s := mailboxState{m.GetName(), m.GetMailboxId(), m.GetUidValidity(), m.GetSubscribed(), "", map[uint32]string{}}
			acl, err := w.store.Acl(w.Context(), account, m.GetName())
			w.ok(err)
			s.access = fmt.Sprint(acl)
			for after, more := uint32(0), true; more; {
				var page []*meta.Message
				page, more, err = w.store.Messages(w.Context(), account, m.GetMailboxId(), uidset.All, after, meta.Wanted{Header: true, Summary: true, Root: true})
				w.ok(err)
				for _, msg := range page {
					after = msg.State.GetUid()
					s.messages[after] = w.describe(msg)
				}
			}
			a.mailboxes[m.GetMailboxId()] = s
		}
		for last := (*meta.Deleted)(nil); ; {
			page, err := w.store.ListDeleted(w.Context(), account, last)
			w.ok(err)
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				a.deleted[d.Key.String()] = fmt.Sprint(d.Mailbox, d.State.GetSize(), d.DeletedUnix, d.ExpiresUnix, d.Subject())
			}
			last = page[len(page)-1]
		}
		out[account] = a
	}
	return out
}

// describe gives all that a user can tell of a message, its octets included, but the modseq.
func (w *world) describe(m *meta.Message) string {
	w.Helper()
	b, err := w.bodies.Open(w.Context(), m.Location)
	w.ok(err)
	var text bytes.Buffer
	if _, err := b.WriteRange(w.Context(), &text, 0, -1); err != nil {
		w.Fatalf("body of %s: %v", m.EmailID, err)
	}
	s := m.State
	return fmt.Sprintf("%s %s flags %d %v size %d internal %d saved %d popped %v prefix %q header %x %v root %v sent %d: %s", m.EmailID, m.ThreadID, s.GetFlags(), s.GetKeywords(),
		s.GetSize(), s.GetInternalUnix(), s.GetSavedUnix(), s.GetPopped(), m.Prefix, m.Header, m.Summary.String(), m.Root.GetBodySize(), m.SentUnix, text.String())
}

// compare tells what differs between two states of all accounts.
func (w *world) compare(got, want map[string]accountState) {
	w.Helper()
	for _, account := range accounts {
		g, k := got[account], want[account]
		if g.subscribedOnly != k.subscribedOnly {
			w.Errorf("%s: subscribed without mailbox: got %s, want %s", account, g.subscribedOnly, k.subscribedOnly)
		}
		if g.annotations != k.annotations {
			w.Errorf("%s: annotations: got %s, want %s", account, g.annotations, k.annotations)
		}
		if !maps.Equal(g.deleted, k.deleted) {
			w.Errorf("%s: restorable: got %d, want %d\n got %v\nwant %v", account, len(g.deleted), len(k.deleted), g.deleted, k.deleted)
		}
		ids := slices.Concat(slices.Collect(maps.Keys(g.mailboxes)), slices.Collect(maps.Keys(k.mailboxes)))
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			a, b := g.mailboxes[id], k.mailboxes[id]
			if a.name != b.name || a.uidValidity != b.uidValidity || a.subscribed != b.subscribed || a.access != b.access {
				w.Errorf("%s: mailbox %d: got %q %d %v %s, want %q %d %v %s", account, id, a.name, a.uidValidity, a.subscribed, a.access,
					b.name, b.uidValidity, b.subscribed, b.access)
			}
			for uid, text := range b.messages {
				if a.messages[uid] != text {
					w.Errorf("%s: %s: message %d:\n got %.300q\nwant %.300q", account, b.name, uid, a.messages[uid], text)
				}
			}
			for uid, text := range a.messages {
				if _, wanted := b.messages[uid]; !wanted {
					w.Errorf("%s: %s: message %d came from nowhere: %.200q", account, a.name, uid, text)
				}
			}
		}
	}
}
