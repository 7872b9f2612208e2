package server

import (
	"fmt"
	"runtime"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

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
			runtime.KeepAlive(h)
		})
	}
}
