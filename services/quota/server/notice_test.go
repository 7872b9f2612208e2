package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

func TestWarningMail(t *testing.T) {
	w := newWorld(t)
	w.setLimit("alice", 1_000_000)
	w.settle(event("alice", 1, 850_000, 3))
	if err := w.srv.sender.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.storage.order) != 1 {
		t.Fatalf("%d notices", len(w.storage.order))
	}
	req := w.storage.notices[w.storage.order[0]]
	if req.GetAccountId() != "alice" || len(req.GetDeliveryId()) > 64 {
		t.Errorf("notice %q to %q", req.GetDeliveryId(), req.GetAccountId())
	}
	raw := string(req.GetMessage())
	if strings.Contains(strings.ReplaceAll(raw, "\r\n", ""), "\n") || !strings.HasSuffix(raw, "\r\n") {
		t.Error("a line does not end with CRLF")
	}
	for _, line := range strings.Split(raw, "\r\n") {
		if len(line) > 78 {
			t.Errorf("line of %d octets: %q", len(line), line)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || to[0].Address != "alice@example.test" || to[0].Name != "花子 alice" {
		t.Errorf("to %v, %v", to, err)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Address != "postmaster@example.test" {
		t.Errorf("from %v, %v", from, err)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Your mailbox is more than 80 % full" {
		t.Errorf("subject %q, %v", subject, err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.HasSuffix(m.Header.Get("Message-Id"), "@example.test>") {
		t.Errorf("header %v", m.Header)
	}
	text, err := io.ReadAll(m.Body)
	if err != nil || !strings.Contains(string(text), "850.00 kB of 1.00 MB (85 %)") || strings.Contains(string(text), "Messages:") {
		t.Errorf("body %q, %v", text, err)
	}
}

func TestWarningOfRefusal(t *testing.T) {
	w := newWorld(t, "--quota-notice-from=quota@mail.test")
	w.setLimit("alice", 1000)
	w.settle(event("alice", 1, 950, 1))
	for range 3 {
		resp, err := w.quota("smtp").Check(t.Context(), &quotav1.CheckRequest{AccountId: "alice", Bytes: 100, Messages: 1})
		if err != nil || resp.GetFits() {
			t.Fatalf("fits %v, %v", resp.GetFits(), err)
		}
	}
	if err := w.srv.sender.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"Your mailbox is more than 90 % full", "Your mailbox is too full for mail that came"}
	if got := w.storage.subjects(); !slices.Equal(got, want) {
		t.Errorf("subjects %q, want %q", got, want)
	}
	last := string(w.storage.notices[w.storage.order[1]].GetMessage())
	if !strings.Contains(last, "Smaller mail may still fit") || !strings.Contains(last, "<quota@mail.test>") {
		t.Errorf("message %q", last)
	}
}

// Whatever moment the process ends at, each warning comes once.
func TestWarningSurvivesCrash(t *testing.T) {
	w := newWorld(t)
	w.setLimit("alice", 100)

	// Before anything was sent.
	w.settle(event("alice", 1, 80, 1))
	w.close()
	w.start()
	if err := w.srv.sender.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(w.storage.order); got != 1 {
		t.Fatalf("%d notices after a crash before sending", got)
	}

	// After storage has it and before the ledger knows.
	w.settle(event("alice", 2, 10, 1))
	ctx, crash := context.WithCancel(t.Context())
	w.storage.answer = func() error {
		crash()
		return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the connection is lost")
	}
	if err := w.srv.sender.Send(ctx); err == nil {
		t.Fatal("no error of a lost answer")
	}
	w.close()
	w.storage.answer = nil
	w.start()
	for range 2 {
		if err := w.srv.sender.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"Your mailbox is more than 80 % full", "Your mailbox is more than 90 % full"}
	if got := w.storage.subjects(); !slices.Equal(got, want) {
		t.Errorf("subjects %q, want %q", got, want)
	}
}

func TestWarningThatCannotBeSent(t *testing.T) {
	w := newWorld(t)
	w.settle(event("alice", 1, 4_600_000_000, 1), event("bob", 1, 4_600_000_000, 1))
	delete(w.directory.accounts, "alice")
	w.storage.answer = func() error { return errors.New("storage is broken") }
	if err := w.srv.sender.Send(t.Context()); err == nil {
		t.Error("no error")
	}
	w.storage.answer = nil
	if err := w.srv.sender.Send(t.Context()); err != nil {
		t.Error(err)
	}
	if got := w.storage.order; !slices.Equal(got, []string{"quota-bob-1"}) {
		t.Errorf("notices %v", got)
	}
	left, err := w.srv.sender.Ledger.Notices(t.Context(), 10)
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
