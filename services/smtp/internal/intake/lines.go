// Package intake takes a message in from the network: strict line ends, a bounded header, loop detection.
package intake

import (
	"errors"
	"io"
)

// Errors of a message that is refused for its form.
var (
	// ErrBareLineEnd is a CR without LF or a LF without CR. Servers disagree on whether such a line ends, which lets a
	// message smuggle a second one past one of them (RFC 5321 section 2.3.8 forbids both).
	ErrBareLineEnd = errors.New("bare CR or LF")
	// ErrHeaderTooLarge is a header over the limit.
	ErrHeaderTooLarge = errors.New("header too large")
	// ErrTooLarge is a message over the limit.
	ErrTooLarge = errors.New("message too large")
)

// lineReader passes octets on as long as every line ends with CRLF and the total stays within limit.
type lineReader struct {
	r     io.Reader
	cr    bool
	left  int64
	ended error
}

func (l *lineReader) Read(p []byte) (int, error) {
	if l.ended != nil {
		return 0, l.ended
	}
	n, err := l.r.Read(p)
	for i, c := range p[:n] {
		if (c == '\n') != l.cr {
			l.ended = ErrBareLineEnd
			return i, l.ended
		}
		l.cr = c == '\r'
	}
	if l.left -= int64(n); l.left < 0 {
		l.ended = ErrTooLarge
		return 0, l.ended
	}
	if errors.Is(err, io.EOF) && l.cr {
		err = ErrBareLineEnd
	}
	l.ended = err
	return n, err
}
