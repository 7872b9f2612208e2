package metatest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// grant sets what a grantee may do with a mailbox.
func (f *fixture) grant(account, mailbox, grantee, rights string) {
	f.Helper()
	r, err := meta.ParseRights(rights)
	f.ok(err)
	f.ok(f.store.SetAcl(f.ctx, account, mailbox, storagev1.SetAclRequest_OPERATION_SET, meta.Grant{Grantee: grantee, Rights: r}))
}

// transfer copies or moves with as much reserved as that needs.
func (f *fixture) transfer(actor string, x meta.Transfer) (*meta.Moved, error) {
	store := f.store.As(meta.Actor{AccountID: actor})
	_, bytes, messages, err := store.TransferSize(f.ctx, x)
	if err != nil {
		return nil, err
	}
	return store.Transfer(f.ctx, x, meta.Reserved{ID: "r", Bytes: bytes, Messages: messages})
}

// states gives the messages of a mailbox as text.
func (f *fixture) states(account, mailbox string) string {
	f.Helper()
	box, err := f.store.MailboxNamed(f.ctx, account, mailbox)
	f.ok(err)
	page, _, err := f.store.Messages(f.ctx, account, box.GetMailboxId(), uidset.All, 0, meta.Wanted{})
	f.ok(err)
	var out []string
	for _, m := range page {
		out = append(out, fmt.Sprintf("%d=%s,%d%s", m.State.GetUid(), m.EmailID, m.State.GetFlags(), strings.Join(append([]string{""}, m.State.GetKeywords()...), ",")))
	}
	return strings.Join(out, " ")
}

// shares gives what the accounts count of an object, and the row of the object.
func (f *fixture) shares(object string) string {
	f.Helper()
	var out []string
	f.ok(f.db.Read(f.ctx, "shares", func(tx *sqldb.Tx) error {
		out = nil
		err := each(f.ctx, tx, `SELECT account_id, refs, pack_share FROM contents WHERE object_key = '`+object+`' ORDER BY account_id`, func(rows *sqldb.Rows) error {
			var account string
			var refs, share int64
			err := rows.Scan(&account, &refs, &share)
			out = append(out, fmt.Sprint(account, refs, "/", share))
			return err
		})
		if err != nil {
			return err
		}
		return each(f.ctx, tx, `SELECT live_refs, live_bytes FROM packs WHERE object_key = '`+object+`'`, func(rows *sqldb.Rows) error {
			var refs, bytes int64
			err := rows.Scan(&refs, &bytes)
			out = append(out, fmt.Sprint("live", refs, "/", bytes))
			return err
		})
	}))
	return strings.Join(out, " ")
}

