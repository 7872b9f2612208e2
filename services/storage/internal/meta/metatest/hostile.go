package metatest

import (
	"math"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Texts and numbers that no gateway should send are refused, by every database alike; they do not spoil what comes along with them.
func testHostile(f *fixture) {
	f.insert("a", "INBOX", 1)
	box := f.mailbox("INBOX").GetMailboxId()
	for _, bad := range []string{"a\x00", "\x00", "\xff\xfe", "a\xc3"} {
		var units []*meta.Unit
		for _, change := range []func(*meta.Row){
			func(r *meta.Row) { r.AccountID = bad },
			func(r *meta.Row) { r.DeliveryID = bad },
			func(r *meta.Row) { r.Mailbox = bad },
			func(r *meta.Row) { r.ReservationID = bad },
			func(r *meta.Row) { r.Keywords = []string{bad} },
			func(*meta.Row) {},
		} {
			r := f.row("a", "INBOX", f.content(10))
			change(r)
			units = append(units, &meta.Unit{Rows: []*meta.Row{r}})
		}
		f.ok(f.store.Insert(f.ctx, units))
		for i, u := range units[:len(units)-1] {
			if !fault.Is(u.Err, rpcv1.Reason_REASON_INVALID) || u.Placed[0].Stored() {
				f.Errorf("text %d of %q gives %v", i, bad, u.Err)
			}
		}
		f.ok(units[len(units)-1].Err)

		_, err := f.store.Mailbox(f.ctx, bad, box)
		f.wantReason(err, rpcv1.Reason_REASON_INVALID)
		_, err = f.store.MailboxNamed(f.ctx, "a", bad)
		f.wantReason(err, rpcv1.Reason_REASON_INVALID)
		_, err = f.store.CreateMailbox(f.ctx, "a", bad, 0)
		f.wantReason(err, rpcv1.Reason_REASON_INVALID)
		f.wantReason(f.store.RenameMailbox(f.ctx, "a", "Archive", bad), rpcv1.Reason_REASON_INVALID)
		f.wantReason(f.store.SetSubscribed(f.ctx, "a", bad, true), rpcv1.Reason_REASON_INVALID)
		f.wantReason(f.store.AcquireLease(f.ctx, meta.Lease{AccountID: "a", ID: bad}, time.Minute), rpcv1.Reason_REASON_INVALID)
		f.wantReason(f.store.CommitMaildrop(f.ctx, meta.Lease{AccountID: "a", ID: bad}, uidset.All, 1), rpcv1.Reason_REASON_INVALID)
		_, err = f.store.Move(f.ctx, "a", box, uidset.All, bad)
		f.wantReason(err, rpcv1.Reason_REASON_INVALID)
		_, err = f.store.PurgeAccount(f.ctx, bad)
		f.wantReason(err, rpcv1.Reason_REASON_INVALID)
		_, err = f.store.StoreFlags(f.ctx, "a", box, uidset.All, meta.FlagChange{
			Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Keywords: []string{bad},
		})
		f.wantReason(err, rpcv1.Reason_REASON_INVALID)
		changes, err := f.store.Highest(f.ctx, []meta.MailboxKey{{AccountID: bad, MailboxID: box}, {AccountID: "a", MailboxID: box}})
		f.ok(err)
		f.equal("watched", []any{changes[0].Deleted, changes[1].Deleted}, []any{true, false})
	}
	f.equal("messages", f.mailbox("INBOX").GetMessages(), 5)

	// What is no text may have any octets, and any length.
	c := f.content(10)
	r := f.row("a", "INBOX", c)
	r.Prefix = []byte("X: \x00\xff\r\n")
	u := &meta.Unit{Rows: []*meta.Row{r}}
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{u}))
	f.ok(u.Err)
	page, _, err := f.store.Messages(f.ctx, "a", box, uidset.Of(u.Placed[0].UID), 0, meta.Wanted{})
	f.ok(err)
	f.equal("prefix", page[0].Prefix, r.Prefix)

	for _, id := range []uint64{0, 1 << 40, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		_, err := f.store.Sync(f.ctx, "a", id, 0, 0)
		f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
		_, err = f.store.StoreFlags(f.ctx, "a", id, uidset.All, meta.FlagChange{})
		f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
		uids, _, err := f.store.Marked(f.ctx, "a", id, meta.MarkUnseen)
		f.ok(err)
		f.equal("marked", len(uids), 0)
	}
	since := uint64(math.MaxUint64)
	d, err := f.store.Sync(f.ctx, "a", box, since, 0)
	f.ok(err)
	f.equal("changed", len(d.Changed), 0)
	_, err = f.store.StoreFlags(f.ctx, "a", box, uidset.All, meta.FlagChange{Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: math.MaxUint32, UnchangedSince: &since})
	f.ok(err)
	f.equal("flags", f.sync(box, 0).Changed[0].GetFlags(), meta.AllFlags)
	long := strings.Repeat("é", 400)
	_, err = f.store.CreateMailbox(f.ctx, "a", long, 0)
	f.ok(err)
	f.equal("name", f.mailbox(long).GetName(), long)
}
