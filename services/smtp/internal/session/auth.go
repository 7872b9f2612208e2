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
	return yubinsasl.Mechanisms(true) // go-smtp asks only where plaintext is allowed
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if s.backend.role != RoleSubmission {
		return nil, smtp.ErrAuthUnsupported
	}
	return &exchange{session: s, mechanism: mechanism}, nil
}

// exchange relays a SASL exchange to the directory.
type exchange struct {
	session   *session
	mechanism string
	relay     *yubinsasl.Exchange
}

// Next implements sasl.Server.
func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, success, err := e.next(response)
	if err != nil {
		return nil, true, e.session.done("AUTH", 235, authAnswer(err))
	}
	if success == nil {
		return challenge, false, nil
	}
	e.session.account = success.GetAccount()
	return nil, true, e.session.done("AUTH", 235, nil)
}

func (e *exchange) next(response []byte) ([]byte, *directoryv1.AuthenticateResponse_Success, error) {
	if e.relay == nil {
		relay, err := yubinsasl.Start(e.session.ctx, e.session.backend.clients.Directory, &directoryv1.AuthenticateRequest_Start{
			Mechanism: e.mechanism, Protocol: "smtp", ClientIp: e.session.client.String(), Tls: e.session.tls != nil,
		})
		if err != nil {
			return nil, nil, err
		}
		e.relay = relay
	}
	return e.relay.Next(response)
}

// authAnswer maps the reasons of the directory to the codes of RFC 4954 section 6.
func authAnswer(err error) error {
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_AUTHENTICATION_FAILED:
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
