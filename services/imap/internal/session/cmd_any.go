package session

import (
	"context"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// Commands of any state: RFC 9051 section 6.1.
func init() {
	register(extension{commands: []command{
		{name: "CAPABILITY", states: anyState, run: runCapability},
		{name: "NOOP", states: anyState, run: runNoop},
		{name: "LOGOUT", states: anyState, run: runLogout},
	}})
}

func runCapability(_ context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw("CAPABILITY ").Raw(s.capabilityList()).CRLF()
	return reply{}, nil
}

func runNoop(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	if s.box != nil {
		s.refresh(ctx)
	}
	return reply{}, nil
}

func runLogout(_ context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.enc.Untagged(wire.StatusBye, "", "see you")
	return reply{}, errLogout
}
