package session

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// maxPath is the longest sender address in octets: local part and domain each at their limit (RFC 5321 section 4.5.3.1). Senders that
// count their bounces pass the 256 of a whole path.
const maxPath = 64 + len("@") + 255

// Mail implements smtp.Session: MAIL FROM (RFC 5321 section 4.1.1.2).
func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	ctx, span := s.trace(s.ctx, "MAIL")
	err := s.begin(ctx, from, opts)
	span.End(err)
	return s.done("MAIL", 250, err)
}

func (s *session) begin(ctx context.Context, from string, opts *smtp.MailOptions) error {
	if s.mail != nil {
		return errBadSequence
	}
	if err := checkSender(from, opts.UTF8); err != nil {
		return err
	}
	from = quoted(from)
	if s.backend.role == RoleSubmission {
		if s.account == nil {
			return errAuthRequired // RFC 6409 section 4.3
		}
		if from != "" {
			if err := s.authorize(ctx, from); err != nil {
				return err
			}
		}
	}
	ctx, cancel := s.call(ctx)
	defer cancel()
	if err := s.received(ctx); err != nil {
		return err
	}
	mail := &transaction{helo: s.conn.Hostname(), from: from, size: opts.Size, utf8: opts.UTF8}
	mail.ctx, mail.cancel = context.WithCancel(s.ctx)
	if mail.begun = time.Now(); s.messages == 0 {
		mail.begun = s.wire.Since()
	}
	s.messages++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail = mail
	s.enterLocked(inTransaction)
	return nil
}

// quoted writes an address as it stands in the protocol: go-smtp takes the quotes off the local part (RFC 5321 section 4.1.2).
func quoted(path string) string {
	at := strings.LastIndexByte(path, '@')
	if at < 0 {
		return path
	}
	return address.Address{Local: path[:at], Domain: path[at+1:]}.String()
}

// checkSender refuses what must not come into a Return-Path.
func checkSender(from string, smtputf8 bool) error {
	if len(from) > maxPath {
		return errSenderTooLong
	}
	for _, r := range from {
		switch {
		case unicode.IsControl(r) || r == utf8.RuneError:
			return errSenderMalformed
		case r > unicode.MaxASCII && !smtputf8:
			return errSenderNotASCII
		}
	}
	return nil
}

// authorize checks that an address belongs to the account that logged in (RFC 6409 section 6.1).
func (s *session) authorize(ctx context.Context, address string) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	res, err := s.backend.clients.Directory.AuthorizeSender(ctx, &directoryv1.AuthorizeSenderRequest{
		AccountId: s.account.GetAccountId(), Address: address,
	})
	if fault.Is(err, rpcv1.Reason_REASON_INVALID) {
		return errSenderNotOwned
	}
	if err != nil {
		return err
	}
	if !res.GetAllowed() {
		return errSenderNotOwned
	}
	return nil
}

// Rcpt implements smtp.Session: RCPT TO (RFC 5321 section 4.1.1.3). This is where the sender learns that a mailbox is full.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	ctx, span := s.trace(s.ctx, "RCPT")
	err := s.add(ctx, to)
	span.End(err)
	if err != nil {
		s.count(outcomeOf(s.backend.answer(err)), 1)
	}
	return s.done("RCPT", 250, err)
}

// outcomeOf is the outcome of a recipient that was refused at RCPT.
func outcomeOf(answer *smtp.SMTPError) string {
	switch {
	case answer == errUnknownRecipient:
		return outcomeUnknown
	case answer == errFullForGood, answer == errFullForNow:
		return outcomeOverQuota
	case answer.Temporary():
		return outcomeDeferred
	}
	return outcomeRefused
}

func (s *session) add(ctx context.Context, to string) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	address := quoted(to)
	res, err := s.backend.clients.Directory.Resolve(ctx, &directoryv1.ResolveRequest{Address: address})
	if fault.Is(err, rpcv1.Reason_REASON_INVALID) {
		return errRecipientMalformed
	}
	if err != nil {
		return err
	}
	switch res.GetStatus() {
	case directoryv1.ResolveResponse_STATUS_OK:
	case directoryv1.ResolveResponse_STATUS_FOREIGN:
		return errForeign
	case directoryv1.ResolveResponse_STATUS_DISABLED:
		return errDisabled
	default:
		return errUnknownRecipient
	}
	// An alias is full when one of its accounts is: to store for some would lose the mail for the others in silence.
	for _, account := range res.GetRecipients() {
		check, err := s.backend.clients.Quota.Check(ctx, &quotav1.CheckRequest{
			AccountId: account.GetAccountId(), Bytes: max(s.mail.size, 1), Messages: 1,
		})
		if err != nil {
			return err
		}
		if !check.GetFits() {
			return s.backend.full()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail.to = append(s.mail.to, recipient{path: to, address: address, accounts: res.GetRecipients()})
	return nil
}
