package session

import (
	"context"
	"slices"
)

// ENABLE: RFC 5161, RFC 9051 section 6.3.1.
func init() {
	register(extension{
		capabilities: []capability{{name: "ENABLE"}},
		commands:     []command{{name: "ENABLE", states: loggedIn, run: runEnable}},
		enables: []enable{{name: "IMAP4rev2", run: func(s *session) {
			s.rev2 = true
			s.enc.UTF8, s.dec.UTF8 = true, true
		}}},
	})
}

func runEnable(_ context.Context, s *session) (reply, error) {
	names, err := s.dec.EnableArgs()
	if err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw("ENABLED")
	var known []*enable
	for _, name := range names {
		if e, ok := registered.enables[name]; ok && !slices.Contains(known, e) {
			known = append(known, e)
			s.enc.SP().Raw(e.name)
		}
	}
	s.enc.CRLF()
	for _, e := range known {
		e.run(s)
	}
	if s.box != nil { // RFC 9051 section 6.3.1
		return reply{code: codeClientBug}, nil
	}
	return reply{}, nil
}
