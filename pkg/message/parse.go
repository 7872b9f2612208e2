package message

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

const (
	// bufferBytes is read at once. A line that does not fit comes in pieces.
	bufferBytes = 64 << 10
	// maxBoundary is far above the 70 characters of RFC 2046 section 5.1.1.
	maxBoundary = 1000
	// maxFieldName is how far a colon is looked for to tell a field from text.
	maxFieldName = 1000
)

// readers are as large as most messages, and would be the most part of what parsing allocates.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferBytes) }}

// Parse computes the structure of the message that r holds in its first size octets.
// An error is a failure to read r, never a defect of the message.
func Parse(r io.ReaderAt, size int64, limits Limits) (*mailv1.Structure, error) {
	limits = limits.withDefaults()
	size = max(size, 0)
	in := readers.Get().(*bufio.Reader)
	in.Reset(io.NewSectionReader(r, 0, size))
	defer func() {
		in.Reset(nil)
		readers.Put(in)
	}()
	p := &parser{
		in:           in,
		limits:       limits,
		budget:       budget{params: limits.Params, addresses: limits.Addresses},
		headerBudget: limits.TotalHeaderBytes,
		open:         make(map[string][]int),
	}
	p.push(&mailv1.Part{}, false)
	root := p.stack[0]
	if err := p.scan(); err != nil {
		return nil, fmt.Errorf("read message at octet %d: %w", p.off, err)
	}
	if p.off != uint64(size) {
		return nil, fmt.Errorf("read message: %w after %d of %d octets", io.ErrUnexpectedEOF, p.off, size)
	}
	s := &mailv1.Structure{Root: root.part, Envelope: p.envelope}
	p.fields.describe(s)
	s.HasAttachment = hasAttachment(s.Root)
	s.Degraded = p.degraded || p.budget.exceeded
	var err error
	if s.Preview, err = preview(r, s.Root, limits.PreviewBytes); err != nil {
		return nil, fmt.Errorf("read preview: %w", err)
	}
	return s, nil
}

// parser scans a message line by line. The stack holds the parts that are open, the innermost last; a boundary
// line finds its multipart in the map, so that its cost does not grow with the depth.
type parser struct {
	in     *bufio.Reader
	limits Limits
	budget budget

	off     uint64 // of the current line
	lines   uint64 // line ends before the current line
	prevEOL uint64 // octets of the line end before the current line
	lastCR  bool   // the piece before ended with CR

	stack []*entity
	open  map[string][]int // boundary: places of its multiparts in the stack

	inHeader     bool
	header       []byte // of the innermost part
	headerBudget int

	parts    int
	sealed   bool // no more parts: all that follows belongs to the innermost
	degraded bool

	envelope *mailv1.Envelope // of the root
	fields   rootFields
}

// entity is an open part.
type entity struct {
	part      *mailv1.Part
	boundary  string // "" unless a multipart whose parts are still to come
	digest    bool   // a multipart/digest
	inDigest  bool   // a part of one: message/rfc822 by default
	lineBase  uint64 // line ends before the body
	multipart bool
}

// scan reads all lines and closes all parts.
func (p *parser) scan() error {
	atStart := true
	for {
		piece, err := p.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if len(piece) == 0 {
			break
		}
		n := len(piece)
		eol := p.eolLen(piece)
		if atStart {
			p.line(piece, !errors.Is(err, bufio.ErrBufferFull))
		} else if p.inHeader {
			p.keepHeader(piece)
		}
		p.off += uint64(n)
		atStart = eol > 0
		if atStart {
			p.lines++
			p.prevEOL = eol
		}
	}
	if !atStart {
		p.prevEOL = 0
	}
	for p.inHeader {
		p.endHeader(p.off, p.lines)
	}
	p.prevEOL = 0
	p.closeTo(0)
	return nil
}

