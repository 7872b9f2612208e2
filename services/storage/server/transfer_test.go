package server

import (
	"fmt"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func TestMessagesGoFromOneAccountToAnother(t *testing.T) {
	h, inbox := filled(t, 3)
	h.share("INBOX", "carol", "lrte")
	copying := &storagev1.CopyRequest{
		MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 2)}, ToAccountId: "carol", ToMailbox: "Archive", Actor: carol,
	}
	moving := &storagev1.MoveRequest{
		MailboxId: inbox, Uids: []*storagev1.UidRange{span(2, 3)}, ToAccountId: "carol", ToMailbox: "inbox", Actor: carol,
	}
	h.quota.SetLimit("carol", 10, -1)
	_, err := h.imap.Copy(t.Context(), copying)
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA)
	_, err = h.imap.Move(t.Context(), moving)
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA)
	if got := h.mailbox("bob", "INBOX").GetMessages(); got != 3 {
		t.Fatalf("bob has %d messages", got)
	}
	h.quota.SetLimit("carol", -1, -1)
	copied, err := h.imap.Copy(t.Context(), copying)
	if err != nil || fmt.Sprint(copied.GetMapping().GetSource(), copied.GetMapping().GetDestination()) != "[1 2] [1 2]" {
		t.Fatalf("copied %v, %v", copied, err)
	}
	before := h.mailbox("bob", "INBOX").GetHighestModseq()
	moved, err := h.imap.Move(t.Context(), moving)
	if err != nil || fmt.Sprint(moved.GetMapping().GetDestination()) != "[1 2]" || moved.GetPreviousModseq() != before || moved.GetHighestModseq() != before+1 {
		t.Fatalf("moved %v, %v", moved, err)
	}
	archive, own := h.mailbox("carol", "Archive"), h.mailbox("carol", "INBOX")
	if archive.GetMailboxId() != copied.GetMapping().GetMailboxId() || own.GetUidValidity() != moved.GetMapping().GetUidValidity() {
		t.Errorf("the mailboxes are %v and %v", archive, own)
	}
	if a, b := h.fetch("bob", inbox, span(1, 1))[0], h.fetch("carol", archive.GetMailboxId(), span(1, 1))[0]; a.GetEmailId() != b.GetEmailId() {
		t.Errorf("the email id is %s, and was %s", b.GetEmailId(), a.GetEmailId())
	}
	want := h.read("bob", inbox, 1, 0, 0)
	h.expunge("bob", inbox, span(1, 1))
	if got := h.read("carol", archive.GetMailboxId(), 1, 0, 0); got != want {
		t.Errorf("the copy is %q, want %q", got, want)
	}
	eventually(t, "quota has what storage has", func() bool {
		b, c := h.quota.Account("bob"), h.quota.Account("carol")
		return b.UsedMessages == 0 && c.UsedMessages == 4 && c.UsedBytes == int64(archive.GetBytes()+own.GetBytes()) && c.ReservedBytes == 0
	})

	none, err := h.imap.Move(t.Context(), &storagev1.MoveRequest{
		MailboxId: inbox, Uids: []*storagev1.UidRange{span(7, 9)}, ToAccountId: "carol", ToMailbox: "INBOX", Actor: carol,
	})
	if err != nil || len(none.GetMapping().GetSource()) != 0 || none.GetMapping().GetMailboxId() != own.GetMailboxId() || none.GetHighestModseq() == 0 {
		t.Errorf("a move of nothing gave %v, %v", none, err)
	}
	moving.Actor, copying.Actor = nil, nil
	_, err = h.imap.Move(t.Context(), moving)
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	_, err = h.imap.Copy(t.Context(), copying)
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
}

func TestADraftIsReplacedInAnotherAccount(t *testing.T) {
	h, inbox := filled(t, 2)
	h.share("INBOX", "carol", "lr")
	_, err := h.replaceAs(inbox, 1, "carol", "Drafts", carol, mail("new", "text"))
	wantReason(t, err, rpcv1.Reason_REASON_NOT_PERMITTED)
	h.share("INBOX", "carol", "lrte")
	_, err = h.replaceAs(inbox, 1, "carol", "Drafts", nil, mail("new", "text"))
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	r, err := h.replaceAs(inbox, 1, "carol", "Drafts", carol, mail("new", "text"))
	if err != nil {
		t.Fatal(err)
	}
	drafts := h.mailbox("carol", "Drafts")
	if r.GetMailboxId() != drafts.GetMailboxId() || h.read("carol", drafts.GetMailboxId(), r.GetUid(), 0, 0) == "" {
		t.Errorf("got %v", r)
	}
	eventually(t, "both accounts have one message", func() bool {
		return h.quota.Account("bob").UsedMessages == 1 && h.quota.Account("carol").UsedMessages == 1 && h.quota.Account("carol").ReservedBytes == 0
	})
	h.quota.SetLimit("carol", int64(drafts.GetBytes())+10, -1)
	_, err = h.replaceAs(inbox, 2, "carol", "Drafts", carol, mail("more", "text"))
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA) // what goes makes room in the other account only
	if got := h.mailbox("bob", "INBOX").GetMessages(); got != 1 {
		t.Errorf("bob has %d messages", got)
	}
}
