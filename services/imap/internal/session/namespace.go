package session

import "context"

// NAMESPACE: RFC 2342, RFC 9051 section 6.3.10. There is one, the user's own.
func init() {
	register(extension{
		capabilities: []capability{{name: "NAMESPACE"}},
		commands:     []command{{name: "NAMESPACE", states: loggedIn, run: runNamespace}},
	})
}

func runNamespace(_ context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw(`NAMESPACE (("" "/")) NIL NIL`).CRLF()
	return reply{}, nil
}
