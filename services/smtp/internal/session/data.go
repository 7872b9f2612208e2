package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/intake"
	"github.com/yubin-mail/yubin/services/smtp/internal/trace"
)

// Outcomes of a recipient, as they stand in metrics.
const (
	outcomeStored    = "stored"
	outcomeOverQuota = "over_quota"
	outcomeUnknown   = "unknown"
	outcomeDeferred  = "deferred" // the peer will send again
	outcomeRefused   = "refused"
)

// maxAuthors bounds the questions to the directory for one message.
const maxAuthors = 16

// Data implements smtp.Session: the content of DATA or BDAT (RFC 5321 section 4.1.1.4, RFC 3030).
func (s *session) Data(r io.Reader) error {
	return s.done("DATA", 250, s.receive(r, func(d *delivery) error {
		if s.backend.role == RoleSubmission && d.mail.from != "" {
			return s.postFromUser(d)
		}
		return s.postFromPeer(d)
	}))
}

// LMTPData implements smtp.LMTPSession: one answer for each recipient (RFC 2033 section 4.2).
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	err := s.receive(r, func(d *delivery) error {
		if err := d.post(false); err != nil {
			return err
		}
		for _, to := range d.mail.to {
			var err error
			if refusal := d.refusal(to); refusal != nil {
				err = refusal
			}
			status.SetStatus(to.path, err)
		}
		return nil
	})
	if err != nil {
		// go-smtp gives a BDAT that fails before LAST one answer instead of one for each recipient: it has to come to LAST.
		_, _ = io.Copy(io.Discard, r)
	}
	return s.done("DATA", 250, err)
}

// postFromPeer takes a message for all of its recipients or for none: the sender is elsewhere, and only a refusal now is sure to reach
// it. Where some could have it, 452 makes the peer send again, and RCPT then refuses the others by name.
func (s *session) postFromPeer(d *delivery) error {
	if err := d.post(true); err != nil {
		return err
	}
	switch {
	case len(d.stored) == d.accounts:
		return nil
	case len(d.gone) == d.accounts:
		return errUnknownRecipient
	case d.full+len(d.gone) == d.accounts:
		return s.backend.full()
	case d.full == 0:
		return errSomeGone
	default:
		return errSomeFull
	}
}

// postFromUser takes a message for those whom it fits; its sender is one of ours and is told of the others by a DSN.
func (s *session) postFromUser(d *delivery) error {
	if err := d.post(false); err != nil {
		return err
	}
	switch {
	case len(d.stored) == d.accounts:
	case len(d.gone) == d.accounts:
		return errUnknownRecipient
	case len(d.stored) == 0:
		return s.backend.full()
	default:
		d.notify()
	}
	return nil
}

// receive reads the header, checks it, and calls post with the delivery. It counts time and outcome. Its error is an answer.
func (s *session) receive(r io.Reader, post func(*delivery) error) (err error) {
	begin := s.backend.now()
	receiving := make(chan struct{})
	defer close(receiving)
	s.mu.Lock()
	s.receiving = receiving
	s.mu.Unlock()
	s.wire.BeginMessage()
	var msg *intake.Message
	msg, err = intake.Read(r, s.backend.cfg.Limits)
	if errors.Is(err, smtp.ErrDataReset) {
		s.wire.EndMessage()
		return err
	}
	mail, open := s.transaction()
	if !open {
		return smtp.ErrDataReset
	}
	ctx, span := s.trace(mail.ctx, "DATA")
	defer func() { span.End(err) }()
	d := &delivery{session: s, ctx: ctx, mail: mail, id: uuid.NewString(), time: begin}
	span.String("delivery", d.id)
	if err == nil {
		err = s.check(ctx, msg, mail)
	}
	if err == nil {
		d.header, d.body = msg.Header, d.content(msg)
		err = post(d)
	}
	telemetry.Observe(ctx, s.backend.metrics.delivery, s.backend.now().Sub(begin).Seconds())
	if err == nil {
		return nil
	}
	answer := s.backend.answer(err)
	switch {
	case d.accounts > 0: // storage has answered, and post has counted
	case answer.Temporary():
		s.count(outcomeDeferred, len(mail.to))
	case answer == errUnknownRecipient:
		s.count(outcomeUnknown, len(mail.to))
	default:
		s.count(outcomeRefused, len(mail.to))
	}
	return answer
}

