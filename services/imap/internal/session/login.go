package session

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sasl"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// LOGIN and AUTHENTICATE: RFC 9051 section 6.2.2 and 6.2.3; SASL-IR: RFC 4959.
func init() {
	e := extension{
		capabilities: []capability{
			{name: "SASL-IR", when: beforeLogin},
			{name: "LOGINDISABLED", when: func(s *session) bool { return beforeLogin(s) && !s.takesPasswords() }},
		},
		commands: []command{
			{name: "LOGIN", states: notAuthenticated, run: runLogin},
			{name: "AUTHENTICATE", states: notAuthenticated, run: runAuthenticate},
		},
	}
	for _, mechanism := range sasl.Known() {
		e.capabilities = append(e.capabilities, capability{name: "AUTH=" + mechanism, when: func(s *session) bool {
			return beforeLogin(s) && s.offers(mechanism)
		}})
	}
	register(e)
}

func beforeLogin(s *session) bool { return s.state == notAuthenticated }

// takesPasswords tells whether a password may be sent over this connection.
func (s *session) takesPasswords() bool { return s.tls || s.InsecureAuth }

func (s *session) offers(mechanism string) bool {
	return slices.Contains(s.offer.Mechanisms(s.takesPasswords(), s.bindings), mechanism)
}

// bind takes the channel bindings of the connection.
func (s *session) bind() {
	if conn, ok := s.conn.inner().(*tls.Conn); ok {
		s.bindings = sasl.Bindings(conn.ConnectionState(), s.TLS)
	}
}

// loginLimits leave room for a line of SASL.
func loginLimits() wire.Limits {
	l := wire.LoginLimits()
	l.Line, l.Command = sasl.MaxLine+1024, sasl.MaxLine+1024
	return l
}

var errPrivacy = no("PRIVACYREQUIRED", "passwords are taken over TLS only")

func (s *session) saslStart(mechanism string, initial []byte) *directoryv1.AuthenticateRequest_Start {
	return &directoryv1.AuthenticateRequest_Start{
		Mechanism: mechanism, InitialResponse: initial, ClientIp: s.remote, Tls: s.tls, Protocol: "imap", ChannelBindings: s.offer.Bindings(s.bindings),
	}
}

func runLogin(ctx context.Context, s *session) (reply, error) {
	user, password, err := s.dec.LoginArgs()
	if err != nil {
		return reply{}, err
	}
	if !s.takesPasswords() {
		return reply{}, errPrivacy
	}
	account, err := sasl.Plain(ctx, s.Directory, user, password, s.saslStart(sasl.MechanismPlain, nil))
	return s.loggedIn(account, err)
}

func runAuthenticate(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.AuthenticateArgs()
	if err != nil {
		return reply{}, err
	}
	if !s.offers(args.Mechanism) {
		if slices.Contains(s.offer.Mechanisms(true, nil), args.Mechanism) {
			return reply{}, errPrivacy
		}
		return reply{}, no("CANNOT", "authentication mechanism is not supported")
	}
	initial := args.Initial
	if args.HasInitial && initial == nil {
		initial = []byte{} // absent and empty differ (RFC 4422 section 5.1)
	}
	account, err := sasl.Authenticate(ctx, s.Directory, s.saslStart(args.Mechanism, initial), func(challenge []byte) ([]byte, error) {
		s.enc.Continue(sasl.Encode(challenge))
		if err := s.enc.Flush(); err != nil {
			return nil, &brokenError{err}
		}
		line, err := s.dec.Line()
		if err != nil {
			return nil, err
		}
		return sasl.Decode(line)
	})
	return s.loggedIn(account, err)
}

// loggedIn ends a login.
func (s *session) loggedIn(account *directoryv1.Account, err error) (reply, error) {
	if err != nil {
		return reply{}, s.loginFailed(err)
	}
	if !s.acquire(account.GetAccountId()) {
		s.metrics.logins.WithLabelValues("limit").Inc()
		return reply{}, no("LIMIT", "too many sessions of this account")
	}
	s.metrics.logins.WithLabelValues("ok").Inc()
	s.account, s.bindings = account, nil
	s.to(authenticated)
	limits := wire.DefaultLimits()
	// A message that is refused may be on its way already (RFC 7888): skipping it keeps the session.
	limits.Discard = max(limits.Discard, s.Limits.MessageSize+int64(limits.Line))
	s.dec.SetLimits(limits)
	return reply{code: "CAPABILITY " + s.capabilityList(), text: "logged in"}, nil
}

// loggedOut undoes a login, and what was enabled since. Failures stay counted.
func (s *session) loggedOut() {
	s.unselect()
	s.unnotify()
	s.release(s.account.GetAccountId())
	s.account = nil
	s.rev2, s.utf8, s.condstore, s.qresync, s.uidOnly = false, false, false, false, false
	s.enc.UTF8, s.dec.UTF8 = false, false
	s.dec.SetLimits(loginLimits())
	s.bind()
	s.loginBy = s.Now().Add(s.Limits.LoginTimeout)
	s.to(notAuthenticated)
}

func (s *session) loginFailed(err error) error {
	switch reason := fault.Reason(err); reason {
	case rpcv1.Reason_REASON_AUTHENTICATION_FAILED, rpcv1.Reason_REASON_THROTTLED, rpcv1.Reason_REASON_ACCOUNT_DISABLED,
		rpcv1.Reason_REASON_AUTHORIZATION_FAILED, rpcv1.Reason_REASON_CREDENTIALS_EXPIRED:
		s.metrics.logins.WithLabelValues("refused").Inc()
		if s.failures++; s.failures >= s.Limits.LoginFailures {
			a, _ := answerFor(err)
			s.enc.Tagged(s.tag, a.status, a.code, a.text)
			return &byeError{"", "too many failed logins"}
		}
	case rpcv1.Reason_REASON_UNAVAILABLE:
		s.metrics.logins.WithLabelValues("error").Inc()
	default:
		s.metrics.logins.WithLabelValues("malformed").Inc()
		if s.dec.Err() != nil && !isProtocol(err) {
			return s.waited(err)
		}
	}
	return err
}

// isProtocol tells a client's mistake from a broken connection.
func isProtocol(err error) bool {
	if _, ok := errors.AsType[*wire.SyntaxError](err); ok {
		return true
	}
	return fault.Is(err, rpcv1.Reason_REASON_SASL_MALFORMED)
}
