package session

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/dsn"
)

// notify tells the sender, who is one of ours, which recipients did not get the message.
func (d *delivery) notify(ctx context.Context) error {
	s := d.session
	report := dsn.Report{
		ReportingMTA: s.backend.cfg.Hostname,
		Sender:       s.account.GetAddress(),
		Arrival:      d.time,
		ID:           d.id,
		Header:       d.header,
	}
	full := s.backend.full()
	for _, to := range s.mail.to {
		if d.refused(to) {
			report.Failed = append(report.Failed, dsn.Recipient{
				Address: to.path, Status: "5.2.2", Diagnostic: full.Message,
			})
		}
	}
	if s.mail.from == "" {
		return nil // RFC 5321 section 4.5.5: nobody is told of a notification that fails
	}
	notice, err := report.Message()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.backend.cfg.CallTimeout)
	defer cancel()
	_, err = s.backend.clients.Storage.DeliverNotice(ctx, &storagev1.DeliverNoticeRequest{
		DeliveryId: "dsn-" + d.id, AccountId: s.account.GetAccountId(), Message: notice,
	})
	if err != nil {
		// The message is stored for the others: an error now would have it sent to them again.
		s.log.Error("delivery status notification failed", "delivery", d.id, "error", err)
	}
	return nil
}
