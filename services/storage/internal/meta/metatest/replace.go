package metatest

import (
	"fmt"
	"sync"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// replacement is a unit that stores a message of size octets in place of another one of account "a".
func (f *fixture) replacement(to string, size int64, box, uid uint64, id string) *meta.Unit {
	row := f.row("a", to, f.content(size))
	row.DeliveryID = id
	return &meta.Unit{Rows: []*meta.Row{row}, AllOrNone: true, Replaces: &meta.Replaced{AccountID: "a", MailboxID: box, UID: uint32(uid)}}
}

func testReplace(f *fixture) {
	f.insert("a", "INBOX", 2)
	inbox, drafts := f.mailbox("INBOX"), f.mailbox("Drafts")

	// Within a mailbox, and into another one.
	u := f.replacement("INBOX", 150, inbox.GetMailboxId(), 1, "")
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{u}))
	f.ok(u.Err)
	d := f.sync(inbox.GetMailboxId(), inbox.GetHighestModseq())
	f.equal("within", []any{uids(d), d.Vanished, d.Mailbox.GetMessages(), d.Mailbox.GetBytes(), d.Mailbox.GetUnseen(), d.Mailbox.GetUidNext()},
		[]any{[]uint32{3}, []any{"{1 1}"}, 2, 250, 2, 4})
	u = f.replacement("Drafts", 10, inbox.GetMailboxId(), 2, "")
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{u}))
	f.ok(u.Err)
	f.equal("into another", []any{u.Placed[0].MailboxID, u.Placed[0].UID, f.mailbox("INBOX").GetMessages(), f.mailbox("Drafts").GetBytes()},
		[]any{drafts.GetMailboxId(), 1, 1, 10})
	size, err := f.store.MessageSize(f.ctx, "a", inbox.GetMailboxId(), 3)
	f.ok(err)
	f.equal("size", size, 150)

	// What is not there is not replaced, and then nothing is stored. The others of the group do not suffer.
	other := &meta.Unit{Rows: []*meta.Row{f.row("a", "Drafts", f.content(1))}}
	gone := f.replacement("Drafts", 10, inbox.GetMailboxId(), 2, "")
	nowhere := f.replacement("Drafts", 10, 9999, 2, "")
	tooLarge := f.replacement("Drafts", 10, 1<<63, 2, "")
	first, second := f.replacement("Drafts", 20, inbox.GetMailboxId(), 3, ""), f.replacement("INBOX", 20, inbox.GetMailboxId(), 3, "")
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{gone, nowhere, other, first, second, tooLarge}))
	f.ok(other.Err)
	f.ok(first.Err)
	f.wantReason(gone.Err, rpcv1.Reason_REASON_NOT_FOUND)
	f.wantReason(second.Err, rpcv1.Reason_REASON_NOT_FOUND)
	f.wantReason(nowhere.Err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.wantReason(tooLarge.Err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.equal("messages", []any{f.mailbox("INBOX").GetMessages(), f.mailbox("Drafts").GetMessages()}, []any{0, 3})
	_, err = f.store.MessageSize(f.ctx, "a", inbox.GetMailboxId(), 3)
	f.wantReason(err, rpcv1.Reason_REASON_NOT_FOUND)
	_, err = f.store.MessageSize(f.ctx, "a", 1<<63, 3)
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)

	// The replaced ones can be restored.
	list, err := f.store.ListDeleted(f.ctx, "a", nil)
	f.ok(err)
	f.equal("restorable", len(list), 3)
}

func testReplaceAgain(f *fixture) {
	f.insert("a", "INBOX", 1)
	inbox := f.mailbox("INBOX").GetMailboxId()
	first, same, later := f.replacement("Drafts", 10, inbox, 1, "r"), f.replacement("Drafts", 10, inbox, 1, "r"), f.replacement("Drafts", 10, inbox, 1, "r")
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{first, same}))
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{later}))
	for _, u := range []*meta.Unit{first, same, later} {
		f.ok(u.Err)
		f.equal("placed", []any{u.Placed[0].UID, u.Placed[0].Duplicate}, []any{1, u != first})
	}
	f.equal("messages", []any{f.mailbox("INBOX").GetMessages(), f.mailbox("Drafts").GetMessages()}, []any{0, 1})
}

// testConcurrentReplace has many replace one message: one of them does.
func testConcurrentReplace(f *fixture) {
	f.insert("a", "INBOX", 1)
	inbox := f.mailbox("INBOX").GetMailboxId()
	units := make([]*meta.Unit, 20)
	for i := range units {
		units[i] = f.replacement([]string{"INBOX", "Drafts"}[i%2], 10, inbox, 1, fmt.Sprint("r", i))
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
	stored := 0
	for _, u := range units {
		if u.Err == nil {
			stored++
			continue
		}
		f.wantReason(u.Err, rpcv1.Reason_REASON_NOT_FOUND)
	}
	messages := func(m *storagev1.Mailbox) int { return int(m.GetMessages()) }
	f.equal("replaced", []int{stored, messages(f.mailbox("INBOX")) + messages(f.mailbox("Drafts"))}, []int{1, 1})
}
