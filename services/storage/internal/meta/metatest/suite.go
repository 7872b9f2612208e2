package metatest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Run holds a database to what the metadata store promises. open gives an empty database that is closed by the test's end.
func Run(t *testing.T, open func(*testing.T) *sqldb.DB) {
	for name, test := range map[string]func(*fixture){
		"Insert":           testInsert,
		"InsertLeavesOut":  testInsertLeavesOut,
		"Duplicates":       testDuplicates,
		"ConcurrentInsert": testConcurrentInsert,
		"Events":           testEvents,
		"Mailboxes":        testMailboxes,
		"Flags":            testFlags,
		"FlagsOfSome":      testFlagsOfSome,
		"Sync":             testSync,
		"Move":             testMove,
		"Copy":             testCopy,
		"Pages":            testPages,
		"Restore":          testRestore,
		"ClaimPacks":       testClaimPacks,
		"SmallPacks":       testSmallPacks,
		"MoveFrames":       testMoveFrames,
		"MoveManyFrames":   testMoveManyFrames,
		"LostPack":         testLostPack,
		"ShareAnew":        testShareAnew,
		"LooseObjects":     testLooseObjects,
		"CheckPacks":       testCheckPacks,
		"Jobs":             testJobs,
		"Expiry":           testExpiry,
		"Leases":           testLeases,
		"Maildrop":         testMaildrop,
		"Purge":            testPurge,
		"PurgeCutOff":      testPurgeCutOff,
		"UsedUpUIDs":       testUsedUpUIDs,
		"ExpungeMany":      testExpungeMany,
		"Rollback":         testRollback,
		"Hostile":          testHostile,
		"Notices":          testNotices,

		"Replace":           testReplace,
		"ReplaceAgain":      testReplaceAgain,
		"ConcurrentReplace": testConcurrentReplace,
		"Metadata":          testMetadata,
		"MetadataLimits":    testMetadataLimits,
		"Access":            testAccess,
		"Transfer":          testTransfer,
		"TransferThreads":   testTransferThreads,
		"TransferAtOnce":    testTransferAtOnce,

		"TransferWhileFramesMove": testTransferWhileFramesMove,
	} {
		t.Run(name, func(t *testing.T) {
			f := &fixture{T: t, ctx: t.Context(), db: open(t), now: time.Unix(1_800_000_000, 0)}
			store, err := meta.New(t.Context(), f.db, meta.Options{
				Retention: time.Hour, Now: func() time.Time { return f.now },
				Committed: func(c meta.Commit) {
					f.mu.Lock()
					defer f.mu.Unlock()
					f.commits = append(f.commits, c)
					if f.committed != nil {
						f.committed(c)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			f.store = store
			test(f)
			f.checkUsage()
		})
	}
}

// fixture is a store under test.
type fixture struct {
	*testing.T
	ctx     context.Context
	db      *sqldb.DB
	store   *meta.Store
	now     time.Time
	mu      sync.Mutex
	commits []meta.Commit
	// committed is called after each commit, if set.
	committed func(meta.Commit)
	bodies    int
	settled   map[string]Usage // what was taken out of the events by account
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantReason(err error, want rpcv1.Reason) {
	f.Helper()
	if !fault.Is(err, want) {
		f.Errorf("got error %v, want %v", err, want)
	}
}

func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		f.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// checkUsage checks the invariants, and that the events add up to the rows of every account.
func (f *fixture) checkUsage() {
	f.Helper()
	for account, u := range Check(f, f.db) {
		s := f.settled[account]
		f.equal("events of "+account, []int64{s.Bytes + u.PendingBytes(0), s.Messages + u.PendingMessages(0)}, []int64{u.Bytes, u.Messages})
	}
}

// content makes a content of size octets in an object of its own.
func (f *fixture) content(size int64) *meta.Content {
	f.bodies++
	c, err := meta.NewContent(fmt.Sprint("E", f.bodies), &mailv1.Structure{
		Root: &mailv1.Part{Type: "text", Subtype: "plain", HeaderSize: 14, BodyOffset: 14}, Preview: "preview", SentUnix: 1,
		Envelope: &mailv1.Envelope{Subject: []byte("x")}, MessageId: fmt.Sprint(f.bodies, "@x"), BaseSubject: "x",
	}, []byte("Subject: x\r\n\r\n"))
	f.ok(err)
	c.Location = body.Location{Object: fmt.Sprint("packs/", f.bodies), Stored: size/2 + 1, Size: size, Sum: 1 << 63}
	return c
}

func (f *fixture) row(account, mailbox string, c *meta.Content) *meta.Row {
	return &meta.Row{AccountID: account, Mailbox: mailbox, Content: c, InternalUnix: 5}
}

// insert stores n messages of 100 octets.
func (f *fixture) insert(account, mailbox string, n int) {
	f.Helper()
	u := &meta.Unit{}
	for range n {
		u.Rows = append(u.Rows, f.row(account, mailbox, f.content(100)))
	}
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{u}))
	f.ok(u.Err)
}

// mailbox, sync and setFlags are of account "a", which most cases use.
func (f *fixture) mailbox(name string) *storagev1.Mailbox {
	f.Helper()
	m, err := f.store.MailboxNamed(f.ctx, "a", name)
	f.ok(err)
	return m
}

func (f *fixture) sync(mailbox, since uint64) *meta.Delta {
	f.Helper()
	d, err := f.store.Sync(f.ctx, "a", mailbox, since, 0)
	f.ok(err)
	if since > 0 {
		few, err := f.store.SyncFew(f.ctx, "a", mailbox, since, d.Mailbox.GetUidValidity())
		f.ok(err)
		if few != nil {
			f.equal("few changes", few, d)
		} else if len(d.Changed)+len(d.Vanished) == 0 {
			f.Errorf("no changes since %d are many", since)
		}
	}
	return d
}

func uids(d *meta.Delta) []uint32 {
	var out []uint32
	for _, m := range d.Changed {
		out = append(out, m.GetUid())
	}
	return out
}

func (f *fixture) setFlags(mailbox uint64, set uidset.Set, flags storagev1.Flag, keywords ...string) *meta.Flagged {
	f.Helper()
	out, err := f.store.StoreFlags(f.ctx, "a", mailbox, set, meta.FlagChange{
		Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(flags), Keywords: keywords,
	})
	f.ok(err)
	return out
}

func testInsert(f *fixture) {
	c := f.content(100)
	a, b := f.row("a", "INBOX", c), f.row("b", "INBOX", c)
	a.Prefix, a.Flags, a.Keywords = []byte("X: y\r\n"), uint32(storagev1.Flag_FLAG_SEEN), []string{"Work"}
	u := &meta.Unit{Rows: []*meta.Row{a, b}}
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{u}))
	f.equal("placed", fmt.Sprint(u.Placed[0].UID, u.Placed[1].UID, u.Err), "1 1 <nil>")
	box := f.mailbox("INBOX")
	f.equal("counters", []any{box.GetMessages(), box.GetUnseen(), box.GetBytes(), box.GetUidNext(), box.GetHighestModseq()}, []any{1, 0, 106, 2, 2})
	page, more, err := f.store.Messages(f.ctx, "a", box.GetMailboxId(), uidset.All, 0, meta.Wanted{Header: true, Summary: true, Root: true})
	f.ok(err)
	f.equal("more", more, false)
	m := page[0]
	f.equal("location", m.Location, c.Location)
	f.equal("parts", []any{string(m.Prefix), string(m.Header), m.Summary.GetPreview(), m.Root.GetType(), m.SentUnix, m.HeaderSize, m.EmailID, m.State.GetKeywords()},
		[]any{"X: y\r\n", "Subject: x\r\n\r\n", "preview", "text", 1, 14, c.ID, []string{"Work"}})
	total, live, objects, err := f.store.ObjectBytes(f.ctx)
	f.ok(err)
	f.equal("objects", []int64{total, live, objects}, []int64{51, 51, 1})
}

func testInsertLeavesOut(f *fixture) {
	missing := &meta.Unit{Rows: []*meta.Row{f.row("a", "INBOX", f.content(1)), f.row("a", "None", f.content(1))}}
	badKeyword := &meta.Unit{Rows: []*meta.Row{f.row("a", "INBOX", f.content(1))}}
	badKeyword.Rows[0].Keywords = []string{"not an atom"}
	fallback := &meta.Unit{Rows: []*meta.Row{f.row("a", "None", f.content(1))}}
	fallback.Rows[0].Fallback = true
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{missing, badKeyword, fallback}))
	f.wantReason(missing.Err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.wantReason(badKeyword.Err, rpcv1.Reason_REASON_INVALID)
	f.ok(fallback.Err)
	f.equal("messages", f.mailbox("INBOX").GetMessages(), 1)
}

