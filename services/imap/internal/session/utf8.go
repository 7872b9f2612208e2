package session

import (
	"io"
	"unicode/utf8"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// UTF8=ACCEPT: RFC 9755, and RFC 6855, which it replaces. Strings and mailbox names are UTF-8 in both directions, as in IMAP4rev2. APPEND, CATENATE and
// REPLACE take the data in UTF8 (...), which RFC 9755 does without, and store what they get, as without.
func init() {
	register(extension{
		capabilities: []capability{{name: "UTF8=ACCEPT", when: whenLoggedIn}},
		enables: []enable{{name: "UTF8=ACCEPT", run: func(s *session) {
			s.utf8 = true
			s.enc.UTF8, s.dec.UTF8 = true, true
		}}},
	})
}

// acceptable gives the octets of a message that a client adds, or refuses those that it may not: section 4.
func (s *session) acceptable(octets io.Reader) io.Reader {
	if !s.StrictUTF8 || s.utf8 || s.rev2 {
		return octets
	}
	return &asciiHeader{r: octets}
}

// asciiHeader refuses a message with 8-bit octets in its header.
type asciiHeader struct {
	r     io.Reader
	line  bool // the line is not empty so far
	ended bool
}

// Read implements io.Reader.
func (h *asciiHeader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	for i := 0; i < n && !h.ended; i++ {
		switch c := p[i]; {
		case c == '\n':
			h.ended, h.line = !h.line, false
		case c >= utf8.RuneSelf:
			return 0, &wire.RefusedError{Code: "CANNOT", Text: "headers beyond US-ASCII need ENABLE UTF8=ACCEPT"}
		default:
			h.line = h.line || c != '\r'
		}
	}
	return n, err
}
