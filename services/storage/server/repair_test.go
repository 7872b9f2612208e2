package server

import (
	"path/filepath"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// loseBodies deletes all packs of the stopped service.
func (h *harness) loseBodies() {
	h.t.Helper()
	dir, err := object.OpenDir(filepath.Join(h.dir, "bodies"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer dir.Close()
	for info, err := range dir.List(h.t.Context(), body.KeyPrefix, "") {
		if err == nil {
			err = dir.Delete(h.t.Context(), info.Key)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *harness) repair(dryRun bool) (missing []*storagev1.RepairMissingResponse_Missing) {
	h.t.Helper()
	stream, err := h.admin.RepairMissing(h.t.Context(), &storagev1.RepairMissingRequest{DryRun: dryRun})
	if err != nil {
		h.t.Fatal(err)
	}
	for r := range received(h.t, stream.Recv) {
		missing = append(missing, r.GetMissing()...)
	}
	return missing
}

func TestRepairTakesAwayWhatHasNoBody(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", mail("lost", "one"))
	h.mustDeliver("bob", mail("lost too", "two"))
	h.stop()
	h.loseBodies()
	h.run()
	h.mustDeliver("bob", mail("there", "three"))
	inbox := h.mailbox("bob", "INBOX")
	h.flag("bob", inbox.GetMailboxId(), storagev1.StoreFlagsRequest_OPERATION_ADD, 1, span(2, 2))

	if got := h.repair(true); len(got) != 2 || got[0].GetSubject() != "lost" || got[0].GetMailbox() != "INBOX" || got[0].GetUid() != 1 {
		t.Fatalf("dry run: %v", got)
	}
	if m := h.mailbox("bob", "INBOX"); m.GetMessages() != 3 {
		t.Fatalf("the dry run left %d messages", m.GetMessages())
	}
	if got := h.repair(false); len(got) != 2 {
		t.Fatalf("repair: %v", got)
	}
	m := h.mailbox("bob", "INBOX")
	if m.GetMessages() != 1 || m.GetUnseen() != 1 {
		t.Errorf("mailbox after the repair: %v", m)
	}
	if s := h.sync("bob", m.GetMailboxId(), inbox.GetHighestModseq()); len(s.vanished) == 0 {
		t.Errorf("clients are not told: %v", s)
	}
	// They wait to be restored, should their bodies come back.
	got := h.repair(false)
	if len(got) != 2 || !got[0].GetDeleted() {
		t.Errorf("repair again: %v", got)
	}
}

func TestRenewUIDValidity(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", mail("x", "y"))
	before, sent := h.mailbox("bob", "INBOX"), h.mailbox("bob", "Sent")
	r, err := h.admin.RenewUidValidity(t.Context(), &storagev1.RenewUidValidityRequest{AccountId: "bob", Mailbox: "inbox"})
	if err != nil {
		t.Fatal(err)
	}
	after := h.mailbox("bob", "INBOX")
	if len(r.GetMailboxes()) != 1 || after.GetUidValidity() <= before.GetUidValidity() || after.GetUidNext() != before.GetUidNext() ||
		h.mailbox("bob", "Sent").GetUidValidity() != sent.GetUidValidity() {
		t.Errorf("from %v to %v: %v", before, after, r)
	}
	r, err = h.admin.RenewUidValidity(t.Context(), &storagev1.RenewUidValidityRequest{AccountId: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{after.GetUidValidity(): true}
	for _, m := range r.GetMailboxes() {
		if seen[m.GetUidValidity()] {
			t.Errorf("UIDVALIDITY %d is given twice", m.GetUidValidity())
		}
		seen[m.GetUidValidity()] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d mailboxes were renewed, want 6", len(seen)-1)
	}
	_, err = h.admin.RenewUidValidity(t.Context(), &storagev1.RenewUidValidityRequest{AccountId: "bob", Mailbox: "Nowhere"})
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
}
