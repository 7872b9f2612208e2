package session

import (
	"context"
	"strings"
	"time"
)

// IDLE: RFC 2177, RFC 9051 section 6.3.13.
func init() {
	register(extension{
		capabilities: []capability{{name: "IDLE"}},
		commands:     []command{{name: "IDLE", states: loggedIn, run: runIdle, endless: true}},
	})
}

// runIdle is short, as what it calls before and after the wait should not add to the stack on which a session waits for hours.
func runIdle(ctx context.Context, s *session) (reply, error) {
	err := s.beginIdle(ctx)
	if err != nil {
		return reply{}, err
	}
	s.metrics.idle.Inc()
	defer s.metrics.idle.Dec()
	until := s.Now().Add(s.Limits.Idle)
	// Leave interrupts this wait as it does the wait for a command.
	selected := s.box != nil && (s.notify == nil || hasEvent(s.notify.selected, eventNew)) // RFC 5465 section 4
	if err = s.watch(ctx, until, selected, true); err == nil {
		err = s.endIdle(until)
	}
	return reply{}, err
}

func (s *session) beginIdle(ctx context.Context) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Continue("idling")
	if s.box != nil {
		if err := s.tellWith(ctx, true, false); err != nil {
			return err
		}
	}
	if err := s.enc.Flush(); err != nil {
		return &brokenError{err}
	}
	return nil
}

// endIdle takes the line that ends the wait.
func (s *session) endIdle(until time.Time) error {
	s.conn.await(until)
	line, err := s.dec.Line()
	switch {
	case err != nil && isProtocol(err):
		return err
	case err != nil:
		return s.waited(err)
	case !strings.EqualFold(line, "DONE"):
		return bad("DONE was expected")
	}
	return nil
}
