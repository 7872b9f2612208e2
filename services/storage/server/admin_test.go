package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

func (h *harness) deletedMessages(account string) []*storagev1.ListDeletedResponse_Deleted {
	h.t.Helper()
	stream, err := h.admin.ListDeleted(h.t.Context(), &storagev1.ListDeletedRequest{AccountId: account})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []*storagev1.ListDeletedResponse_Deleted
	for r := range received(h.t, stream.Recv) {
		out = append(out, r.GetDeleted()...)
	}
	return out
}

// stored counts the objects in the object store.
func (h *harness) stored() (n int) {
	h.t.Helper()
	for _, err := range h.objects.List(h.t.Context(), body.KeyPrefix, "") {
		if err != nil {
			h.t.Fatal(err)
		}
		n++
	}
	return n
}

func TestDeletedMessagesCanBeRestored(t *testing.T) {
	h, inbox := filled(t, 4)
	content := h.read("bob", inbox, 2, 0, 0)
	h.expunge("bob", inbox, span(1, 3))
	list := h.deletedMessages("bob")
	if len(list) != 3 || list[0].GetMailbox() != "INBOX" || list[2].GetSubject() != "Message 1" || list[2].GetFrom() != "alice@example.test" {
		t.Fatalf("deleted messages are %v", list)
	}
	if keep := list[0].GetExpiresUnix() - list[0].GetDeletedUnix(); keep != 14*24*60*60 {
		t.Errorf("they are kept for %d seconds", keep)
	}
	r, err := h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob", DeletedIds: []string{list[1].GetDeletedId()}})
	if err != nil || r.GetRestored() != 1 {
		t.Fatalf("got %v, %v", r, err)
	}
	if got := h.read("bob", inbox, 5, 0, 0); got != content {
		t.Errorf("restored %q, want %q", got, content)
	}
	if m := h.mailbox("bob", "INBOX"); m.GetMessages() != 2 || m.GetDeleted() != 0 {
		t.Errorf("INBOX is %v", m)
	}
	// By filter, into another mailbox that does not exist.
	r, err = h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob", Mailbox: "INBOX", DeletedSinceUnix: 1, ToMailbox: "Restored/Here"})
	if err != nil || r.GetRestored() != 2 {
		t.Errorf("got %v, %v", r, err)
	}
	if got := h.mailbox("bob", "Restored/Here").GetMessages(); got != 2 || len(h.deletedMessages("bob")) != 0 {
		t.Errorf("restored %d messages", got)
	}
	eventually(t, "all four count again", func() bool { return h.quota.Account("bob").UsedMessages == 4 })
	_, err = h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob", DeletedIds: []string{"nonsense"}})
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
}

func TestRestoredMessageIsTheSameMessage(t *testing.T) {
	h := start(t)
	o := deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{{AccountId: "bob", Prefix: []byte("Delivered-To: bob@example.test\r\n")}}}
	if _, err := h.deliver(t.Context(), o, mail("Plan", "text")); err != nil {
		t.Fatal(err)
	}
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	_, err := h.imap.StoreFlags(t.Context(), &storagev1.StoreFlagsRequest{
		AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1)}, Operation: opAdd, Flags: seen, Keywords: []string{"$Work"},
	})
	if err != nil {
		t.Fatal(err)
	}
	before, content := h.fetch("bob", inbox, span(1, 1))[0], h.read("bob", inbox, 1, 0, 0)
	h.clock.Forward(time.Hour)
	h.expunge("bob", inbox, span(1, 1))
	if r, err := h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob"}); err != nil || r.GetRestored() != 1 {
		t.Fatalf("got %v, %v", r, err)
	}
	after := h.fetch("bob", inbox, span(2, 2))[0]
	if after.GetState().GetSavedUnix() <= before.GetState().GetSavedUnix() {
		t.Error("it did not come into the mailbox anew")
	}
	before.State.Uid, before.State.Modseq, before.State.SavedUnix = 2, after.State.Modseq, after.State.SavedUnix
	if !proto.Equal(before, after) {
		t.Errorf("it was %v and is %v", before, after)
	}
	if got := h.read("bob", inbox, 2, 0, 0); got != content {
		t.Errorf("it reads %q", got)
	}
}

