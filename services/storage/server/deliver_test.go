package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	stored    = storagev1.DeliveryStatus_DELIVERY_STATUS_STORED
	overQuota = storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA
	notStored = storagev1.DeliveryStatus_DELIVERY_STATUS_NOT_STORED
)

func TestDeliveredMessageIsListedParsedAndReadBack(t *testing.T) {
	h := start(t)
	prefix := "Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\n"
	message := mail("Hello", "How are you?")
	r, err := h.deliver(t.Context(), deliverOptions{id: "one", recipients: []*storagev1.DeliverRequest_Recipient{
		{AccountId: "bob", Prefix: []byte(prefix)}, {AccountId: "carol"},
	}}, message)
	if err != nil {
		t.Fatal(err)
	}
	for i, account := range []string{"bob", "carol"} {
		if got := r.GetResults()[i]; got.GetAccountId() != account || got.GetStatus() != stored || got.GetUid() != 1 {
			t.Errorf("result %d is %v", i, got)
		}
	}
	inbox := h.mailbox("bob", "inbox")
	whole := prefix + message
	if inbox.GetName() != "INBOX" || inbox.GetMessages() != 1 || inbox.GetUnseen() != 1 || inbox.GetBytes() != uint64(len(whole)) || inbox.GetUidNext() != 2 {
		t.Errorf("the inbox is %v", inbox)
	}
	s := h.sync("bob", inbox.GetMailboxId(), 0)
	if len(s.changed) != 1 || s.changed[0].GetSize() != uint64(len(whole)) || s.changed[0].GetModseq() != s.mailbox.GetHighestModseq() {
		t.Errorf("sync gave %v", s)
	}
	messages := h.fetch("bob", inbox.GetMailboxId(), span(1, 100))
	if len(messages) != 1 {
		t.Fatalf("fetch gave %d messages", len(messages))
	}
	m := messages[0]
	root := m.GetStructure()
	if got := whole[root.GetBodyOffset() : root.GetBodyOffset()+root.GetBodySize()]; got != "How are you?\r\n" {
		t.Errorf("the structure's body is %q", got)
	}
	if got := string(m.GetHeader()); got != whole[:m.GetHeaderSize()] || m.GetHeaderSize() != root.GetHeaderSize() || root.GetHeaderOffset() != 0 {
		t.Errorf("the header is %q of %d octets, the structure has %d", got, m.GetHeaderSize(), root.GetHeaderSize())
	}
	if string(m.GetEnvelope().GetSubject()) != "Hello" || m.GetPreview() != "How are you?" || m.GetEmailId() == "" || m.GetThreadId() == "" {
		t.Errorf("fetch gave %v", m)
	}
	for _, c := range []struct{ offset, length uint64 }{{0, 0}, {0, 5}, {5, 200}, {uint64(len(prefix)), 10}, {uint64(len(prefix)) - 2, 4}, {uint64(len(whole)) - 3, 100}, {uint64(len(whole)), 1}} {
		want := whole[c.offset:]
		if c.length > 0 && c.length < uint64(len(want)) {
			want = want[:c.length]
		}
		if got := h.read("bob", inbox.GetMailboxId(), 1, c.offset, c.length); got != want {
			t.Errorf("read %d+%d gave %q, want %q", c.offset, c.length, got, want)
		}
	}
	if got := h.read("carol", h.mailbox("carol", "INBOX").GetMailboxId(), 1, 0, 0); got != message {
		t.Errorf("carol reads %q", got)
	}
}

func TestLargeBodyAndLongHeaderComeBack(t *testing.T) {
	h := start(t)
	long := "X-Long: " + strings.Repeat("a", 100_000) + "\r\n" + mail("Big", strings.Repeat("0123456789abcdef\r\n", 200_000))
	uid := h.mustDeliver("bob", long)
	box := h.mailbox("bob", "INBOX").GetMailboxId()
	if got := h.read("bob", box, uid, 0, 0); got != long {
		t.Errorf("read back %d octets of %d", len(got), len(long))
	}
	m := h.fetch("bob", box, span(uid, uid))[0]
	if got := string(m.GetHeader()); got != long[:m.GetHeaderSize()] {
		t.Errorf("the header has %d octets, want %d", len(got), m.GetHeaderSize())
	}
}

func TestRepeatedDeliveryAnswersAsBefore(t *testing.T) {
	h := start(t)
	o := deliverOptions{id: "again", recipients: []*storagev1.DeliverRequest_Recipient{to("bob"), to("carol"), to("bob")}}
	message := mail("Once", "only")
	var answers []string
	var mu sync.Mutex
	attempt := func() {
		r, err := h.deliver(t.Context(), o, message)
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, fmt.Sprint(r.GetResults(), err))
	}
	attempt()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(attempt)
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("answered %s, and before %s", a, answers[0])
		}
	}
	for _, account := range []string{"bob", "carol"} {
		if n := h.mailbox(account, "INBOX").GetMessages(); n != 1 {
			t.Errorf("%s has %d messages", account, n)
		}
	}
}

