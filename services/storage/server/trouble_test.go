package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// fullStore is an object store on a disk that is full as long as it says so.
type fullStore struct {
	object.Store
	full atomic.Bool
}

func (s *fullStore) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if s.full.Load() {
		return fmt.Errorf("put: %w", object.ErrFull)
	}
	return s.Store.Put(ctx, key, r, size)
}

func TestFullObjectStoreRefusesForNowAndHoldsNoReservation(t *testing.T) {
	store := &fullStore{}
	h := startOn(t, func(s object.Store) object.Store { store.Store = s; return store })
	h.mustDeliver("bob", mail("before", "x"))
	store.full.Store(true)
	for _, size := range []int{10, 2 << 20} {
		o := deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{to("bob"), to("carol")}}
		_, err := h.deliver(t.Context(), o, mail("during", string(make([]byte, size))))
		wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
	}
	eventually(t, "reservations are released", func() bool { return h.quota.Account("bob").ReservedBytes == 0 })
	if n := h.mailbox("bob", "INBOX").GetMessages(); n != 1 {
		t.Errorf("there are %d messages", n)
	}
	store.full.Store(false)
	h.mustDeliver("bob", mail("after", "x"))
}

func TestDamagedBodyIsToldAndDoesNotSpoilASearch(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", mail("one", "first text"))
	h.mustDeliver("bob", mail("two", "second text"))
	h.stop()
	var files []string
	err := filepath.WalkDir(filepath.Join(h.dir, "bodies", "objects", "packs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 2 {
		t.Fatalf("objects are %q, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], make([]byte, info.Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run()
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	damaged := 0
	for uid := range uint32(2) {
		stream, err := h.imap.Read(t.Context(), &storagev1.ReadRequest{AccountId: "bob", MailboxId: inbox, Uid: uid + 1})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			wantReason(t, err, rpcv1.Reason_REASON_CORRUPT)
			damaged++
		}
	}
	if damaged != 1 {
		t.Errorf("%d messages are damaged", damaged)
	}
	r, err := h.imap.Search(t.Context(), &storagev1.SearchRequest{
		AccountId: "bob", MailboxId: inbox, Criteria: &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: "text"}},
	})
	if err != nil || len(r.GetUids()) != 1 {
		t.Errorf("found %v, %v", r, err)
	}
}

func TestSecondProcessOnTheSameDirectoryIsRefused(t *testing.T) {
	h := start(t)
	if _, err := New(t.Context(), Config{Dir: h.dir}, Deps{Log: h.log}); err == nil {
		t.Error("a second server opened the stores")
	}
	h.mustDeliver("bob", mail("still", "works"))
}
