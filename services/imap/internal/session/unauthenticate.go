package session

import "context"

// UNAUTHENTICATE: RFC 8437. The connection is as it was before the login; TLS stays, compression ends.
func init() {
	register(extension{
		capabilities: []capability{{name: "UNAUTHENTICATE", when: whenLoggedIn}},
		commands:     []command{{name: "UNAUTHENTICATE", states: loggedIn, run: runUnauthenticate}},
	})
}

func runUnauthenticate(_ context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.loggedOut()
	compressed := s.compressed
	s.compressed = false
	code := "CAPABILITY " + s.capabilityList()
	if !compressed {
		return reply{code: code}, nil
	}
	if err := s.uncompress(code, "UNAUTHENTICATE completed"); err != nil {
		return reply{}, err
	}
	return reply{}, errSent
}