// eolLen is the length of the line end in a piece: 0, 1 (LF) or 2 (CRLF).
func (p *parser) eolLen(piece []byte) uint64 {
	n := len(piece)
	wasCR := p.lastCR
	p.lastCR = piece[n-1] == '\r'
	switch {
	case piece[n-1] != '\n':
		return 0
	case n > 1 && piece[n-2] == '\r', n == 1 && wasCR && p.off > 0:
		return 2
	}
	return 1
}

// line takes the start of a line; whole tells that it is all of the line.
func (p *parser) line(piece []byte, whole bool) {
	for {
		if whole && !p.sealed && len(piece) > 2 && piece[0] == '-' && piece[1] == '-' {
			if at, last, ok := p.boundary(piece); ok && p.atBoundary(at, last, uint64(len(piece))) {
				return
			}
		}
		if !p.inHeader {
			return
		}
		if piece = p.headerLine(piece, whole); piece == nil {
			return
		}
		// The line is not of the header that it ended. It may be of the header of an embedded message, or a boundary
		// that this header named.
	}
}

// boundary finds the innermost open multipart whose delimiter the line is (RFC 2046 section 5.1.1). The whole
// line must match, but for white space at its end, so a boundary that is the prefix of another does no harm.
func (p *parser) boundary(line []byte) (at int, last, ok bool) {
	if len(p.open) == 0 {
		return 0, false, false
	}
	key := bytes.TrimRight(line[2:], " \t\r\n")
	if len(key) > maxBoundary+2 {
		return 0, false, false
	}
	if places := p.open[string(key)]; len(places) > 0 {
		return places[len(places)-1], false, true
	}
	if key, ok := bytes.CutSuffix(key, []byte("--")); ok {
		if places := p.open[string(bytes.TrimRight(key, " \t"))]; len(places) > 0 {
			return places[len(places)-1], true, true
		}
	}
	return 0, false, false
}

// atBoundary ends the parts inside the multipart at a place of the stack, and begins its next part or its epilogue.
// It is false if there may be no more parts.
func (p *parser) atBoundary(at int, last bool, lineLen uint64) bool {
	coming := 1
	if p.inHeader {
		coming = 2 // the header that ends here may be of an embedded message
	}
	if !last && p.parts+coming > p.limits.Parts {
		p.sealed, p.degraded = true, true
		return false
	}
	for p.inHeader {
		p.endHeader(p.off, p.lines)
	}
	p.closeTo(at + 1)
	e := p.stack[at]
	if last {
		p.forget(e)
		return true
	}
	part := &mailv1.Part{HeaderOffset: p.off + lineLen}
	e.part.Children = append(e.part.Children, part)
	p.push(part, e.digest)
	return true
}

// push opens a part whose header comes next.
func (p *parser) push(part *mailv1.Part, inDigest bool) {
	p.parts++
	p.stack = append(p.stack, &entity{part: part, inDigest: inDigest})
	p.inHeader = true
	p.header = p.header[:0]
}

// keepHeader keeps what the limits allow of the header.
func (p *parser) keepHeader(b []byte) {
	room := min(p.limits.HeaderBytes-len(p.header), p.headerBudget)
	if len(b) > room {
		b = b[:max(room, 0)]
		p.degraded = true
	}
	p.header = append(p.header, b...)
	p.headerBudget -= len(b)
}

// headerLine takes a line of the header. It gives the line back if the header ended before it.
func (p *parser) headerLine(piece []byte, whole bool) []byte {
	top := p.stack[len(p.stack)-1].part
	if isBlank(piece) {
		p.endHeader(p.off+uint64(len(piece)), p.lines+1)
		return nil
	}
	first := p.off == top.HeaderOffset
	switch {
	case startsField(piece), !first && isSpace(piece[0]), first && bytes.HasPrefix(piece, []byte("From ")):
		p.keepHeader(piece)
		return nil
	}
	piece = bytes.Clone(piece)         // looking ahead may move the buffer
	next, _ := p.in.Peek(maxFieldName) // an error comes back from the next read
	isTorn := startsField(next) || len(next) > 0 && isSpace(next[0])
	if whole && isTorn && !bytes.HasPrefix(piece, []byte("--")) {
		p.keepHeader(piece)
		return nil
	}
	p.endHeader(p.off, p.lines)
	return piece
}

