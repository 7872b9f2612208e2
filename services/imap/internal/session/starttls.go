package session

import (
	"context"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// STARTTLS: RFC 9051 section 6.2.1.
func init() {
	register(extension{
		capabilities: []capability{{name: "STARTTLS", when: canStartTLS}},
		commands:     []command{{name: "STARTTLS", states: notAuthenticated, run: runStartTLS}},
	})
}

func canStartTLS(s *session) bool {
	return s.TLS != nil && !s.tls && !s.compressed && s.state == notAuthenticated
}

func runStartTLS(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	if !canStartTLS(s) {
		return reply{}, clientBug("TLS is not available, or already active")
	}
	s.enc.Tagged(s.tag, wire.StatusOK, "", "begin TLS negotiation now")
	if err := s.enc.Flush(); err != nil {
		return reply{}, &brokenError{err}
	}
	// What came before the handshake was not protected and must not count as if it were.
	s.dec.Reset(s.conn)
	if err := s.handshake(ctx); err != nil {
		return reply{}, err
	}
	return reply{}, errSent
}
