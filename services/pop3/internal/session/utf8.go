package session

import "context"

// capaUTF8 is RFC 6856 section 2. USER says that USER and PASS take UTF-8, which they always do.
func (s *Session) capaUTF8() string { return "UTF8 USER" }

// cmdUTF8 is RFC 6856 section 2.1. Messages are given out as they are stored in either mode (see the package's comment), so that
// there is nothing to switch.
func (s *Session) cmdUTF8(context.Context, []string) error {
	s.say(textUTF8)
	return nil
}
