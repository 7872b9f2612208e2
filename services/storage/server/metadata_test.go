package server

import (
	"fmt"
	"strings"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func (h *harness) setMetadata(mailbox string, changes ...*storagev1.SetMetadataRequest_Change) error {
	_, err := h.imap.SetMetadata(h.t.Context(), &storagev1.SetMetadataRequest{AccountId: "bob", Mailbox: mailbox, Changes: changes})
	return err
}

func setting(name, value string) *storagev1.SetMetadataRequest_Change {
	return &storagev1.SetMetadataRequest_Change{Name: name, Value: []byte(value)}
}

func (h *harness) metadata(r *storagev1.GetMetadataRequest) (string, error) {
	r.AccountId = asked(r.GetActor())
	answer, err := h.imap.GetMetadata(h.t.Context(), r)
	var out []string
	for _, e := range answer.GetEntries() {
		out = append(out, fmt.Sprintf("%d%s=%s", e.GetMailboxId(), e.GetName(), e.GetValue()))
	}
	return strings.Join(out, " "), err
}

func TestAnnotationsAreFoundByNameAndDepth(t *testing.T) {
	h := start(t)
	err := h.setMetadata("inbox", setting("/private/comment", "c"), setting("/private/filters/values/Small", "SMALLER 5000"),
		setting("/private/filters/values/boss", ""), setting("/private/filters/values/boss/more", "m"), setting("/shared/comment", "s"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.setMetadata("", setting("/private/comment", "account")); err != nil {
		t.Fatal(err)
	}
	if err := h.setMetadata("Sent", setting("/private/comment", "sent")); err != nil {
		t.Fatal(err)
	}
	sent := h.mailbox("bob", "Sent").GetMailboxId()
	const children, all = storagev1.GetMetadataRequest_DEPTH_CHILDREN, storagev1.GetMetadataRequest_DEPTH_INFINITY
	for _, c := range []struct {
		request *storagev1.GetMetadataRequest
		want    string
	}{
		{&storagev1.GetMetadataRequest{Mailbox: "INBOX", Entries: []string{"/PRIVATE/comment", "/shared/comment", "/shared/none"}}, "1/private/comment=c 1/shared/comment=s"},
		{&storagev1.GetMetadataRequest{Mailbox: "INBOX", Entries: []string{"/private/filters/values"}}, ""},
		{&storagev1.GetMetadataRequest{Mailbox: "INBOX", Entries: []string{"/private/filters/values", "/private/filters"}, Depth: children},
			"1/private/filters/values/boss= 1/private/filters/values/Small=SMALLER 5000"},
		{&storagev1.GetMetadataRequest{Mailbox: "INBOX", Entries: []string{"/private/filters"}, Depth: all},
			"1/private/filters/values/boss= 1/private/filters/values/boss/more=m 1/private/filters/values/Small=SMALLER 5000"},
		{&storagev1.GetMetadataRequest{Entries: []string{"/private"}, Depth: all}, "0/private/comment=account"},
		{&storagev1.GetMetadataRequest{AllMailboxes: true, Entries: []string{"/private/comment"}}, fmt.Sprintf("1/private/comment=c %d/private/comment=sent", sent)},
	} {
		if got, err := h.metadata(c.request); err != nil || got != c.want {
			t.Errorf("%v: got %q, %v, want %q", c.request, got, err, c.want)
		}
	}
	_, err = h.metadata(&storagev1.GetMetadataRequest{Mailbox: "None"})
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	for _, bad := range []*storagev1.GetMetadataRequest{
		{Mailbox: "INBOX", Entries: []string{"/public"}},
		{Mailbox: "INBOX", Entries: make([]string, 257)},
		{Mailbox: "INBOX", AllMailboxes: true},
		{Mailbox: "INBOX", Depth: 9},
	} {
		_, err = h.metadata(bad)
		wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	}
}

func TestWhatCannotBeAnnotated(t *testing.T) {
	h := start(t)
	for _, c := range []struct {
		mailbox string
		changes []*storagev1.SetMetadataRequest_Change
		want    rpcv1.Reason
	}{
		{"INBOX", nil, rpcv1.Reason_REASON_INVALID},
		{"INBOX", make([]*storagev1.SetMetadataRequest_Change, 257), rpcv1.Reason_REASON_INVALID},
		{"INBOX", []*storagev1.SetMetadataRequest_Change{setting("/private", "x")}, rpcv1.Reason_REASON_INVALID},
		{"INBOX", []*storagev1.SetMetadataRequest_Change{setting("/private/vendor/x", "x")}, rpcv1.Reason_REASON_INVALID},
		{"", []*storagev1.SetMetadataRequest_Change{setting("/shared/comment", "x")}, rpcv1.Reason_REASON_INVALID},
		{"None", []*storagev1.SetMetadataRequest_Change{setting("/shared/comment", "x")}, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND},
		{"INBOX", []*storagev1.SetMetadataRequest_Change{setting("/private/ok", "x"), setting("/shared/comment", strings.Repeat("x", 64<<10+1))}, rpcv1.Reason_REASON_MESSAGE_TOO_LARGE},
	} {
		wantReason(t, h.setMetadata(c.mailbox, c.changes...), c.want)
	}
	if got, err := h.metadata(&storagev1.GetMetadataRequest{Mailbox: "INBOX", Entries: []string{"/private/ok"}}); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
