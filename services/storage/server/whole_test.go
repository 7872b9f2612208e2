package server

import (
	"fmt"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func TestSmallMessagesAreFetchedWhole(t *testing.T) {
	h := start(t)
	var last uint32
	for i := range 30 {
		last = h.mustDeliver("alice", mail(fmt.Sprint("small ", i), strings.Repeat("text ", 10*i)))
	}
	large := h.mustDeliver("alice", mail("large", strings.Repeat("large ", 20_000)))
	inbox := h.mailbox("alice", "INBOX").GetMailboxId()
	const limit = 100_000
	stream, err := h.imap.Fetch(t.Context(), &storagev1.FetchRequest{AccountId: "alice", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, large)}, WholeBytes: limit})
	if err != nil {
		t.Fatal(err)
	}
	n := uint32(0)
	for r := range received(t, stream.Recv) {
		for _, m := range r.GetMessages() {
			n++
			uid := m.GetState().GetUid()
			want := h.read("alice", inbox, uid, 0, 0)
			if uid == large {
				want = ""
			}
			if string(m.GetWholePrefix())+string(m.GetWhole()) != want {
				t.Errorf("message %d: %d octets, want %d", uid, len(m.GetWhole()), len(want))
			}
		}
	}
	if n != last+1 {
		t.Errorf("%d messages, want %d", n, last+1)
	}
	for _, m := range h.fetch("alice", inbox, span(1, large)) {
		if len(m.GetWhole()) > 0 {
			t.Errorf("message %d came whole without being asked for", m.GetState().GetUid())
		}
	}
}
