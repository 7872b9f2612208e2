package message

import (
	"bytes"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"

	"github.com/yubin-mail/yubin/pkg/message/text"
)

// ParseAddresses reads an address list (RFC 5322 section 3.4 and, obsolete, 4.4) into at most limit entries. It
// takes whatever stands there: quotes and comments that do not end are ordinary characters, a missing host is an
// empty one (an absent host would mean a group), encoded words and raw octets stay as they are. The name
// may stand in a comment after the address.
func ParseAddresses(value []byte, limit int) []*mailv1.Address {
	b := budget{addresses: limit}
	return readAddresses(value, &b)
}

func readAddresses(value []byte, b *budget) []*mailv1.Address {
	p := addressParser{in: Unfold(value), budget: b}
	p.list()
	return p.out
}

// addressParser gathers the words of one address at a time.
type addressParser struct {
	in      []byte
	pos     int
	budget  *budget
	out     []*mailv1.Address
	inGroup bool
	full    bool

	words   []byte // so far, with one space where there was white space
	lastGap int    // in words: after the last space that was not quoted
	at      int    // in words: of the last "@" that was not quoted, -1 for none
	gap     bool   // white space before the next word
	comment []byte // the last comment
	angle   *mailv1.Address

	noQuotes, noComments, noLiterals bool // one of these does not end, so no later one does
}

func (p *addressParser) list() {
	p.reset()
	for p.pos < len(p.in) && !p.full {
		switch c := p.in[p.pos]; {
		case c == ',':
			p.pos++
			p.finish()
		case c == ';':
			p.pos++
			p.finish()
			p.endGroup()
		case c == ':' && !p.inGroup && p.at < 0 && p.angle == nil:
			p.pos++
			p.beginGroup()
		case c == '<' && p.angle == nil:
			p.pos++
			p.angle = p.route()
		default:
			p.word(true)
		}
	}
	p.finish()
	p.endGroup()
}

func (p *addressParser) reset() {
	p.words, p.lastGap, p.at, p.gap, p.comment, p.angle = nil, 0, -1, false, nil, nil
}

func (p *addressParser) emit(a *mailv1.Address) {
	if p.full || !p.budget.takeAddress() {
		p.full = true
		return
	}
	p.out = append(p.out, a)
}

func (p *addressParser) beginGroup() {
	name := p.words
	p.reset()
	p.inGroup = true
	p.emit(&mailv1.Address{Mailbox: present(name)})
}

// endGroup closes a group, also one that the limit cut: an open group would confuse every reader.
func (p *addressParser) endGroup() {
	if p.inGroup {
		p.inGroup = false
		p.out = append(p.out, &mailv1.Address{})
	}
}

// word takes one token, or skips a character that is none. With spaces, white space between words counts.
func (p *addressParser) word(spaces bool) {
	c := p.in[p.pos]
	switch {
	case isSpace(c):
		p.pos++
		p.gap = spaces
	case c == '(' && !p.noComments:
		n := commentLen(p.in[p.pos:])
		comment := p.in[p.pos : p.pos+n]
		if comment[n-1] != ')' || n < 2 {
			p.noComments = true
			return
		}
		p.pos += n
		p.comment = bytes.TrimSpace(comment[1 : n-1])
		p.gap = spaces
	case c == '"' && !p.noQuotes:
		value, rest, closed := quoted(p.in[p.pos:])
		if !closed {
			p.noQuotes = true
			p.pos++
			return
		}
		p.pos = len(p.in) - len(rest)
		p.add(value, false)
	case c == '"':
		p.pos++
	case c == '[' && !p.noLiterals: // domain literal, which may hold a colon
		n := bytes.IndexByte(p.in[p.pos:], ']')
		if n < 0 {
			p.noLiterals = true
			return
		}
		p.add(p.in[p.pos:p.pos+n+1], false)
		p.pos += n + 1
	case c == '@':
		p.pos++
		p.gap = false
		p.add([]byte("@"), true)
	default:
		n := p.atomLen()
		p.add(p.in[p.pos:p.pos+n], false)
		p.pos += n
	}
}