// check refuses a message that loops, or whose author is not the account that logged in.
func (s *session) check(ctx context.Context, msg *intake.Message, mail transaction) error {
	if msg.Count("Received") > s.backend.cfg.MaxHops {
		return errLoop
	}
	for _, to := range mail.to {
		for _, account := range to.accounts {
			if msg.DeliveredTo(account.GetAddress()) {
				return errLoop
			}
		}
	}
	if s.backend.role != RoleSubmission {
		return nil
	}
	if msg.Count("From") > 1 || msg.Count("Sender") > 1 {
		return errTwoAuthors // programs differ in which one they show
	}
	authors := msg.Authors()
	if len(authors) > maxAuthors {
		return errSenderNotOwned
	}
	for _, author := range authors {
		if err := s.authorize(ctx, author); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) count(outcome string, n int) {
	s.backend.metrics.outcomes[outcome].Add(float64(n))
}

// delivery is one message on its way to storage.
type delivery struct {
	session *session
	ctx     context.Context
	mail    transaction
	id      string
	header  []byte
	body    io.Reader
	time    time.Time

	// What storage answered.
	accounts int             // all, each once
	stored   map[string]bool // account ids
	gone     map[string]bool // account ids, removed since RCPT
	full     int
}

// content is the whole message: the trace field and what else was missing, header and body.
func (d *delivery) content(msg *intake.Message) io.Reader {
	s := d.session
	hop := trace.Hop{
		Helo: d.mail.helo, Client: s.client, By: s.backend.cfg.Hostname, TLS: s.tls, ID: s.id, Time: d.time,
		Protocol: s.backend.transmission(s.tls, s.account != nil, d.mail.utf8),
	}
	if len(d.mail.to) == 1 {
		hop.For = d.mail.to[0].address
	}
	var head bytes.Buffer
	head.WriteString(hop.Received())
	if s.backend.role == RoleSubmission {
		head.WriteString(s.complete(msg, d.time))
	}
	head.Write(msg.Header)
	return io.MultiReader(&head, msg.Body)
}

// complete gives the fields that a user's program left out (RFC 6409 section 8).
func (s *session) complete(msg *intake.Message, now time.Time) string {
	fields := ""
	if msg.Count("Message-ID") == 0 {
		fields += "Message-ID: <" + uuid.NewString() + "@" + s.backend.cfg.Hostname + ">\r\n"
	}
	if msg.Count("Date") == 0 {
		fields += "Date: " + now.Format(time.RFC1123Z) + "\r\n"
	}
	return fields
}

// post hands the message to storage for every account that its recipients lead to, each once.
func (d *delivery) post(allOrNone bool) error {
	s := d.session
	header := &storagev1.DeliverRequest_Header{DeliveryId: d.id, AllOrNone: allOrNone, SizeHint: uint64(max(d.mail.size, 0))}
	seen := map[string]bool{}
	for _, to := range d.mail.to {
		for _, account := range to.accounts {
			if seen[account.GetAccountId()] {
				continue
			}
			seen[account.GetAccountId()] = true
			header.Recipients = append(header.Recipients, &storagev1.DeliverRequest_Recipient{
				AccountId: account.GetAccountId(), Prefix: trace.Prefix(d.mail.from, account.GetAddress()),
			})
		}
	}
	body := &clocked{r: d.body}
	res, size, err := s.backend.poster.Deliver(d.ctx, header, body)
	if err != nil {
		return err
	}
	telemetry.Since(d.ctx, s.backend.metrics.commit, body.last)
	d.accounts, d.stored, d.gone = len(header.GetRecipients()), map[string]bool{}, map[string]bool{}
	for _, r := range res.GetResults() {
		switch r.GetStatus() {
		case storagev1.DeliveryStatus_DELIVERY_STATUS_STORED:
			d.stored[r.GetAccountId()] = true
		case storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA:
			d.full++
		case storagev1.DeliveryStatus_DELIVERY_STATUS_NO_ACCOUNT:
			d.gone[r.GetAccountId()] = true
		}
	}
	s.count(outcomeStored, len(d.stored))
	s.count(outcomeOverQuota, d.full)
	s.count(outcomeUnknown, len(d.gone))
	s.count(outcomeDeferred, d.accounts-len(d.stored)-d.full-len(d.gone))
	if len(d.stored) > 0 {
		s.backend.metrics.bytes.Add(float64(size))
		telemetry.Since(d.ctx, s.backend.metrics.endToEnd, d.mail.begun)
	}
	s.log.Info("message", "delivery", d.id, "bytes", size, "stored", len(d.stored), "over_quota", d.full, "accounts", d.accounts)
	return nil
}

// refusal is the answer for a recipient; nil if the message is stored for all accounts that it leads to.
func (d *delivery) refusal(to recipient) *smtp.SMTPError {
	var refusal *smtp.SMTPError
	for _, account := range to.accounts {
		switch id := account.GetAccountId(); {
		case d.stored[id]:
		case d.gone[id]:
			refusal = errUnknownRecipient
		default:
			return d.session.backend.full()
		}
	}
	return refusal
}