func testTransfer(f *fixture) {
	f.insert("a", "INBOX", 4) // in packs/1 to packs/4, 51 octets each
	inbox := f.mailbox("INBOX").GetMailboxId()
	f.setFlags(inbox, uidset.Of(1), storagev1.Flag_FLAG_SEEN|storagev1.Flag_FLAG_FLAGGED, "Work", "Two")
	f.setFlags(inbox, uidset.Of(2), storagev1.Flag_FLAG_SEEN, "Work", "Two")
	f.insert("b", "INBOX", 1)
	other, err := f.store.MailboxNamed(f.ctx, "b", "INBOX")
	f.ok(err)
	_, err = f.store.StoreFlags(f.ctx, "b", other.GetMailboxId(), uidset.All, meta.FlagChange{
		Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Keywords: []string{"WORK"},
	})
	f.ok(err)
	since := f.mailbox("INBOX").GetHighestModseq()

	// b copies from a's mailbox into an own one: flags and keywords go along, as b spells them.
	x := meta.Transfer{AccountID: "a", MailboxID: inbox, UIDs: uidset.Of(1, 2, 4, 99), ToAccountID: "b", ToMailbox: "Archive"}
	_, err = f.transfer("b", x)
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.grant("a", "INBOX", "b", "li")
	_, err = f.transfer("b", x)
	f.wantReason(err, rpcv1.Reason_REASON_NOT_PERMITTED)
	f.grant("a", "INBOX", "b", "lr")
	since += 2
	out, err := f.transfer("b", x)
	f.ok(err)
	f.equal("mapping", []any{out.Mapping.GetSource(), out.Mapping.GetDestination(), out.HighestModseq}, []any{[]int{1, 2, 4}, []int{1, 2, 3}, since})
	f.equal("copied", f.states("b", "Archive"), "1=E1,5,Two,WORK 2=E2,1,Two,WORK 3=E4,0")
	f.equal("shares", f.shares("packs/1"), "a1/26 b1/25 live2/51")
	f.equal("source", f.mailbox("INBOX").GetHighestModseq(), since)
	again, err := f.transfer("b", meta.Transfer{AccountID: "a", MailboxID: inbox, UIDs: uidset.Of(1), ToAccountID: "b", ToMailbox: "INBOX"})
	f.ok(err)
	f.equal("again", again.Mapping.GetDestination(), []int{2})
	f.equal("shares", f.shares("packs/1"), "a1/26 b2/25 live2/51")

	// a moves into b's mailbox, with the flags that b lets a set.
	f.grant("b", "Sent", "a", "lis")
	move := meta.Transfer{AccountID: "a", MailboxID: inbox, UIDs: uidset.Of(1, 3), ToAccountID: "b", ToMailbox: "Sent", Move: true}
	_, err = f.store.As(meta.Actor{AccountID: "a"}).Transfer(f.ctx, move, meta.Reserved{ID: "r", Bytes: 199, Messages: 2})
	if err != meta.ErrReservationShort { //nolint:errorlint // it comes as it is
		f.Errorf("a move beyond its reservation gives %v", err)
	}
	out, err = f.transfer("a", move)
	f.ok(err)
	f.equal("moved", []any{out.Mapping.GetDestination(), out.PreviousModseq, out.HighestModseq}, []any{[]int{1, 2}, since, since + 1})
	f.equal("arrived", f.states("b", "Sent"), "1=E1,1 2=E3,0")
	f.equal("left", []any{uids(f.sync(inbox, 0)), f.sync(inbox, since).Vanished}, []any{[]int{2, 4}, uidset.Of(1, 3)})
	f.equal("shares", f.shares("packs/3"), "a1/0 b1/51 live2/51") // a's goes with what can be restored
	deletedOf, err := f.store.ListDeleted(f.ctx, "a", nil)
	f.ok(err)
	f.equal("to be restored", len(deletedOf), 2)

	// Neither does a third one what the two do not permit.
	for _, x := range []meta.Transfer{x, move} {
		_, err = f.transfer("c", x)
		f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	}
	_, err = f.transfer("b", meta.Transfer{AccountID: "a", MailboxID: inbox, UIDs: uidset.All, ToAccountID: "b", ToMailbox: "None"})
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	none, err := f.transfer("b", meta.Transfer{AccountID: "a", MailboxID: inbox, UIDs: uidset.Of(77), ToAccountID: "b", ToMailbox: "Archive"})
	f.ok(err)
	f.equal("nothing", len(none.Mapping.GetSource()), 0)

	// The bodies stay when their first account goes.
	_, err = f.store.PurgeAccount(f.ctx, "a")
	f.ok(err)
	f.equal("after the purge", f.states("b", "Sent"), "1=E1,1 2=E3,0")
	f.equal("shares", f.shares("packs/3"), "b1/51 live1/51")
}