func TestRestoreMakesTheMailboxAgainAndMindsTheQuota(t *testing.T) {
	h := start(t)
	if err := h.create("Work/Plans"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.appendTo("bob", "Work/Plans", "", seen, mail("Plan", "A"), mail("Plan", "B")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Work/Plans", "Work"} {
		if err := h.remove(name); err != nil {
			t.Fatal(err)
		}
	}
	h.quota.SetLimit("bob", 10, -1)
	_, err := h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob"})
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA)
	r, err := h.admin.Restore(t.Context(), &storagev1.RestoreRequest{AccountId: "bob", IgnoreQuota: true})
	if err != nil || r.GetRestored() != 2 {
		t.Fatalf("got %v, %v", r, err)
	}
	if m := h.mailbox("bob", "Work/Plans"); m.GetMessages() != 2 || m.GetUnseen() != 0 {
		t.Errorf("the mailbox is %v", m)
	}
}

func TestExpiredMessagesAndTheirObjectsGo(t *testing.T) {
	h, inbox := filled(t, 3)
	if n := h.stored(); n != 3 {
		t.Fatalf("there are %d objects, want one a delivery", n)
	}
	if _, err := h.imap.Copy(t.Context(), &storagev1.CopyRequest{AccountId: "bob", MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "Archive"}); err != nil {
		t.Fatal(err)
	}
	h.expunge("bob", inbox, span(1, 2))
	h.clock.Forward(13 * 24 * time.Hour)
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(h.deletedMessages("bob")); n != 2 || h.stored() != 3 {
		t.Errorf("after 13 days %d deleted messages and %d objects are left", n, h.stored())
	}
	h.clock.Forward(25 * time.Hour)
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(h.deletedMessages("bob")); n != 0 || h.stored() != 2 { // the copy holds the first one
		t.Errorf("after 14 days %d deleted messages and %d objects are left", n, h.stored())
	}
	if h.read("bob", h.mailbox("bob", "Archive").GetMailboxId(), 1, 0, 0) == "" || h.read("bob", inbox, 3, 0, 0) == "" {
		t.Error("a message that lives cannot be read")
	}
}

func TestSweeperRemovesOldOrphansOnly(t *testing.T) {
	h := start(t)
	uid := h.mustDeliver("bob", mail("keep", "this"))
	orphan := func(made time.Time) string {
		t.Helper()
		ms := made.UnixMilli() // a UUID version 7 begins with it
		key := fmt.Sprintf("%s%s/%08x-%04x-7000-8000-000000000001", body.KeyPrefix, made.UTC().Format("20060102"), ms>>16, ms&0xffff)
		const content = "left by a crash"
		if err := h.objects.Put(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
		return key
	}
	foreign := orphan(time.Now().Add(-time.Hour)) // made before the database
	old, fresh := orphan(time.Now()), orphan(time.Now().Add(2*time.Hour))
	h.clock.Forward(25 * time.Hour)
	if err := h.reclaimer.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.objects.Stat(t.Context(), old); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("the old orphan is still there: %v", err)
	}
	if _, err := h.objects.Stat(t.Context(), fresh); err != nil {
		t.Errorf("an object that may still be committed is gone: %v", err)
	}
	h.clock.Forward(48 * time.Hour)
	if err := h.reclaimer.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.read("bob", h.mailbox("bob", "INBOX").GetMailboxId(), uid, 0, 0) == "" || h.stored() != 2 {
		t.Errorf("%d objects are left", h.stored())
	}
	if _, err := h.objects.Stat(t.Context(), foreign); err != nil {
		t.Errorf("an object that the database never knew is gone: %v", err)
	}
}

// stubborn is an object store that cannot delete one object.
type stubborn struct {
	object.Store
	key string
}

func (s *stubborn) Delete(ctx context.Context, key string) error {
	if key == s.key {
		return errors.New("cannot delete")
	}
	return s.Store.Delete(ctx, key)
}

func TestObjectThatCannotBeDeletedDoesNotKeepTheOthers(t *testing.T) {
	store := &stubborn{}
	h := startOn(t, func(s object.Store) object.Store { store.Store = s; return store })
	for range 3 {
		h.mustDeliver("bob", mail("x", "x"))
	}
	for info := range h.objects.List(t.Context(), body.KeyPrefix, "") {
		store.key = info.Key // the oldest
		break
	}
	if _, err := h.admin.PurgeAccount(t.Context(), &storagev1.PurgeAccountRequest{AccountId: "bob"}); err != nil {
		t.Fatal(err)
	}
	if err := h.reclaimer.Purge(t.Context()); err == nil || h.stored() != 1 {
		t.Errorf("got error %v, and %d objects are left", err, h.stored())
	}
	store.key = ""
	if err := h.reclaimer.Purge(t.Context()); err != nil || h.stored() != 0 {
		t.Errorf("got error %v, and %d objects are left", err, h.stored())
	}
}

// lateReader is an object store where something happens before a read.
type lateReader struct {
	object.Store
	before func()
}