func testDuplicates(f *fixture) {
	unit := func() *meta.Unit {
		r := f.row("a", "INBOX", f.content(10))
		r.DeliveryID = "d"
		return &meta.Unit{Rows: []*meta.Row{r}}
	}
	first, same, later := unit(), unit(), unit()
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{first, same}))
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{later}))
	f.equal("first", first.Placed[0].Duplicate, false)
	for _, u := range []*meta.Unit{same, later} {
		f.equal("duplicate", []any{u.Placed[0].Duplicate, u.Placed[0].UID, u.Placed[0].MailboxID}, []any{true, first.Placed[0].UID, first.Placed[0].MailboxID})
	}
	key := first.Rows[0].Key()
	found, err := f.store.Deliveries(f.ctx, []meta.DeliveryKey{key, {AccountID: "a", DeliveryID: "other", Mailbox: "INBOX"}})
	f.ok(err)
	f.equal("found", []any{len(found), found[key].UID}, []any{1, 1})
	f.equal("messages", f.mailbox("INBOX").GetMessages(), 1)
	f.now = f.now.Add(26 * time.Hour)
	_, err = f.store.ForgetDeliveries(f.ctx)
	f.ok(err)
	found, err = f.store.Deliveries(f.ctx, []meta.DeliveryKey{key})
	f.ok(err)
	f.equal("found after a day", len(found), 0)
}

