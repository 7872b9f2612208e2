package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	yubinsasl "github.com/yubin-mail/yubin/pkg/sasl"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/wire"
)

// session is one client's session on one role. go-smtp calls its methods one after the other, with one exception: the message of a
// BDAT runs on a goroutine of its own until LAST, while further commands come in. It may even begin after the RSET that ends it.
type session struct {
	backend *Backend
	conn    *smtp.Conn
	wire    *wire.Conn
	log     *slog.Logger
	id      string
	client  netip.Addr
	tls     *tls.ConnectionState
	ctx     context.Context
	cancel  context.CancelFunc

	account  *directoryv1.Account // who logged in; not changed within a transaction
	login    *yubinsasl.Exchange  // the last one that began
	failures int                  // logins refused
	messages int                  // that came in

	mu        sync.Mutex
	mail      *transaction // nil between transactions
	phase     phase
	receiving chan struct{} // of the last message; closed when it has been dealt with
}

// transaction is one mail transaction (RFC 5321 section 3.3).
type transaction struct {
	ctx    context.Context // ends with it
	begun  time.Time       // of the connection for the first, of MAIL for others
	cancel context.CancelFunc

	helo string
	from string // as it stands in the protocol
	size int64  // as declared, 0 if it was not
	utf8 bool
	to   []recipient
}

// recipient is one accepted RCPT.
type recipient struct {
	// path is the address as go-smtp gives it.
	path string
	// address is the same as it stands in the protocol.
	address string
	// accounts are where it leads.
	accounts []*directoryv1.Recipient
}

// transaction gives the current transaction, as it is now. ok is false if there is none.
func (s *session) transaction() (mail transaction, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return transaction{}, false
	}
	return *s.mail, true
}

// received waits until the last message has been dealt with. One that RSET ended is on a goroutine of go-smtp's, whose result must
// not be taken for that of the next.
func (s *session) received(ctx context.Context) error {
	s.mu.Lock()
	receiving := s.receiving
	s.mu.Unlock()
	if receiving == nil {
		return nil
	}
	select {
	case <-receiving:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the last message: %w", ctx.Err())
	}
}

// Reset implements smtp.Session. go-smtp calls it after every message too, once it has skipped the rest of one that failed.
func (s *session) Reset() {
	s.mu.Lock()
	if s.mail != nil {
		s.mail.cancel()
		s.mail = nil
		s.enterLocked(s.rest())
	}
	s.mu.Unlock()
	s.wire.EndMessage()
}

// Logout implements smtp.Session: the end of the connection, or of its part before STARTTLS.
func (s *session) Logout() error {
	s.cancel()
	s.enter(ended)
	s.wire.OnLeave(func() {}) // what was the connection may lie under TLS now
	return nil
}

// leaveWith sets the last answer of a session that is ended between commands.
func (s *session) leaveWith(answer string) {
	conn := s.conn.Conn()
	s.wire.OnLeave(func() {
		_, _ = conn.Write([]byte(answer))
		if secure, ok := conn.(*tls.Conn); ok {
			_ = secure.CloseWrite() // RFC 8446 section 6.1
		}
	})
}

// done counts a command's answer and passes it on. Without an error the code is success.
func (s *session) done(command string, success int, err error) error {
	key := answered{command: command, code: success}
	if err != nil {
		e := s.backend.answer(err)
		key.code, key.enhanced = e.Code, e.EnhancedCode
		err = s.withID(e)
	}
	s.backend.metrics.commands.Get(key).Inc()
	if command == "AUTH" {
		s.backend.metrics.logins[loginResult(key.code)].Inc()
		if err == nil {
			s.enter(authenticated)
		}
	}
	return err
}

// withID tells the client the session's id where something is wrong here: it is in the logs too.
func (s *session) withID(e *smtp.SMTPError) *smtp.SMTPError {
	if e != errUnavailable {
		return e
	}
	told := *e
	told.Message += " (session " + s.id + ")"
	return &told
}

// trace begins the trace of a command, within ctx.
func (s *session) trace(ctx context.Context, command string) (context.Context, telemetry.Span) {
	ctx, span := s.backend.tracer.Begin(ctx, "smtp", command)
	span.String("session", s.id)
	return ctx, span
}

// call bounds one question to another service.
func (s *session) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.backend.cfg.CallTimeout)
}
