package server

import (
	"fmt"
	"slices"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	opSet    = storagev1.StoreFlagsRequest_OPERATION_SET
	opAdd    = storagev1.StoreFlagsRequest_OPERATION_ADD
	opRemove = storagev1.StoreFlagsRequest_OPERATION_REMOVE

	seen    = uint32(storagev1.Flag_FLAG_SEEN)
	flagged = uint32(storagev1.Flag_FLAG_FLAGGED)
	deleted = uint32(storagev1.Flag_FLAG_DELETED)
)

// filled starts a service with n messages in bob's INBOX.
func filled(t *testing.T, n int) (h *harness, inbox uint64) {
	t.Helper()
	h = start(t)
	for i := range n {
		h.mustDeliver("bob", mail(fmt.Sprint("Message ", i+1), "text"))
	}
	return h, h.mailbox("bob", "INBOX").GetMailboxId()
}

func TestFlagsTakeAModseqOnlyWhereTheyChange(t *testing.T) {
	h, inbox := filled(t, 4)
	before := h.sync("bob", inbox, 0)
	r := h.flag("bob", inbox, opAdd, seen, span(2, 3))
	if len(r.GetStates()) != 2 || r.GetHighestModseq() != before.mailbox.GetHighestModseq()+1 {
		t.Errorf("got %v", r)
	}
	again := h.flag("bob", inbox, opAdd, seen, span(2, 4))
	if len(again.GetStates()) != 3 || again.GetStates()[0].GetModseq() != r.GetHighestModseq() || again.GetHighestModseq() != r.GetHighestModseq()+1 {
		t.Errorf("got %v", again)
	}
	none := h.flag("bob", inbox, opAdd, seen, span(2, 4))
	if none.GetHighestModseq() != again.GetHighestModseq() || len(none.GetStates()) != 3 {
		t.Errorf("nothing changed, but got %v", none)
	}
	s := h.sync("bob", inbox, before.mailbox.GetHighestModseq())
	if len(s.changed) != 3 || s.mailbox.GetUnseen() != 1 {
		t.Errorf("sync gave %v", s)
	}
	h.flag("bob", inbox, opSet, flagged|deleted, span(2, 2))
	h.flag("bob", inbox, opRemove, flagged, span(2, 2))
	box := h.mailbox("bob", "INBOX")
	if state := h.sync("bob", inbox, 0).changed[1]; state.GetFlags() != deleted || box.GetUnseen() != 2 || box.GetDeleted() != 1 || box.GetDeletedBytes() != state.GetSize() {
		t.Errorf("state %v in mailbox %v", state, box)
	}
}

func TestUnchangedSinceRefusesWhatAnotherHasChanged(t *testing.T) {
	h, inbox := filled(t, 3)
	since := h.mailbox("bob", "INBOX").GetHighestModseq()
	h.flag("bob", inbox, opAdd, seen, span(2, 2))
	r, err := h.imap.StoreFlags(t.Context(), &storagev1.StoreFlagsRequest{
		AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 3)}, Operation: opAdd, Flags: flagged, UnchangedSince: &since,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.GetStates()) != 2 || len(r.GetModified()) != 1 || r.GetModified()[0].GetStart() != 2 || r.GetModified()[0].GetStop() != 2 {
		t.Errorf("got %v", r)
	}
}

func TestKeywordsKeepTheSpellingOfTheirFirstUse(t *testing.T) {
	h, inbox := filled(t, 2)
	set := func(uid uint32, op storagev1.StoreFlagsRequest_Operation, keywords ...string) []string {
		t.Helper()
		r, err := h.imap.StoreFlags(t.Context(), &storagev1.StoreFlagsRequest{
			AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(uid, uid)}, Operation: op, Keywords: keywords,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetStates()[0].GetKeywords()
	}
	set(1, opAdd, "$Forwarded", "Work")
	if got := set(2, opAdd, "work", "$FORWARDED", "WORK"); !slices.Equal(got, []string{"$Forwarded", "Work"}) {
		t.Errorf("keywords are %q", got)
	}
	if got := set(2, opRemove, "$forwarded", "unheard-of"); !slices.Equal(got, []string{"Work"}) {
		t.Errorf("keywords are %q", got)
	}
	for _, bad := range []string{"", "two words", `\Seen`, "a(b", "ü"} {
		_, err := h.imap.StoreFlags(t.Context(), &storagev1.StoreFlagsRequest{
			AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1)}, Operation: opAdd, Keywords: []string{bad},
		})
		wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	}
}