func (s *lateReader) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if s.before != nil {
		s.before()
	}
	return s.Store.GetRange(ctx, key, off, n)
}

func TestMessageThatIsReclaimedWhileItIsReadIsGoneAndNotDamaged(t *testing.T) {
	store := &lateReader{}
	h := startOn(t, func(s object.Store) object.Store { store.Store = s; return store }, "--storage-retention=0s")
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	reclaimed := func() {
		store.before = nil
		h.expunge("bob", inbox, span(1, 9))
		if err := h.reclaimer.Purge(t.Context()); err != nil {
			t.Error(err)
		}
	}
	uid := h.mustDeliver("bob", mail("x", "x"))
	store.before = reclaimed
	stream, err := h.imap.Read(t.Context(), &storagev1.ReadRequest{AccountId: "bob", MailboxId: inbox, Uid: uid})
	if err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, rpcv1.Reason_REASON_NOT_FOUND)

	field := "X-Long: " + strings.Repeat("x", 100) + "\r\n"
	h.mustDeliver("bob", strings.Repeat(field, 1000)+mail("x", "x")) // FETCH reads its header from the body
	store.before = reclaimed
	if list := h.fetch("bob", inbox, span(1, 9)); len(list) != 0 {
		t.Errorf("fetched %v", list)
	}
	if store.before != nil {
		t.Error("the body was not read")
	}
}

