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

type idleLine struct {
	text string
	err  error
}

func runIdle(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.metrics.idle.Inc()
	defer s.metrics.idle.Dec()
	s.enc.Continue("idling")
	var changed, others <-chan struct{}
	if s.notify != nil {
		others = s.notify.follow.Changed()
	}
	if s.box != nil {
		changed = s.box.view.Changed()
		if err := s.tellWith(ctx, true, false); err != nil {
			return reply{}, err
		}
	}
	if err := s.enc.Flush(); err != nil {
		return reply{}, &brokenError{err}
	}
	// Leave interrupts this wait as it does the wait for a command.
	s.conn.await(s.Now().Add(s.Limits.Idle))
	lines := make(chan idleLine, 1)
	go func() {
		text, err := s.dec.Line()
		lines <- idleLine{text, err}
	}()
	for {
		select {
		case l := <-lines:
			switch {
			case l.err != nil && isProtocol(l.err):
				return reply{}, l.err
			case l.err != nil:
				return reply{}, s.waited(l.err)
			case !strings.EqualFold(l.text, "DONE"):
				return reply{}, bad("DONE was expected")
			}
			return reply{}, nil
		case <-others:
			if s.look(ctx); s.notify == nil {
				others = nil
			}
			if err := s.enc.Flush(); err != nil {
				s.conn.interrupt()
				<-lines
				return reply{}, &brokenError{err}
			}
		case <-changed:
			err := s.tellWith(ctx, true, false)
			if flushErr := s.enc.Flush(); err == nil && flushErr != nil {
				err = &brokenError{flushErr}
			}
			if err != nil {
				s.conn.interrupt()
				<-lines // the decoder has one user at a time
				return reply{}, err
			}
		}
	}
}