// testTransferThreads holds that a message joins the thread that its account has.
func testTransferThreads(f *fixture) {
	thread := func(account, mailbox string, uid uint32) string {
		f.Helper()
		box, err := f.store.MailboxNamed(f.ctx, account, mailbox)
		f.ok(err)
		m, err := f.store.Message(f.ctx, account, box.GetMailboxId(), uid)
		f.ok(err)
		return m.ThreadID
	}
	f.insert("a", "INBOX", 1) // with the message id 1@x
	f.bodies = 0
	c := f.content(100)
	c.ID, c.Location.Object = "B1", "packs/b"
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{{Rows: []*meta.Row{f.row("b", "INBOX", c)}}}))
	f.grant("a", "INBOX", "b", "lr")
	_, err := f.transfer("b", meta.Transfer{AccountID: "a", MailboxID: f.mailbox("INBOX").GetMailboxId(), UIDs: uidset.All, ToAccountID: "b", ToMailbox: "INBOX"})
	f.ok(err)
	f.equal("threads", []string{thread("a", "INBOX", 1), thread("b", "INBOX", 1), thread("b", "INBOX", 2)}, []string{"TE1", "TB1", "TB1"})
}

// testTransferAtOnce lets two accounts send to each other at the same time.
func testTransferAtOnce(f *fixture) {
	const n = 20
	f.insert("a", "INBOX", n)
	f.insert("b", "INBOX", n)
	f.grant("a", "INBOX", "b", "lrtei")
	f.grant("b", "INBOX", "a", "lrtei")
	inbox := f.mailbox("INBOX").GetMailboxId()
	var wg sync.WaitGroup
	for uid := range uint32(n) {
		for from, to := range map[string]string{"a": "b", "b": "a"} {
			wg.Go(func() {
				x := meta.Transfer{AccountID: from, MailboxID: inbox, UIDs: uidset.Of(uid + 1), ToAccountID: to, ToMailbox: "INBOX", Move: uid%2 == 0}
				if _, err := f.transfer("a", x); err != nil {
					f.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, account := range []string{"a", "b"} {
		f.equal("messages of "+account, len(strings.Fields(f.states(account, "INBOX"))), n+n/2)
	}
}

// testTransferWhileFramesMove lets bodies come into further accounts while the compactor moves them: none is left where they were, and the
// counters are exact.
func testTransferWhileFramesMove(f *fixture) {
	const n = 30
	f.pack("packs/x", slices.Repeat([]string{"a"}, n)...)
	path := []string{"a", "b", "c", "d"}
	for _, account := range path { // so that all are there
		_, err := f.store.MailboxNamed(f.ctx, account, "INBOX")
		f.ok(err)
	}
	first := f.move("packs/y", "packs/x")
	var wg sync.WaitGroup
	wg.Go(func() {
		for one := range slices.Chunk(first.Moves["packs/x"], 1) { // a transaction each
			first.Moves = map[string][]meta.Move{"packs/x": one}
			if _, err := f.store.MoveFrames(f.ctx, first); err != nil {
				f.Error(err)
			}
		}
	})
	for lane := range 3 { // each sends the messages of its own along the path
		wg.Go(func() {
			for i := range n / 3 {
				uid := uint32(lane*n/3 + i + 1)
				for j, account := range path[:3] {
					x := meta.Transfer{AccountID: account, MailboxID: 1, UIDs: uidset.Of(uid), ToAccountID: path[j+1], ToMailbox: "INBOX", Move: j == 1}
					out, err := f.store.Transfer(f.ctx, x, meta.Reserved{Bytes: 300, Messages: 1})
					if err != nil {
						f.Error(err)
						return
					}
					uid = out.Mapping.GetDestination()[0]
				}
			}
		})
	}
	wg.Wait()
	left, err := f.store.Frames(f.ctx, "packs/x")
	f.ok(err)
	moved, err := f.store.Frames(f.ctx, "packs/y")
	f.ok(err)
	f.equal("frames", []any{len(left), len(moved)}, []any{0, n})
	for _, frame := range moved {
		f.equal("accounts with a body", frame.Refs, len(path))
	}
	p := f.packRow("packs/y")
	f.equal("live octets", []int64{p.Live, p.HeldBytes, p.Refs, p.HeldRefs}, []int64{100 * n, 100 * n, 4 * n, 4 * n})
}
