package session

import (
	"context"
	"fmt"
)

// capabilities gives the lines of CAPA (RFC 2449), each from the file of its extension or, if it has no command, from here.
func (s *Session) capabilities() []string {
	var out []string
	for _, capability := range []func() string{
		s.capaTop, s.capaUser, s.capaUidl, s.capaSASL, s.capaStls, s.capaUTF8, s.capaLang,
		func() string { return "PIPELINING" },     // RFC 2449 section 6.6
		func() string { return "RESP-CODES" },     // RFC 2449 section 6.4
		func() string { return "AUTH-RESP-CODE" }, // RFC 3206 section 6
		func() string { return "EXPIRE NEVER" },   // RFC 2449 section 6.7
		s.capaLoginDelay,
		func() string { return "IMPLEMENTATION Yubin" }, // RFC 2449 section 6.9
	} {
		if line := capability(); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// capaLoginDelay is RFC 2449 section 6.5.
func (s *Session) capaLoginDelay() string {
	return fmt.Sprintf("LOGIN-DELAY %d", int(s.server.config.LoginDelay.Seconds()))
}

func (s *Session) cmdCapa(context.Context, []string) error {
	s.say(textCapabilities)
	for _, line := range s.capabilities() {
		if err := s.line("%s", line); err != nil {
			return err
		}
	}
	return s.end()
}
