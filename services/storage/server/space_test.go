package server

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/services/storage/internal/object"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// limitedStore is an object store on a disk that has as much room as it says.
type limitedStore struct {
	object.Store
	free atomic.Int64
}

func (s *limitedStore) Free() (int64, error) { return s.free.Load(), nil }

// startOn runs the service on the object store that wrap makes of a directory.
func startOn(t *testing.T, wrap func(object.Store) object.Store, args ...string) *harness {
	t.Helper()
	h := start(t, args...)
	h.stop()
	dir, err := object.OpenDir(filepath.Join(h.dir, "bodies"))
	if err != nil {
		t.Fatal(err)
	}
	h.deps.Objects = wrap(dir)
	h.run(args...)
	t.Cleanup(func() {
		h.stop() // before its store is closed
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// startLimited runs the service on a disk with so much room.
func startLimited(t *testing.T, free int64, args ...string) *harness {
	t.Helper()
	return startOn(t, func(s object.Store) object.Store {
		limited := &limitedStore{Store: s}
		limited.free.Store(free)
		return limited
	}, args...)
}

func TestNearlyFullDiskRefusesNewMailAndStillDeletes(t *testing.T) {
	const reserve = 64_000_000
	h := startLimited(t, 1<<30)
	if err := h.create("Work"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		h.mustDeliver("bob", mail("before", "x"))
	}
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	h.expunge("bob", inbox, span(1, 1))
	h.stop()

	h.deps.Objects.(*limitedStore).free.Store(reserve - 1)
	h.run()
	refused := func(what string, err error) {
		t.Helper()
		wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
		if text := fault.Text(err); text != "storage is nearly full" {
			t.Errorf("%s is refused with %q", what, text)
		}
	}
	_, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}, mail("during", "x"))
	refused("delivery", err)
	_, err = h.smtp.DeliverNotice(t.Context(), &storagev1.DeliverNoticeRequest{AccountId: "bob", DeliveryId: unique(), Message: []byte(mail("notice", "x"))})
	refused("notice", err)
	_, err = h.appendTo("bob", "INBOX", "", 0, mail("during", "x"))
	refused("append", err)
	_, err = h.imap.Copy(t.Context(), &storagev1.CopyRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(2, 2)}, ToMailbox: "Work"})
	refused("copy", err)
	_, err = h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob"})
	refused("restore", err)

	h.flag("bob", inbox, opAdd, seen, span(2, 5))
	if _, err := h.imap.Move(t.Context(), &storagev1.MoveRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(2, 2)}, ToMailbox: "Work"}); err != nil {
		t.Errorf("move: %v", err)
	}
	h.expunge("bob", inbox, span(3, 4))
	if err := h.remove("Work"); err != nil {
		t.Errorf("delete mailbox: %v", err)
	}
	if m := h.mailbox("bob", "INBOX"); m.GetMessages() != 1 {
		t.Errorf("INBOX is %v", m)
	}
	h.stop()
	h.deps.Objects.(*limitedStore).free.Store(1 << 30)
	h.run()
	h.mustDeliver("bob", mail("after", "x"))
}

func TestMessageThatWouldUseUpTheReserveIsRefused(t *testing.T) {
	h := startLimited(t, 64_000_000+256<<10)
	h.mustDeliver("bob", mail("small", "x"))
	for _, size := range []int{512 << 10, 5 << 20} { // the first is held in memory, the second on the disk
		o := deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}
		_, err := h.deliver(t.Context(), o, mail("large", strings.Repeat("x", size)))
		wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
	}
}

func TestReserveCanBeTurnedOff(t *testing.T) {
	h := startLimited(t, 1, "--storage-min-free=0")
	h.mustDeliver("bob", mail("small", "x"))
}

func TestShorterRetentionHoldsForWhatIsDeleted(t *testing.T) {
	h, inbox := filled(t, 2)
	h.expunge("bob", inbox, span(1, 1))
	h.stop()
	h.run("--storage-retention=1h")
	list := h.deletedMessages("bob")
	if len(list) != 1 || list[0].GetExpiresUnix()-list[0].GetDeletedUnix() != 3600 {
		t.Errorf("deleted messages are %v", list)
	}
}