func TestPurgedAccountLeavesNothing(t *testing.T) {
	h, inbox := filled(t, 3)
	h.expunge("bob", inbox, span(1, 1))
	eventually(t, "usage is settled", func() bool { return h.quota.Account("bob").UsedMessages == 2 })
	r, err := h.admin.PurgeAccount(t.Context(), &storagev1.PurgeAccountRequest{AccountId: "bob"})
	if err != nil || r.GetMessages() != 2 {
		t.Errorf("got %v, %v", r, err)
	}
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.stored(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

func TestMailForAPurgedAccountIsRefusedForGood(t *testing.T) {
	h, _ := filled(t, 1)
	// An event that goes with its account leaves its reservation to expire.
	eventually(t, "the mail before is settled", func() bool { return h.quota.Account("bob").ReservedMessages == 0 })
	if _, err := h.admin.PurgeAccount(t.Context(), &storagev1.PurgeAccountRequest{AccountId: "bob"}); err != nil {
		t.Fatal(err)
	}
	const noAccount = storagev1.DeliveryStatus_DELIVERY_STATUS_NO_ACCOUNT
	both := []*storagev1.DeliverRequest_Recipient{to("bob"), to("carol")}
	for _, knownToQuota := range []bool{true, false} {
		if !knownToQuota {
			h.quota.SetLimit("bob", 0, 0) // it refuses what it does not know
		}
		for _, c := range []struct {
			allOrNone bool
			want      string
		}{{false, fmt.Sprint(noAccount, stored)}, {true, fmt.Sprint(noAccount, notStored)}} {
			r, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: both, allOrNone: c.allOrNone}, mail("late", "x"))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(r.GetResults()[0].GetStatus(), r.GetResults()[1].GetStatus()); got != c.want {
				t.Errorf("known to quota %v, all or none %v: got %s, want %s", knownToQuota, c.allOrNone, got, c.want)
			}
		}
	}
	h.quota.SetLimit("bob", -1, -1)
	_, err := h.appendTo("bob", "INBOX", "", 0, mail("late", "x"))
	wantReason(t, err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	_, err = h.smtp.DeliverNotice(t.Context(), &storagev1.DeliverNoticeRequest{AccountId: "bob", DeliveryId: unique(), Message: []byte(mail("notice", "x"))})
	wantReason(t, err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	_, err = h.imap.Copy(t.Context(), &storagev1.CopyRequest{AccountId: "bob", MailboxId: 1, Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "INBOX"})
	wantReason(t, err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	eventually(t, "reservations are released", func() bool { return h.quota.Account("bob").ReservedMessages == 0 })
}

// A purge in the middle of deliveries: what is acknowledged before it goes, nothing comes after it.
func TestDeliveriesBesideAPurgeLeaveNothing(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", mail("first", "x"))
	var senders sync.WaitGroup
	purged := make(chan struct{})
	for range 4 {
		senders.Go(func() {
			for {
				late := false
				select {
				case <-purged:
					late = true
				default:
				}
				r, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}, mail("more", "x"))
				if err != nil {
					t.Error(err)
					return
				}
				if r.GetResults()[0].GetStatus() == storagev1.DeliveryStatus_DELIVERY_STATUS_NO_ACCOUNT {
					return
				}
				if late {
					t.Error("a delivery was stored after the purge")
					return
				}
			}
		})
	}
	if _, err := h.admin.PurgeAccount(t.Context(), &storagev1.PurgeAccountRequest{AccountId: "bob"}); err != nil {
		t.Error(err)
	}
	close(purged)
	senders.Wait()
}

func TestUsageIsTheSumOfSizesWithPendingEvents(t *testing.T) {
	h, inbox := filled(t, 3)
	eventually(t, "usage is settled", func() bool { return h.quota.Account("bob").UsedMessages == 3 })
	h.quota.SetDown(true)
	h.expunge("bob", inbox, span(2, 2))
	applied := h.quota.Account("bob")
	r, err := h.admin.SumUsage(t.Context(), &storagev1.SumUsageRequest{AccountId: "bob", AppliedSequence: applied.Sequence})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetMessages() != 2 || r.GetPendingMessages() != -1 || applied.UsedBytes+r.GetPendingBytes() != r.GetBytes() || r.GetLastSequence() != applied.Sequence+1 {
		t.Errorf("got %v, and quota has %v", r, applied)
	}
	h.quota.SetDown(false)
	eventually(t, "the event is settled", func() bool { return h.quota.Account("bob").UsedMessages == 2 })
}

func TestSearchReadsStateHeaderAndBody(t *testing.T) {
	h := start(t)
	prefix := []byte("Delivered-To: bob@example.test\r\n")
	for i, text := range []string{"apples and pears", "plums", "=E3=81=BF=E3=81=8B=E3=82=93"} {
		message := fmt.Sprintf("Subject: Fruit %d\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%s\r\n", i+1, text)
		if _, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{{AccountId: "bob", Prefix: prefix}}}, message); err != nil {
			t.Fatal(err)
		}
	}
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	h.flag("bob", inbox, opAdd, seen, span(2, 3))
	h.flag("bob", inbox, opAdd, uint32(storagev1.Flag_FLAG_FLAGGED), span(1, 2))
	h.flag("bob", inbox, opAdd, uint32(storagev1.Flag_FLAG_DELETED), span(2, 3))
	flagged := func(f storagev1.Flag) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Flags{Flags: uint32(f)}}
	}
	not := func(c *storagev1.SearchCriteria) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Not{Not: c}}
	}
	all := func(list ...*storagev1.SearchCriteria) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AllOf{AllOf: &storagev1.SearchCriteria_List{Criteria: list}}}
	}
	isSeen := &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Flags{Flags: seen}}
	uids := &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{Uids: []*storagev1.UidRange{span(1, 2)}}}}
	header := func(name, value string) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Header_{Header: &storagev1.SearchCriteria_Header{Name: name, Value: value}}}
	}
	text := func(s string) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Text{Text: s}}
	}
	for name, c := range map[string]struct {
		criteria *storagev1.SearchCriteria
		want     string
	}{
		"all":               {nil, "[[1 3]]"},
		"seen":              {isSeen, "[[2 3]]"},
		"seen in a range":   {all(uids, isSeen), "[[2 2]]"},
		"subject":           {header("Subject", "fruit 3"), "[[3 3]]"},
		"header of prefix":  {header("Delivered-To", "BOB@"), "[[1 3]]"},
		"body":              {&storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: "PEARS"}}, "[[1 1]]"},
		"decoded body":      {&storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: "みかん"}}, "[[3 3]]"},
		"text of a header":  {text("fruit 2"), "[[2 2]]"},
		"text of a prefix":  {text("delivered-to"), "[[1 3]]"},
		"nothing like that": {text("melon"), "[]"},
		"flagged":           {flagged(storagev1.Flag_FLAG_FLAGGED), "[[1 2]]"},
		"two flags":         {flagged(storagev1.Flag_FLAG_FLAGGED | storagev1.Flag_FLAG_DELETED), "[[2 2]]"},
		"unseen, by text":   {all(not(isSeen), text("fruit")), "[[1 1]]"},
		"unseen deleted":    {all(not(isSeen), flagged(storagev1.Flag_FLAG_DELETED)), "[]"},
		"not deleted":       {not(flagged(storagev1.Flag_FLAG_DELETED)), "[[1 1]]"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := h.imap.Search(t.Context(), &storagev1.SearchRequest{AccountId: "bob", MailboxId: inbox, Criteria: c.criteria})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(ranges(r.GetUids())); got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
			if (r.GetHighestModseq() > 0) != (c.want != "[]") {
				t.Errorf("the highest modseq is %d", r.GetHighestModseq())
			}
		})
	}
}