func TestConcurrentAttemptsOfOneDeliveryStoreOne(t *testing.T) {
	h := start(t)
	message := mail("Once", "only")
	h.quota.SetLimit("bob", int64(len(message)), -1) // a second reservation would be refused
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			r, err := h.deliver(t.Context(), deliverOptions{id: "same", recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}, message)
			if err != nil || r.GetResults()[0].GetStatus() != stored || r.GetResults()[0].GetUid() != 1 {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
	wg.Wait()
	if n := h.mailbox("bob", "INBOX").GetMessages(); n != 1 {
		t.Errorf("there are %d messages", n)
	}
}

func TestSixtyFourDeliveriesIntoRoomForTen(t *testing.T) {
	h := start(t)
	message := mail("Full", "soon")
	h.quota.SetLimit("bob", 10*int64(len(message))+5, -1)
	var mu sync.Mutex
	count := map[storagev1.DeliveryStatus]int{}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			r, err := h.deliver(t.Context(), deliverOptions{id: fmt.Sprint("d", i), recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}, message)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			count[r.GetResults()[0].GetStatus()]++
		})
	}
	wg.Wait()
	if count[stored] != 10 || count[overQuota] != 54 {
		t.Errorf("statuses are %v, want 10 stored and 54 over quota", count)
	}
	if n := h.mailbox("bob", "INBOX").GetMessages(); n != 10 {
		t.Errorf("there are %d messages", n)
	}
}

func TestFullRecipientIsRefusedAloneOrWithAll(t *testing.T) {
	h := start(t)
	h.quota.SetLimit("full", 10, -1)
	recipients := []*storagev1.DeliverRequest_Recipient{to("bob"), to("full")}
	for _, c := range []struct {
		allOrNone bool
		want      storagev1.DeliveryStatus
		messages  uint32
	}{{true, notStored, 0}, {false, stored, 1}} {
		r, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: recipients, allOrNone: c.allOrNone}, mail("Hi", "you"))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.GetResults(); got[0].GetStatus() != c.want || got[1].GetStatus() != overQuota {
			t.Errorf("all_or_none %v: results %v", c.allOrNone, got)
		}
		if n := h.mailbox("bob", "INBOX").GetMessages(); n != c.messages {
			t.Errorf("all_or_none %v: bob has %d messages, want %d", c.allOrNone, n, c.messages)
		}
	}
}

func TestUnreachableQuotaStoresNothing(t *testing.T) {
	h := start(t)
	h.quota.SetDown(true)
	for range 3 {
		_, err := h.deliver(t.Context(), deliverOptions{id: "down", recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}, mail("Hi", "you"))
		wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
	}
	if n := h.mailbox("bob", "INBOX").GetMessages(); n != 0 {
		t.Errorf("there are %d messages", n)
	}
	h.quota.SetDown(false)
	h.mustDeliver("bob", mail("Hi", "you"))
}

func TestDeliverRefusesWhatIsWrong(t *testing.T) {
	h := start(t, "--storage-max-message-size=100KB", "--storage-max-recipients=2")
	bob := []*storagev1.DeliverRequest_Recipient{to("bob")}
	for name, c := range map[string]struct {
		o       deliverOptions
		message string
		want    rpcv1.Reason
	}{
		"too large":           {deliverOptions{id: "x", recipients: bob}, strings.Repeat("a", 100_001), rpcv1.Reason_REASON_MESSAGE_TOO_LARGE},
		"no id":               {deliverOptions{recipients: bob}, "a", rpcv1.Reason_REASON_INVALID},
		"no recipients":       {deliverOptions{id: "x"}, "a", rpcv1.Reason_REASON_INVALID},
		"too many recipients": {deliverOptions{id: "x", recipients: append(bob, to("a"), to("b"))}, "a", rpcv1.Reason_REASON_INVALID},
		"no account":          {deliverOptions{id: "x", recipients: []*storagev1.DeliverRequest_Recipient{{}}}, "a", rpcv1.Reason_REASON_INVALID},
		"open prefix":         {deliverOptions{id: "x", recipients: []*storagev1.DeliverRequest_Recipient{{AccountId: "bob", Prefix: []byte("X: y")}}}, "a", rpcv1.Reason_REASON_INVALID},
		"blank line":          {deliverOptions{id: "x", recipients: []*storagev1.DeliverRequest_Recipient{{AccountId: "bob", Prefix: []byte("X: y\r\n\r\n")}}}, "a", rpcv1.Reason_REASON_INVALID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.deliver(t.Context(), c.o, c.message)
			wantReason(t, err, c.want)
		})
	}
	if n := h.mailbox("bob", "INBOX").GetMessages(); n != 0 {
		t.Errorf("there are %d messages", n)
	}
}

