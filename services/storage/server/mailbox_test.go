package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// openMaildrop takes the maildrop and holds it until leave is called.
func (h *harness) openMaildrop(account string) (lease string, leave func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	stream, err := h.pop3.OpenMaildrop(ctx, &storagev1.OpenMaildropRequest{AccountId: account})
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil {
		h.t.Fatal(err)
	}
	return r.GetLeaseId(), func() {
		cancel()
		// The transport ends a stream that nobody holds any more.
		if _, err := stream.Recv(); err == nil {
			h.t.Error("the stream goes on after its context has ended")
		}
	}
}

// tryMaildrop takes the maildrop and gives it back.
func (h *harness) tryMaildrop(account string) (string, error) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	stream, err := h.pop3.OpenMaildrop(ctx, &storagev1.OpenMaildropRequest{AccountId: account})
	if err != nil {
		return "", err
	}
	r, err := stream.Recv()
	return r.GetLeaseId(), err
}

func (h *harness) names(account string) []string {
	h.t.Helper()
	r, err := h.imap.ListMailboxes(h.t.Context(), &storagev1.ListMailboxesRequest{AccountId: account})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, m := range r.GetMailboxes() {
		out = append(out, m.GetName())
	}
	return out
}

func (h *harness) create(name string) error {
	_, err := h.imap.CreateMailbox(h.t.Context(), &storagev1.CreateMailboxRequest{AccountId: "bob", Name: name})
	return err
}

func (h *harness) rename(from, to string) error {
	_, err := h.imap.RenameMailbox(h.t.Context(), &storagev1.RenameMailboxRequest{AccountId: "bob", From: from, To: to})
	return err
}

func (h *harness) remove(name string) error {
	_, err := h.imap.DeleteMailbox(h.t.Context(), &storagev1.DeleteMailboxRequest{AccountId: "bob", Name: name})
	return err
}

