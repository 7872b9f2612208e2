package wire

import (
	"errors"
	"io"
	"sync"
)

// ErrTorn is a response of which the client has seen a part, and that has no end: nothing can follow it.
var ErrTorn = errors.New("a response was cut off")

// line is the way to the client that several encoders share. One has it from the first octet of a response that it sends to the last,
// so that the responses of commands that run beside each other are never mixed (RFC 9051 section 2.2).
type line struct {
	mu  sync.Mutex
	w   io.Writer
	err error // of the first write that failed, or ErrTorn; nothing is written any more
}

// sharing is an encoder's writer to a line.
type sharing struct {
	line *line
	has  bool // the line is this encoder's now
}

// Write implements io.Writer. The line stays the encoder's until release.
func (s *sharing) Write(p []byte) (int, error) {
	if !s.has {
		s.line.mu.Lock()
		s.has = true
	}
	if s.line.err != nil {
		return 0, s.line.err
	}
	n, err := s.line.w.Write(p)
	if err != nil {
		s.line.err = err
	}
	return n, err
}

func (s *sharing) release() {
	if s.has {
		s.has = false
		s.line.mu.Unlock()
	}
}

// Beside gives an encoder to the same client, for another goroutine. It has memory of its own, no more than this one, and what it writes
// goes out by whole responses, when Flush is called at the latest. Call End when it is of no use any more.
func (e *Encoder) Beside() *Encoder {
	if e.shared == nil {
		e.shared = &sharing{line: &line{w: e.bw.w}}
		e.bw.w = e.shared
	}
	other := &Encoder{UTF8: e.UTF8, shared: &sharing{line: e.shared.line}}
	other.bw.w = other.shared
	return other
}

// responded ends a response. Of one that has begun to go out the rest follows at once: others wait.
func (e *Encoder) responded() {
	if e.shared != nil && e.shared.has {
		_ = e.Flush() // whose error stays
	}
}

// End drops what was not sent. If that is the rest of a response, no encoder of the client sends anything any more.
func (e *Encoder) End() {
	e.bw.release()
	if e.shared != nil && e.shared.has {
		if e.shared.line.err == nil {
			e.shared.line.err = ErrTorn
		}
		e.shared.release()
	}
}
