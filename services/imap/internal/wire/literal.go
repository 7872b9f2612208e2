package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
)

// literal is one that was announced and not yet read to its end.
type literal struct {
	pending  bool
	sync     bool
	accepted bool
	left     int64
}

// announcement reads "{n}", "{n+}" and the line end. The length is in d.lit.
func (d *Decoder) announcement() {
	d.Special('{')
	n := d.Number64()
	sync := !d.TrySpecial('+')
	d.Special('}')
	d.crlf()
	if d.err != nil {
		return
	}
	d.active = true
	d.line = 0
	d.lit = literal{pending: true, sync: sync, left: int64(n)}
}

// accept asks the client for a literal that waits to be asked for.
func (d *Decoder) accept() error {
	if !d.lit.sync || d.lit.accepted {
		return nil
	}
	if d.Continue == nil {
		return &SyntaxError{Text: "synchronizing literal not allowed here"}
	}
	if err := d.Continue(); err != nil {
		return &readError{err}
	}
	d.lit.accepted = true
	return nil
}

// literalString reads a literal into memory.
func (d *Decoder) literalString() string {
	d.announcement()
	octets := d.announcedOctets()
	d.checkNUL(octets)
	if d.err != nil {
		return ""
	}
	return string(octets)
}

// checkNUL refuses what only a literal8 may hold (RFC 9051 section 4.3).
func (d *Decoder) checkNUL(octets []byte) {
	if bytes.IndexByte(octets, 0) >= 0 {
		d.Fail("NUL in literal")
	}
}

// announcedOctets reads the literal that was announced into memory; not nil unless it fails.
func (d *Decoder) announcedOctets() []byte {
	if d.err != nil {
		return nil
	}
	if d.lit.left > int64(d.lim.Literal) || d.lit.left > int64(d.lim.Command-d.command) {
		d.fail(&SyntaxError{Code: "TOOBIG", Text: errBigString})
		return nil
	}
	if err := d.accept(); err != nil {
		d.fail(err)
		return nil
	}
	d.command += int(d.lit.left)
	// Grows with what arrives, not with what was announced.
	buf := []byte{}
	chunk := make([]byte, min(d.lit.left, readBuffer))
	for d.lit.left > 0 {
		n, err := d.readLiteral(chunk)
		buf = append(buf, chunk[:n]...)
		if err != nil {
			d.fail(err)
			return nil
		}
	}
	d.lit = literal{}
	return buf
}

// readLiteral reads octets of an accepted literal.
func (d *Decoder) readLiteral(p []byte) (int, error) {
	if int64(len(p)) > d.lit.left {
		p = p[:d.lit.left]
	}
	n, err := d.br.Read(p)
	d.lit.left -= int64(n)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, &readError{err}
	}
	return n, nil
}

// Literal accepts the literal that AppendMessage announced and returns its octets. A client that vanishes
// shows as io.ErrUnexpectedEOF. What is not read, AppendMore, End or Discard skip.
func (d *Decoder) Literal() (io.Reader, error) {
	if d.err != nil {
		return nil, d.err
	}
	if !d.lit.pending {
		d.Fail("no literal to read")
		return nil, d.err
	}
	if err := d.accept(); err != nil {
		d.fail(err)
		return nil, err
	}
	d.lit.accepted = true
	return literalReader{d}, nil
}

type literalReader struct{ d *Decoder }

func (r literalReader) Read(p []byte) (int, error) {
	d := r.d
	if d.err != nil {
		return 0, d.err
	}
	if !d.lit.pending || d.lit.left == 0 {
		return 0, io.EOF
	}
	n, err := d.readLiteral(p)
	if err != nil {
		d.fail(err)
	}
	return n, err
}

// finishLiteral closes the literal that streamed.
func (d *Decoder) finishLiteral() {
	if d.err != nil || !d.lit.pending {
		return
	}
	if !d.lit.accepted {
		d.Fail("literal was not read")
		return
	}
	if err := d.skipLiteral(math.MaxInt64); err != nil {
		d.fail(err)
	}
}

// skipLiteral reads a pending literal to its end if it is no longer than budget.
func (d *Decoder) skipLiteral(budget int64) error {
	if d.lit.left > budget {
		return &ByeError{Text: errBigString}
	}
	for d.lit.left > 0 {
		n, err := d.br.Discard(int(min(d.lit.left, 1<<20)))
		d.lit.left -= int64(n)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return &readError{err}
		}
	}
	d.lit = literal{}
	return nil
}

// Discard skips whatever is left of the command, so that the next Command reads the next one. Call it after
// every command, however it went. A synchronising literal that was not accepted ends the command: the client
// waits for the answer (RFC 9051 section 4.3); any other literal is skipped. It returns a *ByeError if the end is too far
// away, or the error of the connection.
func (d *Decoder) Discard() error {
	if err, ok := errors.AsType[*readError](d.err); ok {
		return err
	}
	if !d.active {
		return nil
	}
	d.err = nil
	budget := d.lim.Discard
	for {
		if d.lit.pending {
			if d.lit.sync && !d.lit.accepted {
				d.active = false
				d.lit = literal{}
				return nil
			}
			size := d.lit.left
			if err := d.skipLiteral(budget); err != nil {
				d.fail(err)
				return err
			}
			budget -= size
			d.line = 0
		}
		ended, err := d.skipLine(&budget)
		if err != nil {
			d.fail(err)
			return err
		}
		if ended {
			d.active = false
			return nil
		}
	}
}

// skipLine reads to the end of the line and reports whether the command ends there; if not, a literal is pending.
func (d *Decoder) skipLine(budget *int64) (ended bool, err error) {
	for {
		c, err := d.br.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return false, &readError{err}
		}
		if c == '\n' {
			break
		}
		if *budget--; *budget < 0 {
			return false, &ByeError{Text: errLongLine}
		}
		d.tail[d.line%literalTail] = c
		d.line++
	}
	return d.announced()
}

// announced looks for "{n}" or "{n+}" at the end of the line that was just read.
func (d *Decoder) announced() (ended bool, err error) {
	pos := d.line
	back := func() byte {
		if pos == 0 || d.line-pos >= literalTail {
			return 0
		}
		pos--
		return d.tail[pos%literalTail]
	}
	c := back()
	if c == '\r' {
		c = back()
	}
	if c != '}' {
		return true, nil
	}
	c = back()
	sync := c != '+'
	if !sync {
		c = back()
	}
	var n, scale uint64 = 0, 1
	digits := 0
	for ; c >= '0' && c <= '9'; c = back() {
		if digits++; digits > 18 {
			return false, &ByeError{Text: errBigString}
		}
		n += uint64(c-'0') * scale
		scale *= 10
	}
	if digits == 0 || c != '{' {
		return true, nil
	}
	if sync {
		// The client waits for leave to send it, which it will not get.
		return true, nil
	}
	d.lit = literal{pending: true, left: int64(n)}
	return false, nil
}
