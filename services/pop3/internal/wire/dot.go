package wire

import (
	"bufio"
	"bytes"
	"io"
)

// DotWriter writes the lines of a multi-line answer with dot-stuffing (RFC 1939 section 3). Apart from the stuffing every octet is as
// it was written; only a last line without CRLF gets one, as the end of the answer cannot be marked otherwise.
type DotWriter struct {
	w *bufio.Writer
	// at is what went before: the start of a line, a CR, or anything else.
	at position
}

type position byte

const (
	lineStart position = iota
	afterCR
	within
)

// NewDotWriter makes a writer on w.
func NewDotWriter(w *bufio.Writer) *DotWriter { return &DotWriter{w: w} }

var _ io.Writer = (*DotWriter)(nil)

// Write implements io.Writer. A line may come in pieces.
func (d *DotWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		rest := p[n:]
		if d.at == lineStart && rest[0] == '.' {
			if err := d.w.WriteByte('.'); err != nil {
				return n, err
			}
		}
		// Only CRLF begins a line: to stuff after a bare LF would change the message for clients that hold to the RFC.
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			i = len(rest) - 1
		}
		written, err := d.w.Write(rest[:i+1])
		n += written
		if err != nil {
			return n, err
		}
		crBefore := i > 0 && rest[i-1] == '\r' || i == 0 && d.at == afterCR
		switch {
		case rest[i] == '\n' && crBefore:
			d.at = lineStart
		case rest[i] == '\r':
			d.at = afterCR
		default:
			d.at = within
		}
	}
	return n, nil
}

// Close ends the answer; it does not flush.
func (d *DotWriter) Close() error {
	end := ".\r\n"
	if d.at != lineStart {
		end = "\r\n.\r\n"
	}
	_, err := d.w.WriteString(end)
	return err
}