func testConcurrentInsert(f *fixture) {
	const n = 40
	units := make([]*meta.Unit, n)
	for i := range units {
		units[i] = &meta.Unit{Rows: []*meta.Row{f.row("a", "INBOX", f.content(10)), f.row("b", "INBOX", f.content(10))}}
		if i%2 == 1 { // the other order must not deadlock
			units[i].Rows[0], units[i].Rows[1] = units[i].Rows[1], units[i].Rows[0]
		}
	}
	var wg sync.WaitGroup
	for _, u := range units {
		wg.Go(func() {
			if err := f.store.Insert(f.ctx, []*meta.Unit{u}); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, u := range units {
		for i, p := range u.Placed {
			seen[fmt.Sprint(u.Rows[i].AccountID, p.UID)] = true
		}
	}
	f.equal("UIDs", len(seen), 2*n)
}

func testEvents(f *fixture) {
	f.insert("a", "INBOX", 2)
	f.insert("b", "INBOX", 1)
	f.insert("a", "INBOX", 1)
	events, err := f.store.PendingEvents(f.ctx, "", 10)
	f.ok(err)
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.GetAccountId(), e.GetSequence(), " ", e.GetDeltaBytes(), " ", e.GetDeltaMessages()))
	}
	f.equal("events", got, []string{"a1 200 2", "a2 100 1", "b1 100 1"})
	after, err := f.store.PendingEvents(f.ctx, "a", 10)
	f.ok(err)
	f.equal("events after a", len(after), 1)
	f.ok(f.store.ForgetEvents(f.ctx, map[string]int64{"a": 1, "b": 1}))
	f.settled = map[string]Usage{"a": {Bytes: 200, Messages: 2}, "b": {Bytes: 100, Messages: 1}}
	n, err := f.store.CountEvents(f.ctx)
	f.ok(err)
	f.equal("events left", n, 1)
	u, err := f.store.SumUsage(f.ctx, "a", 1)
	f.ok(err)
	f.equal("usage", u, meta.Usage{Bytes: 300, Messages: 3, PendingBytes: 100, PendingMessages: 1, LastSequence: 2})
}

func testRollback(f *fixture) {
	f.insert("a", "INBOX", 1)
	before := f.mailbox("INBOX").String()
	f.commits = nil
	// The same content again violates a key after most of the work was done.
	c := f.content(10)
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{{Rows: []*meta.Row{f.row("b", "INBOX", c)}}}))
	u := &meta.Unit{Rows: []*meta.Row{f.row("a", "INBOX", f.content(10)), f.row("b", "INBOX", c)}}
	f.commits = nil
	err := f.store.Insert(f.ctx, []*meta.Unit{u})
	f.wantReason(err, rpcv1.Reason_REASON_UNAVAILABLE)
	f.equal("mailbox", f.mailbox("INBOX").String(), before)
	f.equal("notices", len(f.commits), 0)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if _, err := f.store.SumUsage(ctx, "a", 0); !errors.Is(err, context.Canceled) {
		f.Errorf("a cancelled read gives %v", err)
	}
}

func testNotices(f *fixture) {
	f.insert("a", "INBOX", 1)
	f.commits = nil
	box := f.mailbox("INBOX")
	f.setFlags(box.GetMailboxId(), uidset.All, storagev1.Flag_FLAG_SEEN)
	f.setFlags(box.GetMailboxId(), uidset.All, storagev1.Flag_FLAG_SEEN) // changes nothing
	f.equal("commits", len(f.commits), 1)
	f.equal("notice", f.commits[0], meta.Commit{Changes: []meta.Change{{AccountID: "a", MailboxID: box.GetMailboxId(), Modseq: box.GetHighestModseq() + 1}}})
}