func TestKeywordsAreLimitedPerAccount(t *testing.T) {
	h := start(t, "--storage-max-keywords=16")
	h.mustDeliver("bob", mail("a", "b"))
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	for i := range 17 {
		_, err := h.imap.StoreFlags(t.Context(), &storagev1.StoreFlagsRequest{
			AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1)}, Operation: opAdd, Keywords: []string{fmt.Sprint("k", i)},
		})
		if i < 16 && err != nil {
			t.Fatal(err)
		}
		if i == 16 {
			wantReason(t, err, rpcv1.Reason_REASON_LIMIT)
		}
	}
}

func TestExpungeRemovesWhatIsMarkedAndFreesCapacity(t *testing.T) {
	h, inbox := filled(t, 6)
	h.flag("bob", inbox, opAdd, deleted, span(2, 3), span(5, 5))
	since := h.mailbox("bob", "INBOX").GetHighestModseq()
	r, err := h.imap.Expunge(t.Context(), &storagev1.ExpungeRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 4)}})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(ranges(r.GetExpunged())) != "[[2 3]]" {
		t.Errorf("expunged %v", r)
	}
	if r, err = h.imap.Expunge(t.Context(), &storagev1.ExpungeRequest{AccountId: "bob", MailboxId: inbox}); err != nil || fmt.Sprint(ranges(r.GetExpunged())) != "[[5 5]]" {
		t.Errorf("expunged %v, %v", r, err)
	}
	s := h.sync("bob", inbox, since)
	if fmt.Sprint(ranges(s.vanished)) != "[[2 3] [5 5]]" || len(s.changed) != 0 || s.mailbox.GetMessages() != 3 || s.mailbox.GetHighestModseq() != r.GetHighestModseq() {
		t.Errorf("sync gave %v", s)
	}
	if all := h.sync("bob", inbox, 0); len(all.vanished) != 0 || len(all.changed) != 3 {
		t.Errorf("sync of all gave %v", all)
	}
	eventually(t, "usage is what is left", func() bool { return h.quota.Account("bob").UsedMessages == 3 })
	if got := h.mustDeliver("bob", mail("new", "one")); got != 7 {
		t.Errorf("the next UID is %d", got)
	}
}

func ranges(list []*storagev1.UidRange) [][2]uint32 {
	var out [][2]uint32
	for _, r := range list {
		out = append(out, [2]uint32{r.GetStart(), r.GetStop()})
	}
	return out
}

func TestMoveWorksInAFullMailboxAndCopyDoesNot(t *testing.T) {
	h, inbox := filled(t, 5)
	eventually(t, "usage is settled", func() bool { return h.quota.Account("bob").UsedMessages == 5 })
	h.quota.SetLimit("bob", h.quota.Account("bob").UsedBytes, -1)
	_, err := h.imap.Copy(t.Context(), &storagev1.CopyRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "Archive"})
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA)
	h.flag("bob", inbox, opAdd, flagged, span(2, 2))
	since := h.mailbox("bob", "INBOX").GetHighestModseq()
	r, err := h.imap.Move(t.Context(), &storagev1.MoveRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 2), span(4, 4), span(9, 99)}, ToMailbox: "Archive"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.GetMapping().GetSource(), r.GetMapping().GetDestination()); got != "[1 2 4] [1 2 3]" {
		t.Errorf("moved %s", got)
	}
	archive := h.mailbox("bob", "Archive")
	if archive.GetMessages() != 3 || r.GetMapping().GetUidValidity() != archive.GetUidValidity() {
		t.Errorf("the archive is %v", archive)
	}
	s := h.sync("bob", inbox, since)
	if fmt.Sprint(ranges(s.vanished)) != "[[1 2] [4 4]]" || s.mailbox.GetHighestModseq() != r.GetHighestModseq() {
		t.Errorf("sync gave %v", s)
	}
	if state := h.sync("bob", archive.GetMailboxId(), 0).changed[1]; state.GetFlags() != flagged {
		t.Errorf("the moved message is %v", state)
	}
	if got := h.quota.Account("bob").UsedMessages; got != 5 {
		t.Errorf("usage is %d messages", got)
	}
	_, err = h.imap.Move(t.Context(), &storagev1.MoveRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(3, 3)}, ToMailbox: "Nowhere"})
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
}

