package session

import (
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/intake"
)

// reply makes an SMTP answer. Texts from elsewhere must not break the line.
func reply(code int, enhanced smtp.EnhancedCode, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: strings.Join(strings.Fields(text), " ")}
}

// The answers of this server, with the enhanced codes of RFC 3463 and RFC 5248.
var (
	errUnknownRecipient   = reply(550, smtp.EnhancedCode{5, 1, 1}, "No such user here")
	errDisabled           = reply(550, smtp.EnhancedCode{5, 2, 1}, "This mailbox is disabled")
	errForeign            = reply(550, smtp.EnhancedCode{5, 7, 1}, "Relaying to other domains is not available here")
	errAuthRequired       = reply(530, smtp.EnhancedCode{5, 7, 0}, "Log in first")
	errSenderNotOwned     = reply(550, smtp.EnhancedCode{5, 7, 1}, "This account may not send with that sender address")
	errSenderTooLong      = reply(553, smtp.EnhancedCode{5, 1, 7}, "The sender address is too long")
	errRecipientMalformed = reply(553, smtp.EnhancedCode{5, 1, 3}, "The recipient's address is malformed")
	errSenderMalformed    = reply(553, smtp.EnhancedCode{5, 1, 7}, "The sender address is malformed")
	errSenderNotASCII     = reply(553, smtp.EnhancedCode{5, 6, 7}, "An address beyond ASCII needs SMTPUTF8 (RFC 6531 section 3.5)")
	errBadSequence        = reply(503, smtp.EnhancedCode{5, 5, 1}, "A mail transaction is open already: send RSET first")
	errLoop               = reply(554, smtp.EnhancedCode{5, 4, 6}, "This message comes back in a loop")
	errTwoAuthors         = reply(554, smtp.EnhancedCode{5, 6, 0}, "The message has more than one From or Sender field (RFC 5322 section 3.6)")
	errBareLineEnd        = reply(554, smtp.EnhancedCode{5, 6, 0}, "Lines must end with CR LF: a bare CR or LF is not accepted (RFC 5321 section 2.3.8)")
	errHeaderTooLarge     = reply(552, smtp.EnhancedCode{5, 3, 4}, "The message header is too large")
	errTooLarge           = reply(552, smtp.EnhancedCode{5, 3, 4}, "The message is too large")
	errUnavailable        = reply(451, smtp.EnhancedCode{4, 3, 0}, "A part of the mail system is not available now, please try again later")
	errSomeFull           = reply(452, smtp.EnhancedCode{4, 2, 2}, "The mailbox of one recipient is full, please send again to each by itself")
	errSomeGone           = reply(452, smtp.EnhancedCode{4, 2, 1}, "The account of one recipient was removed, please send again to each by itself")
	errFullForGood        = reply(552, smtp.EnhancedCode{5, 2, 2}, "The recipient's mailbox is full")
	errFullForNow         = reply(452, smtp.EnhancedCode{4, 2, 2}, "The recipient's mailbox is full, please try again later")
	errLineTooLong        = reply(500, smtp.EnhancedCode{5, 5, 2}, "A line of the message is too long")
	errCutShort           = reply(451, smtp.EnhancedCode{4, 4, 2}, "The message was cut short")
)

// answer turns an error of a backend or of the intake into an SMTP answer. Nothing was stored.
func (b *Backend) answer(err error) *smtp.SMTPError {
	var done *smtp.SMTPError
	switch {
	case errors.As(err, &done):
		return done
	case errors.Is(err, intake.ErrBareLineEnd):
		return errBareLineEnd
	case errors.Is(err, intake.ErrHeaderTooLarge):
		return errHeaderTooLarge
	case errors.Is(err, intake.ErrTooLarge):
		return errTooLarge
	case errors.Is(err, smtp.ErrTooLongLine):
		return errLineTooLong
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, smtp.ErrDataReset):
		return errCutShort
	}
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_OVER_QUOTA:
		return b.full()
	case rpcv1.Reason_REASON_MESSAGE_TOO_LARGE:
		return errTooLarge
	case rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND:
		return errUnknownRecipient
	}
	b.log.Warn("backend failed", "error", err)
	return errUnavailable
}

// full is the answer for a mailbox over quota, by policy.
func (b *Backend) full() *smtp.SMTPError {
	if b.cfg.RejectFullTemporarily {
		return errFullForNow
	}
	return errFullForGood
}
