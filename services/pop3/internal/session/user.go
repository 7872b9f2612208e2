package session

import (
	"context"
	"unicode/utf8"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sasl"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// capaUser is RFC 2449 section 6.2.
func (s *Session) capaUser() string {
	if s.state == authorization && s.plaintext() {
		return "USER"
	}
	return ""
}

// cmdUser is RFC 1939 section 7. It answers +OK for every name, known or not.
func (s *Session) cmdUser(_ context.Context, args []string) error {
	if !s.plaintext() {
		return failure{code: codeAuth, text: textNeedTLS}
	}
	if !utf8.ValidString(args[0]) {
		return failure{text: textArguments}
	}
	s.user = args[0]
	s.say(textPassword)
	return nil
}

// cmdPass is RFC 1939 section 7: the password is the rest of the line, spaces included.
func (s *Session) cmdPass(ctx context.Context, args []string) error {
	if s.user == "" {
		return failure{text: textWrongState}
	}
	user := s.user
	s.user = ""
	account, err := sasl.Plain(ctx, s.server.clients.Directory, user, args[0], s.authStart("", nil))
	return s.login(ctx, "USER", account, err)
}

func (s *Session) authStart(mechanism string, initial []byte) *directoryv1.AuthenticateRequest_Start {
	return &directoryv1.AuthenticateRequest_Start{
		Mechanism:       mechanism,
		InitialResponse: initial,
		ClientIp:        clientIP(s.conn.current().RemoteAddr()),
		Tls:             s.secure,
		Protocol:        "pop3",
		ChannelBindings: s.server.offer.Bindings(s.bindings),
	}
}

// login takes the outcome of an authentication and enters the TRANSACTION state.
func (s *Session) login(ctx context.Context, mechanism string, account *directoryv1.Account, err error) error {
	count := func(result string) { s.server.metrics.logins.WithLabelValues(mechanism, result).Inc() }
	if err != nil {
		count("failed")
		return s.loginFailed(err)
	}
	if s.server.tooSoon(account.GetAccountId()) {
		count("too_soon")
		return failure{code: codeDelay, text: textTooSoon}
	}
	drop, err := openMaildrop(ctx, s, account.GetAccountId())
	switch {
	case fault.Is(err, rpcv1.Reason_REASON_MAILDROP_IN_USE):
		count("in_use")
		return failure{code: codeInUse, text: textInUse}
	case err != nil:
		count("unavailable")
		return unavailable(err)
	}
	count("ok")
	s.server.loggedIn(account.GetAccountId())
	s.account, s.drop = account, drop
	s.enter(transaction)
	s.say(textMaildrop, drop.count, drop.octets)
	return nil
}

// loginFailed turns an error of the directory or of the exchange into an answer. Too many end the session.
func (s *Session) loginFailed(err error) error {
	f := failure{cause: err}
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_AUTHENTICATION_FAILED, rpcv1.Reason_REASON_AUTHORIZATION_FAILED, rpcv1.Reason_REASON_CREDENTIALS_EXPIRED:
		f.code, f.text = codeAuth, textAuthFailed
	case rpcv1.Reason_REASON_ACCOUNT_DISABLED:
		f.code, f.text = codePermanent, textDisabled
	case rpcv1.Reason_REASON_THROTTLED:
		f.code, f.text = codeTemporary, textThrottled
	case rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED:
		return failure{text: textMechanism, cause: err}
	case rpcv1.Reason_REASON_SASL_MALFORMED:
		f.text = textMalformed
	case rpcv1.Reason_REASON_UNSPECIFIED:
		return err // of the connection
	default:
		return unavailable(err)
	}
	s.authFailures++
	f.closes = s.authFailures >= s.server.config.MaxAuthFailures
	return f
}
