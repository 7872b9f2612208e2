package server

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// BenchmarkDeliver measures acknowledged deliveries of 4 KiB messages by the number of senders at a time.
func BenchmarkDeliver(b *testing.B) {
	text := strings.Repeat("All work and no play makes mail dull. ", 100)
	for _, senders := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("senders=", senders), func(b *testing.B) {
			h := start(b)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range senders {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						_, err := h.deliver(b.Context(), deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{to(fmt.Sprint("user", n%100))}}, mail("bench", text))
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
			b.StopTimer()
		})
	}
}

// BenchmarkList measures the opening of a mailbox of 10,000 messages: all states, and all envelopes.
func BenchmarkList(b *testing.B) {
	h := start(b)
	message := mail("bench", "text")
	var messages []string
	for range 500 {
		messages = append(messages, message)
	}
	for range 20 {
		if _, err := h.appendTo("bob", "INBOX", "", 0, messages...); err != nil {
			b.Fatal(err)
		}
	}
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	b.Run("sync", func(b *testing.B) {
		for b.Loop() {
			if n := len(h.sync("bob", inbox, 0).changed); n != 10_000 {
				b.Fatalf("sync gave %d messages", n)
			}
		}
	})
	b.Run("fetch", func(b *testing.B) {
		for b.Loop() {
			if n := len(h.fetch("bob", inbox, span(1, 10_000))); n != 10_000 {
				b.Fatalf("fetch gave %d messages", n)
			}
		}
	})
	b.Run("flags", func(b *testing.B) {
		op := opAdd
		for b.Loop() {
			h.flag("bob", inbox, op, seen, span(1, 10_000))
			op = opAdd + opRemove - op
		}
	})
}

// BenchmarkOneDelivery measures a lone delivery to one recipient and to 64.
func BenchmarkOneDelivery(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint("recipients=", n), func(b *testing.B) {
			h := start(b)
			var recipients []*storagev1.DeliverRequest_Recipient
			for i := range n {
				recipients = append(recipients, to(fmt.Sprint("user", i)))
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.deliver(b.Context(), deliverOptions{id: unique(), recipients: recipients}, mail("bench", "text")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSearch measures a search of the bodies of 2,000 messages.
func BenchmarkSearch(b *testing.B) {
	h := start(b)
	var messages []string
	for range 500 {
		messages = append(messages, mail("bench", "text"))
	}
	for range 4 {
		if _, err := h.appendTo("bob", "INBOX", "", 0, messages...); err != nil {
			b.Fatal(err)
		}
	}
	request := &storagev1.SearchRequest{
		AccountId: "bob", MailboxId: h.mailbox("bob", "INBOX").GetMailboxId(),
		Criteria: &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: "text"}},
	}
	for b.Loop() {
		if response, err := h.imap.Search(b.Context(), request); err != nil || len(response.GetUids()) != 1 {
			b.Fatalf("got %v, %v", response, err)
		}
	}
}

// BenchmarkSmall measures the calls of a client that looks at one message, and of one that looks whether there is anything new.
func BenchmarkSmall(b *testing.B) {
	h := start(b)
	if _, err := h.appendTo("bob", "INBOX", "", 0, mail("bench", "text")); err != nil {
		b.Fatal(err)
	}
	inbox := h.mailbox("bob", "INBOX")
	b.Run("fetch", func(b *testing.B) {
		for b.Loop() {
			if n := len(h.fetch("bob", inbox.GetMailboxId(), span(1, 1))); n != 1 {
				b.Fatalf("fetch gave %d messages", n)
			}
		}
	})
	b.Run("sync", func(b *testing.B) {
		for b.Loop() {
			if n := len(h.sync("bob", inbox.GetMailboxId(), inbox.GetHighestModseq()).changed); n != 0 {
				b.Fatalf("sync gave %d messages", n)
			}
		}
	})
}
