package metatest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const flagDeleted = storagev1.Flag_FLAG_DELETED

func testMailboxes(f *fixture) {
	none := storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED
	work, err := f.store.CreateMailbox(f.ctx, "a", "work/b", none)
	f.ok(err)
	_, err = f.store.CreateMailbox(f.ctx, "a", "work", none)
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_EXISTS)
	f.ok(f.store.SetSubscribed(f.ctx, "a", "elsewhere", true))
	list, only, err := f.store.ListMailboxes(f.ctx, "a")
	f.ok(err)
	var names []string
	for _, m := range list {
		names = append(names, m.GetName())
	}
	f.equal("names", []any{names, only}, []any{[]string{"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "work", "work/b"}, []string{"elsewhere"}})
	f.insert("a", "work/b", 3)
	f.ok(f.store.RenameMailbox(f.ctx, "a", "work", "x/y"))
	f.equal("renamed", f.mailbox("x/y/b").GetMailboxId(), work.GetMailboxId())
	f.wantReason(f.store.DeleteMailbox(f.ctx, "a", "x/y"), rpcv1.Reason_REASON_MAILBOX_PROTECTED)
	f.ok(f.store.DeleteMailbox(f.ctx, "a", "x/y/b"))
	_, err = f.store.Mailbox(f.ctx, "a", work.GetMailboxId())
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.now = f.now.Add(-time.Hour) // a clock that is set back
	again, err := f.store.CreateMailbox(f.ctx, "a", "x/y/b", none)
	f.ok(err)
	if again.GetUidValidity() <= work.GetUidValidity() || again.GetMailboxId() <= work.GetMailboxId() {
		f.Errorf("the mailbox %v follows on %v", again, work)
	}
	f.insert("a", "INBOX", 2)
	f.ok(f.store.RenameMailbox(f.ctx, "a", "INBOX", "old"))
	f.equal("messages", []uint32{f.mailbox("INBOX").GetMessages(), f.mailbox("old").GetMessages()}, []uint32{0, 2})
}

func testFlags(f *fixture) {
	f.insert("a", "INBOX", 3)
	box := f.mailbox("INBOX")
	out := f.setFlags(box.GetMailboxId(), uidset.Of(1, 3), storagev1.Flag_FLAG_SEEN|flagDeleted, "Work", "$x")
	f.equal("modseq", out.Step, meta.Step{PreviousModseq: box.GetHighestModseq(), HighestModseq: box.GetHighestModseq() + 1})
	box = f.mailbox("INBOX")
	f.equal("counters", []any{box.GetUnseen(), box.GetDeleted(), box.GetDeletedBytes()}, []any{1, 2, 200})
	state := f.sync(box.GetMailboxId(), 0).Changed[2]
	f.equal("state", []any{state.GetFlags(), state.GetKeywords()}, []any{9, []string{"$x", "Work"}})
	old := uint64(2)
	cond, err := f.store.StoreFlags(f.ctx, "a", box.GetMailboxId(), uidset.All, meta.FlagChange{
		Operation: storagev1.StoreFlagsRequest_OPERATION_SET, Keywords: []string{"WORK"}, UnchangedSince: &old,
	})
	f.ok(err)
	f.equal("conditional", []any{len(cond.States), cond.States[0].GetKeywords(), cond.Modified}, []any{1, []string{"Work"}, uidset.Of(1, 3)})
}

func testSync(f *fixture) {
	f.insert("a", "INBOX", 6)
	id := f.mailbox("INBOX").GetMailboxId()
	since := f.sync(id, 0).Mailbox.GetHighestModseq()
	f.setFlags(id, uidset.Of(2, 3, 5), flagDeleted)
	_, _, err := f.store.Expunge(f.ctx, "a", id, uidset.Of(2, 3))
	f.ok(err)
	f.insert("a", "INBOX", 1)
	d := f.sync(id, since)
	f.equal("changed", []any{uids(d), d.Vanished}, []any{[]uint32{5, 7}, uidset.Of(2, 3)})
	d = f.sync(id, d.Mailbox.GetHighestModseq())
	f.equal("nothing", []int{len(d.Changed), len(d.Vanished)}, []int{0, 0})
	_, _, err = f.store.Expunge(f.ctx, "a", id, uidset.All)
	f.ok(err)
	f.equal("all tombstones", f.sync(id, since).Vanished, uidset.Of(2, 3, 5))
	_, err = f.store.Sync(f.ctx, "a", id, 0, 1)
	f.wantReason(err, rpcv1.Reason_REASON_UID_VALIDITY_CHANGED)
}

func testMove(f *fixture) {
	f.insert("a", "INBOX", 5)
	id := f.mailbox("INBOX").GetMailboxId()
	f.insert("a", "Archive", 1)
	since := f.mailbox("INBOX").GetHighestModseq()
	out, err := f.store.Move(f.ctx, "a", id, uidset.Of(1, 3, 4, 99), "Archive")
	f.ok(err)
	f.equal("mapping", []any{out.Mapping.GetSource(), out.Mapping.GetDestination()}, []any{[]int{1, 3, 4}, []int{2, 3, 4}})
	f.equal("vanished", f.sync(id, since).Vanished, uidset.Of(1, 3, 4))
	same, err := f.store.Move(f.ctx, "a", id, uidset.Of(2), "INBOX")
	f.ok(err)
	f.equal("within", []any{same.Mapping.GetDestination(), uids(f.sync(id, 0))}, []any{[]int{6}, []int{5, 6}})
	nothing, err := f.store.Move(f.ctx, "a", id, uidset.Of(77), "Archive")
	f.ok(err)
	f.equal("nothing", nothing.HighestModseq, same.HighestModseq)
}

func testCopy(f *fixture) {
	f.insert("a", "INBOX", 3)
	id := f.mailbox("INBOX").GetMailboxId()
	bytes, messages, err := f.store.CopySize(f.ctx, "a", id, uidset.Of(1, 2), "Archive")
	f.ok(err)
	f.equal("size", []int64{bytes, messages}, []int64{200, 2})
	_, err = f.store.Copy(f.ctx, "a", id, uidset.Of(1, 2, 3), "Archive", meta.Reserved{ID: "r", Bytes: bytes, Messages: messages})
	if err != meta.ErrReservationShort { //nolint:errorlint // it comes as it is
		f.Errorf("a copy beyond its reservation gives %v", err)
	}
	out, err := f.store.Copy(f.ctx, "a", id, uidset.Of(1, 2), "Archive", meta.Reserved{ID: "r", Bytes: bytes, Messages: messages})
	f.ok(err)
	f.equal("mapping", []any{out.Mapping.GetSource(), out.Mapping.GetDestination()}, []any{[]int{1, 2}, []int{1, 2}})
	_, err = f.store.Copy(f.ctx, "a", id, uidset.Of(1), "INBOX", meta.Reserved{ID: "s", Bytes: 100, Messages: 1})
	f.ok(err)
	f.equal("within", uids(f.sync(id, 0)), []int{1, 2, 3, 4})
	events, err := f.store.PendingEvents(f.ctx, "", 10)
	f.ok(err)
	f.equal("reservations", events[1].GetReservationIds(), []string{"r"})
}

func testPages(f *fixture) {
	const n = 1203
	f.insert("a", "INBOX", n)
	id := f.mailbox("INBOX").GetMailboxId()
	set := uidset.Set{{Start: 2, Stop: 600}, {Start: 700, Stop: 2000}}
	var last uint32
	count, pages := 0, 0
	for more := true; more; pages++ {
		var page []*meta.Message
		var err error
		page, more, err = f.store.Messages(f.ctx, "a", id, set, last, meta.Wanted{})
		f.ok(err)
		for _, m := range page {
			if m.State.GetUid() <= last || !set.Contains(m.State.GetUid()) {
				f.Fatalf("UID %d after %d", m.State.GetUid(), last)
			}
			last = m.State.GetUid()
			count++
		}
	}
	f.equal("messages", []any{count, pages > 1}, []any{599 + n - 699, true})
}

func testRestore(f *fixture) {
	f.insert("a", "INBOX", 3)
	id := f.mailbox("INBOX").GetMailboxId()
	f.setFlags(id, uidset.Of(1, 2), flagDeleted)
	_, _, err := f.store.Expunge(f.ctx, "a", id, uidset.All)
	f.ok(err)
	list, err := f.store.ListDeleted(f.ctx, "a", nil)
	f.ok(err)
	f.equal("deleted", []any{len(list), list[0].Key, list[0].Mailbox, list[0].Subject()}, []any{2, fmt.Sprint(id, ".2"), "INBOX", "x"})
	rest, err := f.store.ListDeleted(f.ctx, "a", list[0])
	f.ok(err)
	f.equal("after the first", []any{len(rest), rest[0].Key}, []any{1, fmt.Sprint(id, ".1")})
	one := meta.RestoreFilter{Keys: []meta.DeletedKey{list[0].Key}}
	n, err := f.store.Restore(f.ctx, "a", one, meta.Reserved{Bytes: 100, Messages: 1})
	f.ok(err)
	f.equal("restored", []any{n, uids(f.sync(id, 0)), f.mailbox("INBOX").GetDeleted()}, []any{1, []int{3, 4}, 0})
	all := meta.RestoreFilter{To: "new/place"}
	_, err = f.store.Restore(f.ctx, "a", all, meta.Reserved{})
	if err != meta.ErrReservationShort { //nolint:errorlint // it comes as it is
		f.Errorf("restoring without a reservation gives %v", err)
	}
	bytes, messages, err := f.store.RestoreSize(f.ctx, "a", all)
	f.ok(err)
	_, err = f.store.Restore(f.ctx, "a", all, meta.Reserved{Bytes: bytes, Messages: messages})
	f.ok(err)
	f.equal("restored elsewhere", f.mailbox("new/place").GetMessages(), 1)
}

func testExpiry(f *fixture) {
	f.insert("a", "INBOX", 2)
	id := f.mailbox("INBOX").GetMailboxId()
	_, err := f.store.Copy(f.ctx, "a", id, uidset.Of(2), "Archive", meta.Reserved{Bytes: 100, Messages: 1})
	f.ok(err)
	f.setFlags(id, uidset.All, flagDeleted)
	_, _, err = f.store.Expunge(f.ctx, "a", id, uidset.All)
	f.ok(err)
	n, more, err := f.store.PurgeExpired(f.ctx)
	f.ok(err)
	f.equal("purged too early", []any{n, more}, []any{0, false})
	f.now = f.now.Add(time.Hour)
	n, _, err = f.store.PurgeExpired(f.ctx)
	f.ok(err)
	_, err = f.store.RetireDead(f.ctx, 0)
	f.ok(err)
	dead, err := f.store.TakeLoose(f.ctx, "", 10)
	f.ok(err)
	f.equal("purged", []any{n, dead}, []any{2, []string{"packs/1"}})
	f.ok(f.store.ForgetLoose(f.ctx, append(dead, "packs/2")))
	known, err := f.store.KnownObjects(f.ctx, []string{"packs/1", "packs/2"})
	f.ok(err)
	f.equal("known", known, map[string]bool{"packs/2": true})
}

func testLeases(f *fixture) {
	one, two := meta.Lease{AccountID: "a", ID: "1"}, meta.Lease{AccountID: "a", ID: "2"}
	f.ok(f.store.AcquireLease(f.ctx, one, time.Minute))
	f.wantReason(f.store.AcquireLease(f.ctx, two, time.Minute), rpcv1.Reason_REASON_MAILDROP_IN_USE)
	f.now = f.now.Add(30 * time.Second)
	lost, err := f.store.RenewLeases(f.ctx, []meta.Lease{one, two}, time.Minute)
	f.ok(err)
	f.equal("lost", lost, []meta.Lease{two})
	f.now = f.now.Add(59 * time.Second)
	f.wantReason(f.store.AcquireLease(f.ctx, two, time.Minute), rpcv1.Reason_REASON_MAILDROP_IN_USE)
	f.now = f.now.Add(time.Second)
	f.ok(f.store.AcquireLease(f.ctx, two, time.Minute))
	f.ok(f.store.ReleaseLease(f.ctx, one)) // not its lease any more
	f.wantReason(f.store.AcquireLease(f.ctx, one, time.Minute), rpcv1.Reason_REASON_MAILDROP_IN_USE)
	f.ok(f.store.ReleaseLease(f.ctx, two))
	f.ok(f.store.AcquireLease(f.ctx, one, time.Minute))
	f.ok(f.store.ForgetLeases(f.ctx))
	f.ok(f.store.AcquireLease(f.ctx, two, time.Minute))

	three := meta.Lease{AccountID: "a", ID: "3"}
	f.wantReason(f.store.SucceedLease(f.ctx, three, one.ID, time.Minute), rpcv1.Reason_REASON_MAILDROP_IN_USE)
	f.ok(f.store.SucceedLease(f.ctx, three, two.ID, time.Minute))
	f.ok(f.store.ReleaseLease(f.ctx, two)) // by a replica that was given up
	lost, err = f.store.RenewLeases(f.ctx, []meta.Lease{two, three}, time.Minute)
	f.ok(err)
	f.equal("lost to the successor", lost, []meta.Lease{two})
	f.ok(f.store.ReleaseLease(f.ctx, three))
	f.ok(f.store.SucceedLease(f.ctx, one, three.ID, time.Minute)) // released meanwhile, and nobody else has it
}

func testMaildrop(f *fixture) {
	f.insert("a", "INBOX", 6)
	lease := meta.Lease{AccountID: "a", ID: "1"}
	commit := func(action storagev1.CommitMaildropRequest_Action, set uidset.Set) error {
		return f.store.CommitMaildrop(f.ctx, lease, set, action)
	}
	f.wantReason(commit(storagev1.CommitMaildropRequest_ACTION_KEEP, uidset.All), rpcv1.Reason_REASON_LEASE_LOST)
	f.ok(f.store.AcquireLease(f.ctx, lease, time.Minute))
	f.ok(f.store.DeleteMailbox(f.ctx, "a", "Trash"))
	f.ok(commit(storagev1.CommitMaildropRequest_ACTION_EXPUNGE, uidset.Of(1)))
	f.ok(commit(storagev1.CommitMaildropRequest_ACTION_TRASH, uidset.Of(2, 3)))
	f.ok(commit(storagev1.CommitMaildropRequest_ACTION_KEEP, uidset.Of(4)))
	f.wantReason(commit(0, uidset.Of(5)), rpcv1.Reason_REASON_INVALID)
	d := f.sync(f.mailbox("INBOX").GetMailboxId(), 0)
	f.equal("inbox", []any{uids(d), d.Changed[0].GetPopped(), d.Changed[1].GetPopped()}, []any{[]int{4, 5, 6}, true, false})
	f.equal("trash", f.mailbox("Trash").GetMessages(), 2)
	f.now = f.now.Add(time.Hour)
	f.wantReason(commit(storagev1.CommitMaildropRequest_ACTION_EXPUNGE, uidset.All), rpcv1.Reason_REASON_LEASE_LOST)
}

func testPurge(f *fixture) {
	f.insert("a", "INBOX", 1200)
	f.insert("b", "INBOX", 1)
	n, err := f.store.PurgeAccount(f.ctx, "a")
	f.ok(err)
	f.equal("purged", n, 1200)
	usage := Check(f, f.db)
	f.equal("accounts left", []any{usage["a"] == nil, usage["b"].Messages}, []any{true, 1})
	_, live, _, err := f.store.ObjectBytes(f.ctx)
	f.ok(err)
	f.equal("live octets", live, 51)

	// Nothing brings it back.
	_, err = f.store.MailboxNamed(f.ctx, "a", "INBOX")
	f.wantReason(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	_, _, err = f.store.ListMailboxes(f.ctx, "a")
	f.wantReason(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	_, err = f.store.CreateMailbox(f.ctx, "a", "Work", 0)
	f.wantReason(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	f.wantReason(f.store.SetSubscribed(f.ctx, "a", "Work", true), rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	_, err = f.store.Restore(f.ctx, "a", meta.RestoreFilter{}, meta.Reserved{})
	f.wantReason(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	c := f.content(10)
	loose := &meta.Unit{Rows: []*meta.Row{f.row("b", "INBOX", c), f.row("a", "INBOX", c), f.row("c", "INBOX", c)}}
	strict := &meta.Unit{Rows: []*meta.Row{f.row("b", "INBOX", c), f.row("a", "INBOX", c)}, AllOrNone: true}
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{loose, strict}))
	for _, u := range []*meta.Unit{loose, strict} {
		var stored, gone []bool
		for _, p := range u.Placed {
			stored, gone = append(stored, p.Stored()), append(gone, p.NoAccount)
		}
		f.equal("stored", stored, []bool{!u.AllOrNone, false, !u.AllOrNone}[:len(stored)])
		f.equal("without account", gone, []bool{false, true, false}[:len(gone)])
		f.ok(u.Err)
	}
	n, err = f.store.PurgeAccount(f.ctx, "a")
	f.ok(err)
	f.equal("purged again", n, 0)
}

// An account whose purge was cut off is closed, and the rest can go later.
func testPurgeCutOff(f *fixture) {
	f.insert("a", "INBOX", 2500)
	inbox := f.mailbox("INBOX").GetMailboxId()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	f.committed = func(c meta.Commit) {
		if len(c.Changes) > 0 && c.Changes[0].Deleted {
			cancel() // right after the account was closed
		}
	}
	if _, err := f.store.PurgeAccount(ctx, "a"); !errors.Is(err, context.Canceled) {
		f.Errorf("got error %v", err)
	}
	_, err := f.store.Sync(f.ctx, "a", inbox, 0, 0)
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	unit := &meta.Unit{Rows: []*meta.Row{f.row("a", "INBOX", f.content(10))}}
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{unit}))
	f.equal("without account", unit.Placed[0].NoAccount, true)
	unfinished, err := f.store.UnfinishedPurges(f.ctx)
	f.ok(err)
	f.equal("unfinished", unfinished, []string{"a"})
	n, err := f.store.PurgeAccount(f.ctx, "a")
	f.ok(err)
	f.equal("purged", n, 2500)
	unfinished, err = f.store.UnfinishedPurges(f.ctx)
	f.ok(err)
	f.equal("unfinished at last", unfinished, []string(nil))
}

// A mailbox without UIDs left does not keep the deliveries beside it.
func testUsedUpUIDs(f *fixture) {
	f.insert("a", "INBOX", 1)
	f.ok(f.db.Write(f.ctx, "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(f.ctx, `UPDATE mailboxes SET uid_next = 4294967294 WHERE account_id = 'a' AND name = 'INBOX'`)
		return err
	}))
	unit := func(account string, n int) *meta.Unit {
		u := &meta.Unit{}
		for range n {
			u.Rows = append(u.Rows, f.row(account, "INBOX", f.content(10)))
		}
		return u
	}
	units := []*meta.Unit{unit("a", 2), unit("b", 1), unit("a", 1), unit("a", 1)}
	f.ok(f.store.Insert(f.ctx, units))
	f.wantReason(units[0].Err, rpcv1.Reason_REASON_LIMIT)
	f.equal("another account", units[1].Placed[0].UID, 1)
	f.equal("the last UID", units[2].Placed[0].UID, uint32(4294967294))
	f.wantReason(units[3].Err, rpcv1.Reason_REASON_LIMIT)
}

// What is expunged in several transactions is what was asked for, in few tombstones.
func testExpungeMany(f *fixture) {
	f.insert("a", "INBOX", 12_003)
	id := f.mailbox("INBOX").GetMailboxId()
	f.setFlags(id, uidset.Set{{Start: 2, Stop: 12_002}}, flagDeleted)
	before := f.mailbox("INBOX").GetHighestModseq()
	expunged, step, err := f.store.Expunge(f.ctx, "a", id, uidset.Set{{Start: 1, Stop: 6000}, {Start: 6002, Stop: 1<<32 - 1}})
	f.ok(err)
	want := uidset.Set{{Start: 2, Stop: 6000}, {Start: 6002, Stop: 12_002}}
	f.equal("expunged", expunged, want)
	d := f.sync(id, before)
	f.equal("vanished", d.Vanished, want)
	f.equal("modseq", step, meta.Step{PreviousModseq: before, HighestModseq: before + 3})
	f.equal("modseq", d.Mailbox.GetHighestModseq(), step.HighestModseq)
	f.equal("left", []uint32{d.Mailbox.GetMessages(), d.Mailbox.GetDeleted()}, []uint32{3, 1})
	var tombstones int
	f.ok(f.db.Read(f.ctx, "test", func(tx *sqldb.Tx) error {
		return tx.QueryRow(f.ctx, `SELECT COUNT(*) FROM tombstones`).Scan(&tombstones)
	}))
	f.equal("tombstones", tombstones, 4)
	_, size, err := f.store.SyncSize(f.ctx, "a", id, before)
	f.ok(err)
	f.equal("size of the sync", size, tombstones)
	box, size, err := f.store.SyncSize(f.ctx, "a", id, step.HighestModseq)
	f.ok(err)
	f.equal("nothing changed", []any{size, box.GetHighestModseq(), box.GetSubscribed()}, []any{0, step.HighestModseq, true})
}

// Messages between those of a set, and those with other flags, keep theirs.
func testFlagsOfSome(f *fixture) {
	f.insert("a", "INBOX", 8)
	id := f.mailbox("INBOX").GetMailboxId()
	f.setFlags(id, uidset.Of(3), storagev1.Flag_FLAG_ANSWERED)
	f.setFlags(id, uidset.Of(4), 0, "$x")
	_, err := f.store.StoreFlags(f.ctx, "a", id, uidset.Set{{Start: 1, Stop: 5}, {Start: 7, Stop: 7}}, meta.FlagChange{
		Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_SEEN),
	})
	f.ok(err)
	var got []string
	for _, m := range f.sync(id, 0).Changed {
		got = append(got, fmt.Sprint(m.GetFlags(), m.GetKeywords()))
	}
	f.equal("flags", got, []string{"1 []", "1 []", "3 []", "1 [$x]", "1 []", "0 []", "1 []", "0 []"})
}
