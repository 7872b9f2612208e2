package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/intake"
	"github.com/yubin-mail/yubin/services/smtp/internal/trace"
)

// Outcomes of a recipient, as they stand in metrics.
const (
	outcomeStored    = "stored"
	outcomeOverQuota = "over_quota"
	outcomeDeferred  = "deferred"
)

// maxAuthors bounds the questions to the directory for one message.
const maxAuthors = 16

// Data implements smtp.Session: the content of DATA or BDAT (RFC 5321 section 4.1.1.4, RFC 3030).
func (s *session) Data(r io.Reader) error {
	return s.done("DATA", 250, s.receive(r, func(d *delivery) error {
		if s.backend.role == RoleSubmission {
			return s.postFromUser(d)
		}
		return s.postFromPeer(d)
	}))
}

// LMTPData implements smtp.LMTPSession: one answer for each recipient (RFC 2033 section 4.2).
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	return s.done("DATA", 250, s.receive(r, func(d *delivery) error {
		if err := d.post(s.ctx, false); err != nil {
			return err
		}
		for _, to := range s.mail.to {
			var err error
			if d.refused(to) {
				err = s.backend.full()
			}
			status.SetStatus(to.path, err)
		}
		return nil
	}))
}

// postFromPeer takes a message for all of its recipients or for none: the sender is elsewhere, and only a refusal now is sure to reach
// it. Where some would fit, 452 makes the peer send again, and RCPT then refuses the full ones by name.
func (s *session) postFromPeer(d *delivery) error {
	if err := d.post(s.ctx, true); err != nil {
		return err
	}
	switch full := d.count(storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA); {
	case full == 0:
		return nil
	case full == len(d.results):
		return s.backend.full()
	default:
		return errSomeFull
	}
}

// postFromUser takes a message for those whom it fits; its sender is one of ours and is told of the others by a DSN.
func (s *session) postFromUser(d *delivery) error {
	if err := d.post(s.ctx, false); err != nil {
		return err
	}
	switch full := d.count(storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA); {
	case full == 0:
		return nil
	case full == len(d.results):
		return s.backend.full()
	default:
		return d.notify(s.ctx)
	}
}

// receive reads the header, checks it, and calls post with the delivery. It counts time and outcome.
func (s *session) receive(r io.Reader, post func(*delivery) error) error {
	begin := s.backend.now()
	if s.wire != nil {
		s.wire.BeginMessage()
	}
	msg, err := intake.Read(r, s.backend.cfg.Limits)
	if err == nil {
		err = s.check(msg)
	}
	if err == nil {
		err = post(s.newDelivery(msg, begin))
	}
	if err != nil {
		var answer *smtp.SMTPError
		if !errors.As(err, &answer) {
			s.count(outcomeDeferred, len(s.mail.to))
		}
		if s.ctx.Err() != nil {
			s.log.Info("client left in a message")
		}
	}
	s.backend.metrics.delivery.WithLabelValues(string(s.backend.role)).Observe(s.backend.now().Sub(begin).Seconds())
	return err
}

// check refuses a message that loops, or whose author is not the account that logged in.
func (s *session) check(msg *intake.Message) error {
	if msg.Hops() > s.backend.cfg.MaxHops {
		return errLoop
	}
	for _, to := range s.mail.to {
		for _, account := range to.accounts {
			if msg.DeliveredTo(account.GetAddress()) {
				return errLoop
			}
		}
	}
	if s.backend.role != RoleSubmission {
		return nil
	}
	authors := msg.Authors()
	if len(authors) > maxAuthors {
		return errSenderNotOwned
	}
	for _, author := range authors {
		if err := s.authorize(author); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) count(outcome string, n int) {
	s.backend.metrics.recipients.WithLabelValues(string(s.backend.role), outcome).Add(float64(n))
}

// delivery is one message on its way to storage.
type delivery struct {
	session *session
	id      string
	header  []byte
	body    io.Reader
	time    time.Time

	results []*storagev1.DeliverResponse_Result // one for each account
}

func (s *session) newDelivery(msg *intake.Message, now time.Time) *delivery {
	d := &delivery{session: s, id: uuid.NewString(), header: msg.Header, time: now}
	hop := trace.Hop{
		Helo: s.conn.Hostname(), Client: s.client, By: s.backend.cfg.Hostname, TLS: s.tls, ID: s.id, Time: now,
		Protocol: s.backend.transmission(s.tls, s.account != nil),
	}
	if len(s.mail.to) == 1 {
		hop.For = s.mail.to[0].path
	}
	var head bytes.Buffer
	head.WriteString(hop.Received())
	if s.backend.role == RoleSubmission {
		head.WriteString(s.complete(msg, now))
	}
	head.Write(msg.Header)
	d.body = io.MultiReader(&head, msg.Body)
	return d
}

// complete gives the fields that a user's program left out (RFC 6409 section 8).
func (s *session) complete(msg *intake.Message, now time.Time) string {
	fields := ""
	if !msg.Has("Message-ID") {
		fields += "Message-ID: <" + uuid.NewString() + "@" + s.backend.cfg.Hostname + ">\r\n"
	}
	if !msg.Has("Date") {
		fields += "Date: " + now.Format(time.RFC1123Z) + "\r\n"
	}
	return fields
}

// post hands the message to storage for every account that its recipients lead to, each once.
func (d *delivery) post(ctx context.Context, allOrNone bool) error {
	s := d.session
	header := &storagev1.DeliverRequest_Header{DeliveryId: d.id, AllOrNone: allOrNone, SizeHint: uint64(max(s.mail.size, 0))}
	seen := map[string]bool{}
	for _, to := range s.mail.to {
		for _, account := range to.accounts {
			if seen[account.GetAccountId()] {
				continue
			}
			seen[account.GetAccountId()] = true
			header.Recipients = append(header.Recipients, &storagev1.DeliverRequest_Recipient{
				AccountId: account.GetAccountId(), Prefix: trace.Prefix(s.mail.from, account.GetAddress()),
			})
		}
	}
	res, size, err := s.backend.poster.Deliver(ctx, header, d.body)
	if err != nil {
		return err
	}
	d.results = res.GetResults()
	stored := d.count(storagev1.DeliveryStatus_DELIVERY_STATUS_STORED)
	full := d.count(storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA)
	s.count(outcomeStored, stored)
	s.count(outcomeOverQuota, full)
	s.count(outcomeDeferred, len(d.results)-stored-full)
	if stored > 0 {
		s.backend.metrics.bytes.WithLabelValues(string(s.backend.role)).Add(float64(size))
	}
	s.log.Info("message", "delivery", d.id, "bytes", size, "stored", stored, "over_quota", full, "accounts", len(d.results))
	return nil
}

func (d *delivery) count(status storagev1.DeliveryStatus) int {
	n := 0
	for _, r := range d.results {
		if r.GetStatus() == status {
			n++
		}
	}
	return n
}

// refused tells whether any account that a recipient leads to was full.
func (d *delivery) refused(to recipient) bool {
	for _, account := range to.accounts {
		for _, r := range d.results {
			if r.GetAccountId() == account.GetAccountId() && r.GetStatus() != storagev1.DeliveryStatus_DELIVERY_STATUS_STORED {
				return true
			}
		}
	}
	return false
}