// add appends a word.
func (p *addressParser) add(word []byte, at bool) {
	if p.gap && len(p.words) > 0 && p.words[len(p.words)-1] != '@' {
		p.words = append(p.words, ' ')
		p.lastGap = len(p.words)
	}
	p.gap = false
	if at {
		p.at = len(p.words)
	}
	p.words = append(p.words, word...)
}

// atomLen is the length of the atom at pos: at least 1. An encoded word is one atom whatever it holds, and so is
// text that raw ISO-2022-JP shifts to two octets a character.
func (p *addressParser) atomLen() int {
	b := p.in[p.pos:]
	if n := text.EncodedWordLen(b); n > 0 {
		return n
	}
	if bytes.HasPrefix(b, []byte("\x1b$")) {
		if n := bytes.Index(b, []byte("\x1b(")); n > 0 {
			return min(n+3, len(b))
		}
		return len(b)
	}
	n := 1
	for n < len(b) {
		switch b[n] {
		case ' ', '\t', ',', ';', ':', '<', '>', '@', '(', '"', '[', 0x1b:
			return n
		case '=':
			if n+1 < len(b) && b[n+1] == '?' {
				return n
			}
		case '\\':
			n++
		}
		n++
	}
	return min(n, len(b))
}

// route reads what stands in angle brackets: an address, perhaps with an obsolete source route.
func (p *addressParser) route() *mailv1.Address {
	outer := *p
	p.words, p.lastGap, p.at, p.gap, p.comment = nil, 0, -1, false, nil
	var adl []byte
loop:
	for p.pos < len(p.in) {
		switch c := p.in[p.pos]; {
		case c == '>':
			p.pos++
			break loop
		case c == ':' && len(p.words) > 0 && p.words[0] == '@' && adl == nil:
			p.pos++
			adl = p.words
			p.words, p.at = nil, -1
		case c == ',' && len(p.words) > 0 && p.words[0] == '@' && adl == nil:
			p.pos++
			p.words = append(p.words, ',')
		case c == ',', c == ';': // the bracket does not close
			break loop
		default:
			p.word(false)
		}
	}
	a := &mailv1.Address{Adl: adl}
	a.Mailbox, a.Host = p.split(0)
	pos, noQuotes, noComments, noLiterals := p.pos, p.noQuotes, p.noComments, p.noLiterals
	*p = outer
	p.pos, p.noQuotes, p.noComments, p.noLiterals = pos, noQuotes, noComments, noLiterals
	return a
}

// split parts the words from a place on into local part and host.
func (p *addressParser) split(from int) (mailbox, host []byte) {
	if p.at < from {
		return present(p.words[from:]), []byte{}
	}
	return present(p.words[from:p.at]), present(p.words[p.at+1:])
}

// finish ends an address.
func (p *addressParser) finish() {
	defer p.reset()
	switch {
	case p.angle != nil:
		a := p.angle
		a.Name = firstOf(p.words, p.comment)
		p.emit(a)
	case p.at >= 0: // "user@host (Name)", or "Name user@host" without brackets
		from := p.lastGap
		if from > p.at {
			from = 0
		}
		a := &mailv1.Address{Name: firstOf(bytes.TrimSpace(p.words[:from]), p.comment)}
		a.Mailbox, a.Host = p.split(from)
		p.emit(a)
	case p.lastGap > 0: // a name alone
		p.emit(&mailv1.Address{Name: p.words, Mailbox: []byte{}, Host: []byte{}})
	case len(p.words) > 0:
		p.emit(&mailv1.Address{Name: firstOf(p.comment), Mailbox: p.words, Host: []byte{}})
	}
}

// firstOf gives the first value that is not empty, or nil.
func firstOf(values ...[]byte) []byte {
	for _, v := range values {
		if len(v) > 0 {
			return v
		}
	}
	return nil
}

// present makes an empty value one that is there.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// quoted reads the quoted string that b begins with (RFC 5322 section 3.2.4).
func quoted(b []byte) (value, rest []byte, closed bool) {
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return value, b[i+1:], true
		case b[i] == '\\' && i+1 < len(b):
			i++
		}
		value = append(value, b[i])
	}
	return value, nil, false
}
