package session

import (
	"context"
	"strings"
)

// IDLE: RFC 2177, RFC 9051 section 6.3.13.
func init() {
	register(extension{
		capabilities: []capability{{name: "IDLE"}},
		commands:     []command{{name: "IDLE", states: loggedIn, run: runIdle}},
	})
}

func runIdle(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.metrics.idle.Inc()
	defer s.metrics.idle.Dec()
	s.enc.Continue("idling")
	if s.box != nil {
		if err := s.tellWith(ctx, true, false); err != nil {
			return reply{}, err
		}
	}
	if err := s.enc.Flush(); err != nil {
		return reply{}, &brokenError{err}
	}
	until := s.Now().Add(s.Limits.Idle)
	// Leave interrupts this wait as it does the wait for a command.
	selected := s.box != nil && (s.notify == nil || hasEvent(s.notify.selected, eventNew)) // RFC 5465 section 4
	if err := s.watch(ctx, until, selected, true); err != nil {
		return reply{}, err
	}
	s.conn.await(until)
	line, err := s.dec.Line()
	switch {
	case err != nil && isProtocol(err):
		return reply{}, err
	case err != nil:
		return reply{}, s.waited(err)
	case !strings.EqualFold(line, "DONE"):
		return reply{}, bad("DONE was expected")
	}
	return reply{}, nil
}