// startsField tells whether a line begins with a field name and a colon (RFC 5322 section 2.2; white space before the
// colon is obsolete, section 4.5).
func startsField(line []byte) bool {
	for i, c := range line[:min(len(line), maxFieldName)] {
		switch {
		case c == ':':
			return i > 0
		case isSpace(c):
			rest := bytes.TrimLeft(line[i:min(len(line), maxFieldName)], " \t")
			return i > 0 && len(rest) > 0 && rest[0] == ':'
		case c < ' ' || c == 0x7f:
			return false
		}
	}
	return false
}

// endHeader interprets the header of the innermost part, whose body begins at an offset with so many line ends
// before it. If the part is an embedded message, the header of that message comes next.
func (p *parser) endHeader(body, lines uint64) {
	p.inHeader = false
	e := p.stack[len(p.stack)-1]
	part := e.part
	part.HeaderSize = body - part.HeaderOffset
	part.BodyOffset = body
	e.lineBase = lines

	boundary := readPartHeader(p.header, part, e.inDigest, &p.budget)
	if p.isMessageRoot() {
		p.readMessageHeader()
	}
	deep := len(p.stack) >= p.limits.Depth
	switch {
	case isMultipart(part):
		switch {
		case boundary == "" || len(boundary) > maxBoundary:
			makeText(part)
		case deep:
			p.degraded = true
			makeOpaque(part)
		default:
			e.multipart = true
			e.boundary = boundary
			e.digest = isType(part, "multipart", "digest")
			p.open[boundary] = append(p.open[boundary], len(p.stack)-1)
		}
	case isMessage(part):
		switch {
		case isEncoded(part):
			makeOpaque(part)
		case deep || p.parts >= p.limits.Parts || p.sealed:
			p.degraded = true
			makeOpaque(part)
		default:
			child := &mailv1.Part{HeaderOffset: body}
			part.Children = []*mailv1.Part{child}
			p.push(child, false)
		}
	}
}

// isMessageRoot tells whether the innermost part is the message or the root of an embedded one.
func (p *parser) isMessageRoot() bool {
	n := len(p.stack)
	return n == 1 || !p.stack[n-2].multipart
}

func (p *parser) readMessageHeader() {
	if n := len(p.stack); n > 1 {
		p.stack[n-2].part.Envelope = readEnvelope(p.header, &p.budget)
		return
	}
	p.envelope = readEnvelope(p.header, &p.budget)
	p.fields = readRootFields(p.header, p.envelope)
}

// closeTo ends all parts from a place of the stack on, before the current line and the line end before it,
// which belongs to the boundary (RFC 2046 section 5.1.1).
func (p *parser) closeTo(at int) {
	for len(p.stack) > at {
		e := p.stack[len(p.stack)-1]
		p.stack = p.stack[:len(p.stack)-1]
		p.forget(e)
		part := e.part
		end := p.off - min(p.prevEOL, p.off)
		for _, child := range part.Children[max(0, len(part.Children)-1):] {
			end = max(end, child.BodyOffset+child.BodySize)
		}
		end = max(end, part.BodyOffset)
		part.BodySize = end - part.BodyOffset
		part.Lines = p.lines - e.lineBase
		if end < p.off && part.Lines > 0 {
			part.Lines--
		}
		switch {
		case !e.multipart || len(part.Children) > 0:
		case p.sealed:
			makeOpaque(part)
		default:
			makeText(part)
		}
	}
}

// forget stops looking for the boundary of a multipart.
func (p *parser) forget(e *entity) {
	if e.boundary == "" {
		return
	}
	if places := p.open[e.boundary]; len(places) > 1 {
		p.open[e.boundary] = places[:len(places)-1]
	} else {
		delete(p.open, e.boundary)
	}
	e.boundary = ""
}
