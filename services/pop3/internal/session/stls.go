package session

import "context"

// capaStls is RFC 2595 section 4.
func (s *Session) capaStls() string {
	if s.stlsAllowed() {
		return "STLS"
	}
	return ""
}

func (s *Session) stlsAllowed() bool {
	return s.state == authorization && !s.secure && s.server.config.TLS != nil
}

// cmdStls is RFC 2595 section 4. Reader and session begin anew: what the client, or somebody between, sent behind STLS
// before the handshake is dropped, and nothing that was said before counts.
func (s *Session) cmdStls(ctx context.Context, _ []string) error {
	if !s.stlsAllowed() {
		return failure{text: textNoSTLS}
	}
	s.say(textBeginTLS)
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.handshake(ctx, s.conn.current(), s.server.config.TLS); err != nil {
		return err
	}
	s.user, s.language = "", languages[0]
	return nil
}
