package session

import "context"

// ID: RFC 2971.
func init() {
	register(extension{
		capabilities: []capability{{name: "ID"}},
		commands:     []command{{name: "ID", states: anyState, run: runID}},
	})
}

func runID(_ context.Context, s *session) (reply, error) {
	if _, err := s.dec.IDArgs(); err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw(`ID ("name" "Yubin"`)
	if s.state&loggedIn != 0 { // strangers need not know the version
		s.enc.Raw(` "version" `).String(s.Version)
	}
	s.enc.Close().CRLF()
	return reply{}, nil
}
