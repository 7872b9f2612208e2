package server

import (
	"strings"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// replace stores a message in place of another one of bob's INBOX.
func (h *harness) replace(id, mailbox string, uid uint32, message string, more ...*storagev1.ReplaceRequest) (*storagev1.ReplaceResponse, error) {
	stream, err := h.imap.Replace(h.t.Context())
	if err != nil {
		return nil, err
	}
	requests := []*storagev1.ReplaceRequest{
		{Message: &storagev1.ReplaceRequest_Target_{Target: &storagev1.ReplaceRequest_Target{
			AccountId: "bob", Mailbox: mailbox, AppendId: id, MailboxId: h.mailbox("bob", "INBOX").GetMailboxId(), Uid: uid,
		}}},
		{Message: &storagev1.ReplaceRequest_Start{Start: &storagev1.AppendRequest_Message{Flags: uint32(storagev1.Flag_FLAG_DRAFT), Keywords: []string{"$x"}}}},
	}
	for chunk := range chunks(message) {
		requests = append(requests, &storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Chunk{Chunk: chunk}})
	}
	requests = append(requests, &storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(message))}}})
	for _, r := range append(requests, more...) {
		if err := stream.Send(r); err != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

func TestReplacingSettlesTheDifference(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", strings.Repeat("x", 1000))
	for i, text := range []string{"longer " + strings.Repeat("y", 2000), "shorter"} {
		r, err := h.replace("", "INBOX", uint32(i+1), text)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.read("bob", r.GetMailboxId(), r.GetUid(), 0, 0); got != text {
			t.Errorf("UID %d is %q", r.GetUid(), got)
		}
	}
	m := h.mailbox("bob", "INBOX")
	eventually(t, "quota has what storage has", func() bool {
		q := h.quota.Account("bob")
		return q.UsedBytes == int64(m.GetBytes()) && q.UsedMessages == 1 && q.ReservedBytes == 0
	})
	states := h.sync("bob", m.GetMailboxId(), 0).changed
	if len(states) != 1 || states[0].GetFlags() != uint32(storagev1.Flag_FLAG_DRAFT) || strings.Join(states[0].GetKeywords(), " ") != "$x" {
		t.Errorf("states are %v", states)
	}
}

func TestOnlyGrowthMustFit(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", strings.Repeat("x", 1000))
	h.quota.SetLimit("bob", 1000, 1) // full in octets and in messages
	_, err := h.replace("a", "Drafts", 1, strings.Repeat("y", 1001))
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA)
	if got := h.read("bob", h.mailbox("bob", "INBOX").GetMailboxId(), 1, 0, 0); got != strings.Repeat("x", 1000) {
		t.Errorf("the message that was there is %q", got)
	}
	if n := h.mailbox("bob", "Drafts").GetMessages(); n != 0 {
		t.Errorf("%d messages in Drafts", n)
	}
	if _, err := h.replace("b", "Drafts", 1, strings.Repeat("y", 1000)); err != nil {
		t.Errorf("what does not grow does not fit: %v", err)
	}
	// What was answered is answered again, though nothing more would fit.
	h.quota.SetLimit("bob", 0, 0)
	r, err := h.replace("b", "Drafts", 1, strings.Repeat("y", 1000))
	if err != nil || r.GetUid() != 1 || r.GetMailboxId() != h.mailbox("bob", "Drafts").GetMailboxId() {
		t.Errorf("the repeated request was answered %v, %v", r, err)
	}
}

func TestReplacingNeedsNoQuotaServiceUnlessItGrows(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", strings.Repeat("x", 1000))
	h.quota.SetDown(true)
	_, err := h.replace("", "INBOX", 1, strings.Repeat("y", 1001))
	wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
	if _, err := h.replace("", "INBOX", 1, strings.Repeat("y", 900)); err != nil {
		t.Error(err)
	}
	h.quota.SetDown(false)
}

func TestWhatCannotBeReplaced(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", "Subject: x\r\n\r\n")
	_, err := h.replace("id", "INBOX", 2, "new")
	wantReason(t, err, rpcv1.Reason_REASON_NOT_FOUND)
	_, err = h.replace("id", "Nowhere", 1, "new")
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	_, err = h.replace(strings.Repeat("x", 65), "INBOX", 1, "new")
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	another := &storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Start{Start: &storagev1.AppendRequest_Message{}}}
	_, err = h.replace("id", "INBOX", 1, "new", another)
	wantReason(t, err, rpcv1.Reason_REASON_LIMIT)
	chunk := &storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Chunk{Chunk: []byte("x")}}
	_, err = h.replace("id", "INBOX", 1, "new", chunk)
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	// The stream ends, or nothing was said.
	stream, err := h.imap.Replace(t.Context())
	if err == nil {
		_, err = stream.CloseAndRecv()
	}
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	if m := h.mailbox("bob", "INBOX"); m.GetMessages() != 1 || m.GetUidNext() != 2 {
		t.Errorf("INBOX is %v", m)
	}
	// A large body goes alone, not in a group.
	large := strings.Repeat("0123456789abcdef", 100_000)
	if r, err := h.replace("id", "INBOX", 1, large); err != nil || r.GetUid() != 2 {
		t.Errorf("large: %v, %v", r, err)
	}
}
