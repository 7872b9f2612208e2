package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

const (
	// lineBuffer is how much of a command is read at a time; what is longer comes in several reads, and literals pass it by.
	lineBuffer   = 1 << 10
	readBuffer   = 4 << 10
	maxTag       = 128
	literalTail  = 32 // longer than any literal announcement that fits 64 bits
	maxKeyword   = 256
	errLongLine  = "line too long"
	errLongCmd   = "command too long"
	errTooMany   = "too many elements"
	errTooDeep   = "nested too deeply"
	errBigString = "literal too large"
)

// Decoder reads commands. It must not be used by two goroutines at once.
type Decoder struct {
	// Continue sends a continuation request ("+ ") and flushes it. It is called when a synchronising
	// literal is accepted; nil refuses such literals.
	Continue func() error
	// UTF8 is set once the client has enabled IMAP4rev2 or UTF8=ACCEPT: mailbox names are UTF-8, otherwise modified UTF-7.
	UTF8 bool

	r   io.Reader
	br  *bufio.Reader // of r; nil while the client is silent
	g   *Grammar
	lim Limits
	err error

	active   bool // the end of the command was not read yet
	line     int  // octets of the line so far
	command  int  // octets of the command so far
	items    int
	depth    int
	tail     [literalTail]byte // the last octets of the line, at line % literalTail
	lit      literal
	utf8Data bool // a ")" must follow the literal that streams
	parts    int  // of the message that CATENATE puts together so far
	scratch  []byte
	charset  charset // of the SEARCH being read
	nodes    int     // search keys so far
}

// NewDecoder reads from r the commands of g.
func NewDecoder(r io.Reader, g *Grammar, lim Limits) *Decoder {
	d := &Decoder{r: r, g: g, lim: lim.withDefaults()}
	d.acquire()
	return d
}

// SetLimits replaces the limits from the next octet on.
func (d *Decoder) SetLimits(lim Limits) { d.lim = lim.withDefaults() }

// Reset reads from r from now on and forgets what was read ahead: after STARTTLS nothing from before may count.
func (d *Decoder) Reset(r io.Reader) {
	d.r = r
	d.release()
	d.begin()
	d.active = false
}

// Buffered is the number of octets that were read ahead.
func (d *Decoder) Buffered() int {
	if d.br == nil {
		return 0
	}
	return d.br.Buffered()
}

// Err is the first error of the command, nil if there is none.
func (d *Decoder) Err() error { return d.err }

// Wait blocks until the next command has begun to arrive. An error may be of a read that can be made again: then so can Wait.
func (d *Decoder) Wait() error {
	d.acquire()
	_, err := d.br.Peek(1)
	if err != nil {
		d.release() // an idle session needs no memory for what may come
	}
	return err
}

var lineBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, lineBuffer) }}

func (d *Decoder) acquire() {
	if d.br == nil {
		d.br = lineBuffers.Get().(*bufio.Reader)
		d.br.Reset(d.r)
	}
}

// release drops what was read ahead.
func (d *Decoder) release() {
	if d.br != nil {
		d.br.Reset(nil)
		lineBuffers.Put(d.br)
		d.br = nil
	}
}

func (d *Decoder) begin() {
	d.acquire()
	d.err = nil
	d.active = true
	d.line, d.command, d.items, d.depth = 0, 0, 0, 0
	d.lit, d.utf8Data, d.charset = literal{}, false, charset{}
	if cap(d.scratch) > readBuffer {
		d.scratch = nil
	}
}

// Command reads a command's tag and its name in upper case; "UID FETCH" is one name. What follows the name is
// left to the caller. An error may come with a tag to answer to; without one the answer is untagged.
func (d *Decoder) Command() (tag, name string, err error) {
	d.begin()
	tag = d.token(isTagChar, maxTag)
	if tag == "" {
		d.Fail("missing tag")
	}
	d.SP()
	if d.err != nil {
		return tag, "", d.err
	}
	name = d.Keyword()
	if name == "UID" {
		d.SP()
		name += " " + d.Keyword()
	}
	return tag, name, d.err
}

// Line reads one raw line without its end: what a client sends after a continuation request that asked for no
// literal (IDLE's DONE, a SASL response).
func (d *Decoder) Line() (string, error) {
	d.begin()
	text := d.token(func(c byte) bool { return c != '\r' && c != '\n' }, d.lim.Line)
	d.crlf()
	return text, d.err
}

// End reads the end of the command.
func (d *Decoder) End() error {
	d.finishLiteral()
	if d.err == nil {
		if c := d.Peek(); c != '\r' && c != '\n' {
			d.Fail("unexpected argument")
		}
	}
	d.crlf()
	return d.err
}

func (d *Decoder) crlf() {
	if d.Peek() == '\r' {
		d.next()
	}
	// A bare LF ends a line too: people type into netcat.
	if d.Peek() != '\n' {
		d.Fail("missing line end")
		return
	}
	// Not through next: a limit must not strike once the line is at its end.
	if _, err := d.br.ReadByte(); err != nil {
		d.failRead(err)
		return
	}
	d.active = false
}

// Fail makes the command a syntax error, unless it is one already.
func (d *Decoder) Fail(format string, args ...any) {
	d.fail(&SyntaxError{Text: fmt.Sprintf(format, args...)})
}

// Refuse makes the command one that is answered with NO, unless it failed already.
func (d *Decoder) Refuse(code, text string) { d.fail(&RefusedError{Code: code, Text: text}) }

func (d *Decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *Decoder) failRead(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	d.fail(&readError{err})
}

// readError tells a broken connection from a broken command.
type readError struct{ err error }

func (e *readError) Error() string { return "read command: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// Peek is the next octet, 0 after an error.
func (d *Decoder) Peek() byte {
	if d.err != nil {
		return 0
	}
	b, err := d.br.Peek(1)
	if err != nil {
		d.failRead(err)
		return 0
	}
	return b[0]
}

// Ahead reports whether what comes next is text, whatever its case. It reads no further ahead than it must.
func (d *Decoder) Ahead(text string) bool {
	for i := range len(text) {
		if d.err != nil {
			return false
		}
		b, err := d.br.Peek(i + 1)
		if err != nil {
			d.failRead(err)
			return false
		}
		if !strings.EqualFold(text[i:i+1], string(rune(b[i]))) {
			return false
		}
	}
	return true
}

// next consumes the octet that Peek has shown.
func (d *Decoder) next() {
	if d.err != nil {
		return
	}
	c, err := d.br.ReadByte()
	if err != nil {
		d.failRead(err)
		return
	}
	d.tail[d.line%literalTail] = c
	d.line++
	d.command++
	if d.line > d.lim.Line {
		d.Fail(errLongLine)
	} else if d.command > d.lim.Command {
		d.Fail(errLongCmd)
	}
}

// count charges one element to the command.
func (d *Decoder) count() {
	if d.items++; d.items > d.lim.Items {
		d.Fail(errTooMany)
	}
}

// enter and leave bracket one level of nesting.
func (d *Decoder) enter() {
	if d.depth++; d.depth > d.lim.Depth {
		d.Fail(errTooDeep)
	}
}

func (d *Decoder) leave() { d.depth-- }
