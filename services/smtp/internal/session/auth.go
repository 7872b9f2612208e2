package session

import (
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/yubin-mail/yubin/pkg/fault"
	yubinsasl "github.com/yubin-mail/yubin/pkg/sasl"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// AuthMechanisms implements smtp.AuthSession (RFC 4954).
func (s *session) AuthMechanisms() []string {
	if s.backend.role != RoleSubmission {
		return nil
	}
	return s.backend.offer.Mechanisms(true, s.bindings()) // go-smtp asks only where plaintext is allowed
}

// bindings are those of the session's connection.
func (s *session) bindings() []*directoryv1.ChannelBinding {
	if s.tls == nil {
		return nil
	}
	return yubinsasl.Bindings(*s.tls, s.backend.cfg.TLS)
}

// Auth implements smtp.AuthSession. go-smtp does not say when a client gives up: the next login, or the end of the session, ends the exchange.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if s.backend.role != RoleSubmission {
		return nil, smtp.ErrAuthUnsupported
	}
	if _, open := s.transaction(); open {
		return nil, s.done("AUTH", 235, errBadSequence) // RFC 4954 section 4
	}
	if s.login != nil {
		s.login.Close()
	}
	login, err := yubinsasl.Start(s.ctx, s.backend.clients.Directory, &directoryv1.AuthenticateRequest_Start{
		Mechanism: mechanism, Protocol: "smtp", ClientIp: s.client.String(), Tls: s.tls != nil,
		ChannelBindings: s.backend.offer.Bindings(s.bindings()),
	})
	if err != nil {
		return nil, s.done("AUTH", 235, authAnswer(err))
	}
	s.login = login
	return exchange{s}, nil
}

// exchange relays the SASL exchange of a session to the directory.
type exchange struct{ *session }

// Next implements sasl.Server.
func (e exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, success, err := e.login.Next(response)
	switch {
	case err != nil:
		e.failed(err)
		return nil, true, e.done("AUTH", 235, authAnswer(err))
	case success == nil:
		return challenge, false, nil
	}
	e.account = success.GetAccount()
	return nil, true, e.done("AUTH", 235, nil)
}

// failed counts a login that was refused. After too many the session ends with the next read.
func (s *session) failed(err error) {
	if fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) {
		return
	}
	if s.failures++; s.failures >= s.backend.cfg.MaxAuthFailures {
		s.leaveWith("421 4.7.0 " + s.backend.cfg.Hostname + " Too many failed logins\r\n") // RFC 5321 section 3.8
		s.wire.Leave("")
	}
}

// authAnswer maps the reasons of the directory to the codes of RFC 4954 section 6.
func authAnswer(err error) error {
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_AUTHENTICATION_FAILED, rpcv1.Reason_REASON_AUTHORIZATION_FAILED, rpcv1.Reason_REASON_CREDENTIALS_EXPIRED:
		return smtp.ErrAuthFailed
	case rpcv1.Reason_REASON_THROTTLED:
		return reply(454, smtp.EnhancedCode{4, 7, 0}, "Too many failed logins, please try again later")
	case rpcv1.Reason_REASON_ACCOUNT_DISABLED:
		return reply(535, smtp.EnhancedCode{5, 7, 13}, "This account is disabled")
	case rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED:
		return smtp.ErrAuthUnknownMechanism
	case rpcv1.Reason_REASON_SASL_MALFORMED:
		return reply(501, smtp.EnhancedCode{5, 5, 2}, "The authentication exchange is malformed")
	}
	return err
}
