package session

import (
	"fmt"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/dsn"
)

// notify tells the sender, who is one of ours, which recipients did not get the message. Where that fails it is logged only: the
// message is stored for the others, and an error now would have it sent to them again.
func (d *delivery) notify() {
	s := d.session
	report := dsn.Report{
		ReportingMTA: s.backend.cfg.Hostname,
		Sender:       s.account.GetAddress(),
		Arrival:      d.time,
		ID:           d.id,
		Header:       d.header,
	}
	for _, to := range d.mail.to {
		if refusal := d.refusal(to); refusal != nil {
			report.Failed = append(report.Failed, dsn.Recipient{
				Address:    to.address,
				Status:     fmt.Sprintf("5.%d.%d", refusal.EnhancedCode[1], refusal.EnhancedCode[2]), // nobody tries again
				Diagnostic: refusal.Message,
			})
		}
	}
	ctx, cancel := s.call(telemetry.WithSpanOf(s.ctx, d.ctx)) // the transaction may be given up meanwhile
	defer cancel()
	_, err := s.backend.clients.Storage.DeliverNotice(ctx, &storagev1.DeliverNoticeRequest{
		DeliveryId: "dsn-" + d.id, AccountId: s.account.GetAccountId(), Message: report.Message(),
	})
	if err != nil {
		s.log.Error("delivery status notification failed", "delivery", d.id, "error", err)
	}
}