func TestMoveWithinAMailboxGivesNewUIDs(t *testing.T) {
	h, inbox := filled(t, 3)
	r, err := h.imap.Move(t.Context(), &storagev1.MoveRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 2)}, ToMailbox: "INBOX"})
	if err != nil || fmt.Sprint(r.GetMapping().GetDestination()) != "[4 5]" {
		t.Errorf("got %v, %v", r, err)
	}
	if s := h.sync("bob", inbox, 0); len(s.changed) != 3 || s.changed[2].GetUid() != 5 {
		t.Errorf("sync gave %v", s)
	}
}

func TestCopySharesTheContentAndCounts(t *testing.T) {
	h, inbox := filled(t, 3)
	h.flag("bob", inbox, opAdd, seen, span(3, 3))
	r, err := h.imap.Copy(t.Context(), &storagev1.CopyRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1), span(3, 3)}, ToMailbox: "Archive"})
	if err != nil || fmt.Sprint(r.GetMapping().GetSource(), r.GetMapping().GetDestination()) != "[1 3] [1 2]" {
		t.Fatalf("got %v, %v", r, err)
	}
	archive := h.mailbox("bob", "Archive").GetMailboxId()
	original, copied := h.fetch("bob", inbox, span(3, 3))[0], h.fetch("bob", archive, span(2, 2))[0]
	if original.GetEmailId() != copied.GetEmailId() || original.GetThreadId() != copied.GetThreadId() {
		t.Errorf("ids are %v and %v", original, copied)
	}
	if a, b := original.GetState(), copied.GetState(); a.GetFlags() != b.GetFlags() || a.GetInternalUnix() != b.GetInternalUnix() || a.GetSize() != b.GetSize() {
		t.Errorf("states are %v and %v", a, b)
	}
	h.expunge("bob", inbox, span(3, 3))
	if h.read("bob", archive, 2, 0, 0) == "" {
		t.Error("the copy cannot be read when the original is gone")
	}
	eventually(t, "four messages are counted", func() bool { return h.quota.Account("bob").UsedMessages == 4 })
	empty, err := h.imap.Copy(t.Context(), &storagev1.CopyRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(77, 78)}, ToMailbox: "Archive"})
	if err != nil || len(empty.GetMapping().GetSource()) != 0 {
		t.Errorf("a copy of nothing gave %v, %v", empty, err)
	}
}

func TestMaildropIsExclusiveAndCommitsByPolicy(t *testing.T) {
	for action, want := range map[storagev1.CommitMaildropRequest_Action]struct{ inbox, trash uint32 }{
		storagev1.CommitMaildropRequest_ACTION_EXPUNGE: {1, 0},
		storagev1.CommitMaildropRequest_ACTION_TRASH:   {1, 2},
		storagev1.CommitMaildropRequest_ACTION_KEEP:    {3, 0},
	} {
		t.Run(action.String(), func(t *testing.T) {
			h, inbox := filled(t, 3)
			lease, leave := h.openMaildrop("bob")
			_, err := h.tryMaildrop("bob")
			wantReason(t, err, rpcv1.Reason_REASON_MAILDROP_IN_USE)
			request := &storagev1.CommitMaildropRequest{AccountId: "bob", LeaseId: lease, Uids: []*storagev1.UidRange{span(1, 2)}, Action: action}
			for range 2 { // repeated after a lost answer
				if _, err := h.pop3.CommitMaildrop(t.Context(), request); err != nil {
					t.Fatal(err)
				}
			}
			if got := h.mailbox("bob", "INBOX").GetMessages(); got != want.inbox {
				t.Errorf("INBOX has %d messages, want %d", got, want.inbox)
			}
			if got := h.mailbox("bob", "Trash").GetMessages(); got != want.trash {
				t.Errorf("Trash has %d messages, want %d", got, want.trash)
			}
			for _, state := range h.sync("bob", inbox, 0).changed {
				if state.GetPopped() != (action == storagev1.CommitMaildropRequest_ACTION_KEEP && state.GetUid() <= 2) {
					t.Errorf("state %v", state)
				}
			}
			leave()
			eventually(t, "the maildrop is free", func() bool { _, err := h.tryMaildrop("bob"); return err == nil })
			_, err = h.pop3.CommitMaildrop(t.Context(), request)
			wantReason(t, err, rpcv1.Reason_REASON_LEASE_LOST)
		})
	}
}
