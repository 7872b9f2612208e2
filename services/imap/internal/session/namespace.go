package session

import "context"

// NAMESPACE: RFC 2342, RFC 9051 section 6.3.10. The user's own and what others share are there.
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
	s.enc.Star().Raw(`NAMESPACE (("" "/")) (("` + othersLevel + `/" "/")) NIL`).CRLF()
	return reply{}, nil
}