func TestDefaultMailboxesAreMadeAndSubscribed(t *testing.T) {
	h := start(t)
	r, err := h.imap.ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{AccountId: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range r.GetMailboxes() {
		got = append(got, fmt.Sprint(m.GetName(), " ", m.GetSpecialUse(), " ", m.GetSubscribed()))
		if m.GetUidValidity() == 0 || m.GetUidNext() != 1 || m.GetHighestModseq() == 0 {
			t.Errorf("mailbox %v", m)
		}
	}
	want := []string{
		"INBOX SPECIAL_USE_INBOX true", "Archive SPECIAL_USE_ARCHIVE true", "Drafts SPECIAL_USE_DRAFTS true",
		"Junk SPECIAL_USE_JUNK true", "Sent SPECIAL_USE_SENT true", "Trash SPECIAL_USE_TRASH true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestMailboxesAreCreatedWithTheirParents(t *testing.T) {
	h := start(t)
	if err := h.create("a/b/c/"); err != nil {
		t.Fatal(err)
	}
	if got := h.names("bob")[6:]; !slices.Equal(got, []string{"a", "a/b", "a/b/c"}) {
		t.Errorf("mailboxes are %q", got)
	}
	wantReason(t, h.create("a/b"), rpcv1.Reason_REASON_MAILBOX_EXISTS)
	wantReason(t, h.create("inbox"), rpcv1.Reason_REASON_MAILBOX_EXISTS)
	for _, bad := range []string{"", "/", "a//b", "/a", "tab\there", "\xff", strings.Repeat("x", 256), strings.Repeat("abc/", 300) + "d", strings.Repeat("a/", 40) + "b"} {
		wantReason(t, h.create(bad), rpcv1.Reason_REASON_MAILBOX_NAME_INVALID)
	}
	// Decomposed and composed are one name.
	if err := h.create("Cafe\u0301"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, h.create("Caf\u00e9"), rpcv1.Reason_REASON_MAILBOX_EXISTS)
	r, err := h.imap.CreateMailbox(t.Context(), &storagev1.CreateMailboxRequest{AccountId: "bob", Name: "Spam", SpecialUse: storagev1.SpecialUse_SPECIAL_USE_JUNK})
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	if r != nil {
		t.Errorf("got %v", r)
	}
}

func TestMailboxesAreLimitedPerAccount(t *testing.T) {
	h := start(t, "--storage-max-mailboxes=16")
	for i := range 10 {
		if err := h.create(fmt.Sprint("m", i)); err != nil {
			t.Fatal(err)
		}
	}
	wantReason(t, h.create("one-more"), rpcv1.Reason_REASON_LIMIT)
	if n := len(h.names("bob")); n != 16 {
		t.Errorf("there are %d mailboxes", n)
	}
}

func TestRecreatedMailboxHasAnotherUIDValidity(t *testing.T) {
	h := start(t)
	used := map[uint32]bool{}
	for range 5 {
		if err := h.create("Work"); err != nil {
			t.Fatal(err)
		}
		m := h.mailbox("bob", "Work")
		if used[m.GetUidValidity()] {
			t.Errorf("UIDVALIDITY %d is used again", m.GetUidValidity())
		}
		used[m.GetUidValidity()] = true
		if err := h.remove("Work"); err != nil {
			t.Fatal(err)
		}
		stream, err := h.imap.Sync(t.Context(), &storagev1.SyncRequest{AccountId: "bob", MailboxId: m.GetMailboxId()})
		if err == nil {
			_, err = stream.Recv()
		}
		wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	}
}

func TestSyncNoticesAnotherUIDValidity(t *testing.T) {
	h := start(t)
	m := h.mailbox("bob", "INBOX")
	for _, since := range []uint64{0, m.GetHighestModseq()} {
		stream, err := h.imap.Sync(t.Context(), &storagev1.SyncRequest{
			AccountId: "bob", MailboxId: m.GetMailboxId(), SinceModseq: since, UidValidity: m.GetUidValidity() + 1,
		})
		if err == nil {
			_, err = stream.Recv()
		}
		wantReason(t, err, rpcv1.Reason_REASON_UID_VALIDITY_CHANGED)
	}
}

func TestRenameTakesTheChildrenAlong(t *testing.T) {
	h := start(t)
	for _, name := range []string{"a/b/c", "ab"} {
		if err := h.create(name); err != nil {
			t.Fatal(err)
		}
	}
	id := h.mailbox("bob", "a/b").GetMailboxId()
	if err := h.rename("a", "x/y"); err != nil {
		t.Fatal(err)
	}
	if got := h.names("bob")[6:]; !slices.Equal(got, []string{"ab", "x", "x/y", "x/y/b", "x/y/b/c"}) {
		t.Errorf("mailboxes are %q", got)
	}
	if h.mailbox("bob", "x/y/b").GetMailboxId() != id {
		t.Error("the renamed mailbox is another one")
	}
	wantReason(t, h.rename("a", "z"), rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	wantReason(t, h.rename("ab", "x"), rpcv1.Reason_REASON_MAILBOX_EXISTS)
	wantReason(t, h.rename("x", "x/y/z"), rpcv1.Reason_REASON_MAILBOX_NAME_INVALID)
}

func TestRenamedInboxIsEmptyAndStays(t *testing.T) {
	h, inbox := filled(t, 3)
	if err := h.rename("INBOX", "Old"); err != nil {
		t.Fatal(err)
	}
	if m := h.mailbox("bob", "INBOX"); m.GetMailboxId() != inbox || m.GetMessages() != 0 {
		t.Errorf("INBOX is %v", m)
	}
	if m := h.mailbox("bob", "Old"); m.GetMessages() != 3 || m.GetUnseen() != 3 {
		t.Errorf("the new mailbox is %v", m)
	}
}

func TestDeletedMailboxFreesItsCapacity(t *testing.T) {
	h := start(t)
	if err := h.create("Work/Old"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.appendTo("bob", "Work/Old", "", 0, mail("a", "b")); err != nil {
		t.Fatal(err)
	}
	wantReason(t, h.remove("Work"), rpcv1.Reason_REASON_MAILBOX_PROTECTED)
	wantReason(t, h.remove("INBOX"), rpcv1.Reason_REASON_MAILBOX_PROTECTED)
	wantReason(t, h.remove("None"), rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	if err := h.remove("Work/Old"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is counted", func() bool {
		a := h.quota.Account("bob")
		return a.Sequence == 2 && a.UsedBytes == 0 && a.UsedMessages == 0
	})
}

func TestSubscriptionsOutliveTheirMailbox(t *testing.T) {
	h := start(t)
	if err := h.create("Work"); err != nil {
		t.Fatal(err)
	}
	for name, on := range map[string]bool{"Work": true, "News": true, "Sent": false} {
		if _, err := h.imap.SetSubscribed(t.Context(), &storagev1.SetSubscribedRequest{AccountId: "bob", Name: name, Subscribed: on}); err != nil {
			t.Fatal(err)
		}
	}
	if !h.mailbox("bob", "Work").GetSubscribed() || h.mailbox("bob", "Sent").GetSubscribed() {
		t.Error("subscriptions are wrong")
	}
	if err := h.remove("Work"); err != nil {
		t.Fatal(err)
	}
	r, err := h.imap.ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{AccountId: "bob"})
	if err != nil || !slices.Equal(r.GetSubscribedOnly(), []string{"News", "Work"}) {
		t.Errorf("got %q, %v", r.GetSubscribedOnly(), err)
	}
}

func TestWatchersHearOfChanges(t *testing.T) {
	h := start(t)
	if err := h.create("Work"); err != nil {
		t.Fatal(err)
	}
	inbox, work := h.mailbox("bob", "INBOX"), h.mailbox("bob", "Work")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := h.imap.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(r *storagev1.WatchRequest) {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	// next waits until the mailbox is at a modseq, or gone.
	next := func(id, modseq uint64, gone bool) {
		t.Helper()
		for {
			r, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.GetChanges() {
				if c.GetMailboxId() == id && c.GetModseq() >= modseq && c.GetDeleted() == gone {
					return
				}
			}
		}
	}
	key := func(id uint64) []*storagev1.WatchRequest_Key {
		return []*storagev1.WatchRequest_Key{{AccountId: "bob", MailboxId: id}}
	}
	send(&storagev1.WatchRequest{Subscribe: key(inbox.GetMailboxId())})
	next(inbox.GetMailboxId(), inbox.GetHighestModseq(), false)
	h.mustDeliver("bob", mail("a", "b"))
	next(inbox.GetMailboxId(), inbox.GetHighestModseq()+1, false)
	send(&storagev1.WatchRequest{Subscribe: key(work.GetMailboxId())})
	next(work.GetMailboxId(), 1, false)
	h.flag("bob", inbox.GetMailboxId(), opAdd, seen, span(1, 1))
	next(inbox.GetMailboxId(), inbox.GetHighestModseq()+2, false)
	if err := h.remove("Work"); err != nil {
		t.Fatal(err)
	}
	next(work.GetMailboxId(), 0, true)
	send(&storagev1.WatchRequest{Subscribe: key(work.GetMailboxId())})
	next(work.GetMailboxId(), 0, true)
}
