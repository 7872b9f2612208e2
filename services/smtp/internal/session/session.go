package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"

	"github.com/emersion/go-smtp"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/wire"
)

// session is one client's session on one role. go-smtp calls its methods one after the other.
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

	account *directoryv1.Account // who logged in
	mail    *transaction
}

// transaction is one mail transaction (RFC 5321 section 3.3).
type transaction struct {
	from string
	size int64
	utf8 bool
	to   []recipient
}

// recipient is one accepted RCPT.
type recipient struct {
	// path is the address as the client gave it.
	path string
	// accounts are where it leads.
	accounts []*directoryv1.Recipient
}

// Reset implements smtp.Session. go-smtp calls it after every message too, once it has skipped the rest of one that failed.
func (s *session) Reset() {
	s.mail = nil
	if s.wire != nil {
		s.wire.EndMessage()
	}
}

// Logout implements smtp.Session.
func (s *session) Logout() error {
	s.cancel()
	return nil
}

// done counts a command's answer and passes it on. A nil error is code 250 (or what go-smtp says for the verb).
func (s *session) done(command string, success int, err error) error {
	code, enhanced := success, "2"
	if err != nil {
		e := s.backend.answer(err)
		code, enhanced = e.Code, fmt.Sprintf("%d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
		err = e
	}
	s.backend.metrics.commands.WithLabelValues(string(s.backend.role), command, strconv.Itoa(code), enhanced).Inc()
	return err
}

// call bounds one question to another service.
func (s *session) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, s.backend.cfg.CallTimeout)
}