func TestCutStreamStoresNothing(t *testing.T) {
	h := start(t)
	for name, last := range map[string]*storagev1.DeliverRequest{
		"no commit":  nil,
		"wrong size": {Message: &storagev1.DeliverRequest_Commit{Commit: &storagev1.Commit{Size: 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := h.smtp.Deliver(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []*storagev1.DeliverRequest{
				{Message: &storagev1.DeliverRequest_Header_{Header: &storagev1.DeliverRequest_Header{DeliveryId: "cut", Recipients: []*storagev1.DeliverRequest_Recipient{to("bob")}}}},
				{Message: &storagev1.DeliverRequest_Chunk{Chunk: []byte("abc")}},
				last,
			} {
				if r != nil {
					if err := stream.Send(r); err != nil {
						t.Fatal(err)
					}
				}
			}
			_, err = stream.CloseAndRecv()
			wantReason(t, err, rpcv1.Reason_REASON_INVALID)
		})
	}
	if n := h.mailbox("bob", "INBOX").GetMessages(); n != 0 {
		t.Errorf("there are %d messages", n)
	}
}

func TestDeliveryToAnotherMailbox(t *testing.T) {
	h := start(t)
	for mailbox, want := range map[string]string{"Junk": "Junk", "Nowhere": "INBOX", "": "INBOX", "a//b": "INBOX"} {
		r, err := h.deliver(t.Context(), deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{{AccountId: "bob", Mailbox: mailbox}}}, mail("Hi", "you"))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.GetResults()[0].GetMailboxId(); got != h.mailbox("bob", want).GetMailboxId() {
			t.Errorf("%q went to mailbox %d", mailbox, got)
		}
	}
}

func TestNoticeIsNeverRefusedButCounts(t *testing.T) {
	h := start(t)
	h.quota.SetLimit("bob", 0, 0)
	message := mail("Your mailbox is full", "Please delete something.")
	for range 2 {
		r, err := h.smtp.DeliverNotice(t.Context(), &storagev1.DeliverNoticeRequest{DeliveryId: "n", AccountId: "bob", Message: []byte(message)})
		if err != nil || r.GetUid() != 1 {
			t.Errorf("got %v, %v", r, err)
		}
	}
	eventually(t, "the notice is counted", func() bool { return h.quota.Account("bob").UsedBytes == int64(len(message)) })
}

func TestAppendStoresAllMessagesOrNone(t *testing.T) {
	h := start(t)
	one, two := mail("One", "1"), mail("Two", "2")
	for range 2 { // the same id answers the same
		r, err := h.appendTo("bob", "Sent", "app", uint32(storagev1.Flag_FLAG_SEEN), one, two)
		if err != nil {
			t.Fatal(err)
		}
		box := h.mailbox("bob", "Sent")
		if fmt.Sprint(r.GetUids()) != "[1 2]" || r.GetUidValidity() != box.GetUidValidity() || r.GetMailboxId() != box.GetMailboxId() {
			t.Errorf("append gave %v", r)
		}
		if box.GetMessages() != 2 || box.GetUnseen() != 0 {
			t.Errorf("the mailbox is %v", box)
		}
	}
	s := h.sync("bob", h.mailbox("bob", "Sent").GetMailboxId(), 0)
	if s.changed[0].GetInternalUnix() != 1_000_000 || s.changed[0].GetSavedUnix() < 1_700_000_000 {
		t.Errorf("dates are %v", s.changed[0])
	}
	h.quota.SetLimit("bob", int64(2*len(one)+len(two)+10), -1)
	_, err := h.appendTo("bob", "Sent", "", 0, one, two)
	wantReason(t, err, rpcv1.Reason_REASON_OVER_QUOTA)
	_, err = h.appendTo("bob", "Missing", "", 0, one)
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	if n := h.mailbox("bob", "Sent").GetMessages(); n != 2 {
		t.Errorf("there are %d messages", n)
	}
}

func TestWhatWasStoredIsThereAfterARestart(t *testing.T) {
	h := start(t)
	message := mail("Keep", "me")
	uid := h.mustDeliver("bob", message)
	h.stop()
	h.run()
	t.Cleanup(h.stop)
	if got := h.read("bob", h.mailbox("bob", "INBOX").GetMailboxId(), uid, 0, 0); got != message {
		t.Errorf("read back %q", got)
	}
}

func TestRepliesShareAThread(t *testing.T) {
	h := start(t)
	for _, m := range []string{
		"Message-ID: <a@x>\r\nSubject: Plan\r\n\r\n1\r\n",
		"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Re: Plan\r\n\r\n2\r\n",
		"Message-ID: <c@x>\r\nReferences: <a@x> <b@x>\r\nSubject: RE: plan\r\n\r\n3\r\n",
		"Message-ID: <d@x>\r\nReferences: <a@x>\r\nSubject: Something else\r\n\r\n4\r\n",
	} {
		h.mustDeliver("bob", m)
	}
	m := h.fetch("bob", h.mailbox("bob", "INBOX").GetMailboxId(), span(1, 9))
	if a := m[0].GetThreadId(); m[1].GetThreadId() != a || m[2].GetThreadId() != a || m[3].GetThreadId() == a {
		t.Errorf("threads are %q %q %q %q", a, m[1].GetThreadId(), m[2].GetThreadId(), m[3].GetThreadId())
	}
	if m[0].GetEmailId() == m[1].GetEmailId() {
		t.Error("two messages have one EMAILID")
	}
}
