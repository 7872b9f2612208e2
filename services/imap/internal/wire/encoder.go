package wire

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/services/imap/internal/utf7"
)

// Status is the condition of a status response (RFC 9051 section 7.1).
type Status string

// The conditions.
const (
	StatusOK      Status = "OK"
	StatusNO      Status = "NO"
	StatusBAD     Status = "BAD"
	StatusPreauth Status = "PREAUTH"
	StatusBye     Status = "BYE"
)

// ErrBodySize is a literal whose octets were not as many as announced.
var ErrBodySize = errors.New("literal is not of the size announced")

const copyBuffer = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// Encoder writes responses into a buffer that Flush sends. Errors are sticky: after the first, nothing is written, and the
// connection must be closed, because the client may have seen part of a response. It must not be used by two goroutines at once.
type Encoder struct {
	// UTF8 is set once the client has enabled IMAP4rev2 or UTF8=ACCEPT: strings and mailbox names may be UTF-8.
	UTF8 bool

	bw     buffer
	err    error
	shared *sharing // nil: no other encoder writes to the client
}

// NewEncoder writes to w.
func NewEncoder(w io.Writer) *Encoder {
	return &Encoder{bw: buffer{w: w}}
}

// Reset writes to w from now on, alone; what was not flushed is lost.
func (e *Encoder) Reset(w io.Writer) {
	e.bw.Reset(w)
	e.err, e.shared = nil, nil
}

// Buffered is the number of octets that wait for Flush.
func (e *Encoder) Buffered() int { return e.bw.Buffered() }

// Err is the first error.
func (e *Encoder) Err() error { return e.err }

// Flush sends what was written, whole responses, and reports the first error. Nothing is sent after an error.
func (e *Encoder) Flush() error {
	if e.err == nil {
		e.setErr(e.bw.Flush())
	}
	if e.shared != nil {
		e.shared.release()
	}
	return e.err
}

func (e *Encoder) setErr(err error) {
	if e.err == nil && err != nil {
		e.err = fmt.Errorf("write response: %w", err)
	}
}

// Tagged writes the response that ends a command. code has no brackets; empty: none.
func (e *Encoder) Tagged(tag string, s Status, code, text string) {
	e.status(tag, s, code, text)
}

// Untagged writes a status response of no command.
func (e *Encoder) Untagged(s Status, code, text string) {
	e.status("*", s, code, text)
}

func (e *Encoder) status(tag string, s Status, code, text string) {
	e.Raw(tag).SP().Raw(string(s)).SP()
	if code != "" {
		e.Raw("[").Raw(e.safe(code)).Raw("] ")
	} else {
		// Must not look like a code.
		text = strings.TrimLeft(text, "[")
	}
	if text == "" {
		text = string(s)
	}
	e.Raw(e.safe(text)).CRLF()
}

// Continue writes a continuation request; it does not flush.
func (e *Encoder) Continue(text string) {
	e.Raw("+ ").Raw(e.safe(text)).CRLF()
}

// safe replaces what would end the line or is not text.
func (e *Encoder) safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r > 0x7f && !e.UTF8) {
			return '?'
		}
		return r
	}, s)
}

// Raw writes s as it is.
func (e *Encoder) Raw(s string) *Encoder {
	if e.err == nil {
		_, err := e.bw.WriteString(s)
		e.setErr(err)
	}
	return e
}

// RawBytes writes b as it is.
func (e *Encoder) RawBytes(b []byte) *Encoder {
	if e.err == nil {
		_, err := e.bw.Write(b)
		e.setErr(err)
	}
	return e
}

// Star begins an untagged response.
func (e *Encoder) Star() *Encoder { return e.Raw("* ") }

// SP writes a space.
func (e *Encoder) SP() *Encoder { return e.Raw(" ") }

// CRLF ends a response.
func (e *Encoder) CRLF() *Encoder {
	e.Raw("\r\n")
	e.responded()
	return e
}

// Open writes "(".
func (e *Encoder) Open() *Encoder { return e.Raw("(") }

// Close writes ")".
func (e *Encoder) Close() *Encoder { return e.Raw(")") }

// Nil writes NIL.
func (e *Encoder) Nil() *Encoder { return e.Raw("NIL") }

// Num writes a number.
func (e *Encoder) Num(n uint64) *Encoder {
	return e.RawBytes(strconv.AppendUint(e.bw.AvailableBuffer(), n, 10))
}

// String writes s as a quoted string, or as a literal where it must.
func (e *Encoder) String(s string) *Encoder {
	return e.RawBytes(AppendString(e.bw.AvailableBuffer(), s, e.UTF8))
}

// Bytes is String for octets.
func (e *Encoder) Bytes(b []byte) *Encoder {
	return e.RawBytes(AppendString(e.bw.AvailableBuffer(), b, e.UTF8))
}

// NString writes s as String does, or NIL if !ok.
func (e *Encoder) NString(s string, ok bool) *Encoder {
	if !ok {
		return e.Nil()
	}
	return e.String(s)
}

// AString writes s as an atom if it is one, otherwise as String does.
func (e *Encoder) AString(s string) *Encoder {
	return e.RawBytes(AppendAString(e.bw.AvailableBuffer(), s, e.UTF8))
}

// Mailbox writes a mailbox name that is given in UTF-8.
func (e *Encoder) Mailbox(name string) *Encoder {
	if !e.UTF8 {
		name = utf7.Encode(name)
	}
	return e.AString(name)
}

// Flags writes flags in parentheses.
func (e *Encoder) Flags(flags []string) *Encoder {
	e.Open()
	for i, f := range flags {
		if i > 0 {
			e.SP()
		}
		e.Raw(f)
	}
	return e.Close()
}

// Ranges writes a sequence set.
func (e *Encoder) Ranges(ranges []Range) *Encoder {
	return e.RawBytes(AppendRanges(e.bw.AvailableBuffer(), ranges))
}

// DateTime writes a quoted date-time.
func (e *Encoder) DateTime(t time.Time) *Encoder {
	buf := append(e.bw.AvailableBuffer(), '"')
	buf = t.AppendFormat(buf, dateTimeLayout)
	return e.RawBytes(append(buf, '"'))
}

// Literal writes size octets of r as a literal. If r does not end after exactly so many, the error says so and the
// stream is lost: the connection must be closed.
func (e *Encoder) Literal(size int64, r io.Reader) error {
	return e.literal("", size, r)
}

// Literal8 is Literal for octets that may hold NUL (RFC 9051 section 4.3.1).
func (e *Encoder) Literal8(size int64, r io.Reader) error {
	return e.literal("~", size, r)
}

func (e *Encoder) literal(prefix string, size int64, r io.Reader) error {
	e.Raw(prefix).Raw("{").Num(uint64(max(size, 0))).Raw("}\r\n")
	if e.err != nil {
		return e.err
	}
	if m, ok := r.(*Memory); ok && m.Len() == size {
		for _, piece := range m.Buffers {
			e.RawBytes(piece)
		}
		return e.err
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	var written int64
	for e.err == nil {
		n, err := r.Read(buf[:])
		if written += int64(n); written > size {
			e.setErr(ErrBodySize)
			break
		}
		e.RawBytes(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		e.setErr(err)
	}
	if written < size {
		e.setErr(ErrBodySize)
	}
	return e.err
}
