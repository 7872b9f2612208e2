// Package replay lets a message that comes from a client be sent to storage more than once, as long as it is small.
package replay

import (
	"errors"
	"io"
	"slices"
)

const (
	// ChunkSize is how many octets are sent at a time.
	ChunkSize = 64 << 10
	// firstPiece is what the first piece takes in memory before it grows: most messages are small.
	firstPiece = 8 << 10
	// Keep is how much of a message stays in memory, in octets.
	Keep = 1 << 20
)

// Error is a failure to read the message, which is in its chain.
type Error struct{ err error }

func (e *Error) Error() string { return "read message: " + e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// Source reads a message once and remembers it as long as it is small. It is for one goroutine.
type Source struct {
	r     io.Reader
	ended func()
	kept  []byte
	size  int64
	whole bool
}

// New makes a source. ended, if not nil, is called when the message's last octet was read.
func New(r io.Reader, ended func()) *Source {
	if ended == nil {
		ended = func() {}
	}
	return &Source{r: r, ended: ended}
}

// Size is the number of octets read so far.
func (s *Source) Size() int64 { return s.size }

// Send passes on the message from its beginning. It may be called again only after ReadAll said that all of it is kept. Errors: those of chunk,
// *Error.
func (s *Source) Send(chunk func([]byte) error) error {
	for rest := s.kept; len(rest) > 0; {
		n := min(len(rest), ChunkSize)
		if err := chunk(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for !s.whole {
		piece, err := s.next()
		if err != nil {
			return err
		}
		if len(piece) == 0 {
			continue
		}
		if err := chunk(piece); err != nil {
			return err
		}
	}
	return nil
}

// ReadAll reads what is left of the message, and tells whether all of it is kept. It stops reading when it is not. Errors: *Error.
func (s *Source) ReadAll() (kept bool, err error) {
	for !s.whole && s.size <= Keep {
		if _, err := s.next(); err != nil {
			return false, err
		}
	}
	return s.size <= Keep, nil
}

// next reads a piece. Each has memory of its own: the transport may hold on to it.
func (s *Source) next() ([]byte, error) {
	size := ChunkSize
	if s.size == 0 {
		size = firstPiece
	}
	piece := make([]byte, size)
	n := 0
	for n < ChunkSize && !s.whole {
		if n == len(piece) {
			piece = slices.Concat(piece, make([]byte, min(3*n, ChunkSize-n)))
		}
		m, err := s.r.Read(piece[n:])
		n += m
		switch {
		case errors.Is(err, io.EOF): // exactly EOF is the end; a connection that breaks says ErrUnexpectedEOF
			s.whole = true
			s.ended()
		case err != nil:
			return nil, &Error{err}
		}
	}
	s.size += int64(n)
	switch {
	case s.size > Keep:
		s.kept = nil
	case s.kept == nil:
		s.kept = piece[:n:n]
	default:
		s.kept = append(s.kept, piece[:n]...)
	}
	return piece[:n], nil
}
