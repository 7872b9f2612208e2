package session

import (
	"context"
	"errors"
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

// errIdling is of IDLE that has begun: its tagged response comes when the client ends it.
var errIdling = errors.New("the client idles")

// idle is a wait that the client has asked for.
type idle struct {
	until    time.Time
	selected bool // what happens in the selected mailbox is told
}

func runIdle(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.enc.Continue("idling")
	if s.box != nil {
		if err := s.tellWith(ctx, true, false); err != nil {
			return reply{}, err
		}
	}
	s.metrics.idle.Inc()
	s.idle = &idle{
		until:    s.Now().Add(s.Limits.Idle),
		selected: s.box != nil && (s.notify == nil || hasEvent(s.notify.selected, eventNew)), // RFC 5465 section 4
	}
	return reply{}, errIdling
}

// done takes the line that ends IDLE, and answers the command.
func (s *session) done(ctx context.Context, begun time.Time) error {
	s.conn.await(s.idle.until, false)
	s.endIdle()
	line, err := s.dec.Line()
	switch {
	case err != nil && !isProtocol(err):
		err = s.waited(err)
	case err == nil && !strings.EqualFold(line, "DONE"):
		err = bad("DONE was expected")
	}
	c := registered.commands["IDLE"]
	result, err := s.finish(ctx, c, c.name, reply{}, err)
	s.timed(ctx, c.name, result, begun)
	return err
}

func (s *session) endIdle() {
	s.idle = nil
	s.metrics.idle.Dec()
}
