package wire

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/yubin-mail/yubin/services/imap/internal/utf7"
)

// Character classes of RFC 9051 section 9.

func isAtomChar(c byte) bool {
	if c <= 0x20 || c >= 0x7f {
		return false
	}
	switch c {
	case '(', ')', '{', '%', '*', '"', '\\', ']':
		return false
	}
	return true
}

func isAStringChar(c byte) bool { return isAtomChar(c) || c == ']' }

func isTagChar(c byte) bool { return isAStringChar(c) && c != '+' }

// isNameChar is isAtomChar without what ends the name of a FETCH item.
func isNameChar(c byte) bool { return isAtomChar(c) && c != '[' && c != '<' }

// isTolerantChar also takes the raw 8-bit octets that some clients send.
func isTolerantChar(c byte) bool { return isAStringChar(c) || c >= 0x80 }

func isListChar(c byte) bool { return isTolerantChar(c) || c == '%' || c == '*' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// token reads the longest run of octets of a class, which may be empty.
func (d *Decoder) token(class func(byte) bool, limit int) string {
	d.scratch = d.scratch[:0]
	for {
		c := d.Peek()
		if d.err != nil {
			return ""
		}
		if !class(c) {
			return string(d.scratch)
		}
		if len(d.scratch) >= limit {
			d.Fail("token too long")
			return ""
		}
		d.next()
		d.scratch = append(d.scratch, c)
	}
}

func (d *Decoder) require(class func(byte) bool, limit int, what string) string {
	s := d.token(class, limit)
	if s == "" {
		d.Fail("expected %s", what)
		return ""
	}
	d.count()
	return s
}

// Special reads the octet c.
func (d *Decoder) Special(c byte) {
	if !d.TrySpecial(c) {
		d.Fail("expected %q", c)
	}
}

// TrySpecial reads the octet c if it is next.
func (d *Decoder) TrySpecial(c byte) bool {
	if d.Peek() != c || d.err != nil {
		return false
	}
	d.next()
	return d.err == nil
}

// SP reads one space.
func (d *Decoder) SP() {
	if !d.TrySpecial(' ') {
		d.Fail("missing argument")
	}
}

// TrySP reads one space if it is next.
func (d *Decoder) TrySP() bool { return d.TrySpecial(' ') }

// Atom reads an atom.
func (d *Decoder) Atom() string { return d.require(isAtomChar, d.lim.Line, "atom") }

// Keyword reads an atom of the protocol itself, in upper case.
func (d *Decoder) Keyword() string {
	return strings.ToUpper(d.require(isNameChar, maxKeyword, "keyword"))
}

// AString reads an atom or a string. Octets above 127 are let through.
func (d *Decoder) AString() string {
	switch d.Peek() {
	case '"', '{':
		return d.String()
	}
	return d.require(isTolerantChar, d.lim.Line, "string")
}

// String reads a quoted string or a literal. Octets above 127 are let through, in a quoted string if they are UTF-8 or in the charset of a search.
func (d *Decoder) String() string {
	switch d.Peek() {
	case '"':
		d.count()
		return d.quoted()
	case '{':
		d.count()
		return d.literalString()
	}
	d.Fail("expected string")
	return ""
}

func (d *Decoder) quoted() string {
	d.Special('"')
	d.scratch = d.scratch[:0]
	for {
		c := d.Peek()
		switch {
		case d.err != nil:
			return ""
		case c == '"':
			d.next()
			if d.charset.enc == nil && !utf8.Valid(d.scratch) {
				d.Fail("quoted string is not UTF-8") // RFC 6855 section 3
				return ""
			}
			return string(d.scratch)
		case c == '\\':
			d.next()
			if c = d.Peek(); c != '"' && c != '\\' {
				d.Fail("invalid escape in quoted string")
				return ""
			}
		case c == 0 || c == '\r' || c == '\n':
			d.Fail("invalid octet in quoted string")
			return ""
		}
		d.next()
		d.scratch = append(d.scratch, c)
	}
}

// NString reads a string or NIL, which is !ok.
func (d *Decoder) NString() (s string, ok bool) {
	switch d.Peek() {
	case '"', '{':
		s = d.String()
		return s, d.err == nil
	}
	if d.Keyword() != "NIL" {
		d.Fail("expected string or NIL")
	}
	return "", false
}

// Number reads an unsigned 32-bit number.
func (d *Decoder) Number() uint32 { return uint32(d.number(1<<32 - 1)) }

// NzNumber reads an unsigned 32-bit number that is not zero, nor begins with a zero.
func (d *Decoder) NzNumber() uint32 {
	d.noZero()
	return d.Number()
}

// noZero refuses a number that begins with a zero (RFC 9051 section 9, "digit-nz").
func (d *Decoder) noZero() {
	if d.Peek() == '0' {
		d.Fail("number must not begin with zero")
	}
}

// Number64 reads an unsigned 63-bit number.
func (d *Decoder) Number64() uint64 { return d.number(1<<63 - 1) }

func (d *Decoder) number(limit uint64) uint64 {
	if !isDigit(d.Peek()) {
		d.Fail("expected number")
		return 0
	}
	var n uint64
	for isDigit(d.Peek()) {
		digit := uint64(d.Peek() - '0')
		if n > (limit-digit)/10 {
			d.Fail("number too large")
			return 0
		}
		n = n*10 + digit
		d.next()
	}
	if d.err != nil {
		return 0
	}
	return n
}

// Mailbox reads a mailbox name and returns it in UTF-8, INBOX in upper case. Raw UTF-8 is taken in any mode.
func (d *Decoder) Mailbox() string {
	name := d.mailboxName(d.AString())
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// ListMailbox reads a mailbox name with LIST wildcards. It is not decoded yet.
func (d *Decoder) ListMailbox() string {
	switch d.Peek() {
	case '"', '{':
		return d.String()
	}
	return d.require(isListChar, d.lim.Line, "mailbox pattern")
}

// mailboxName decodes a name. What is no UTF-8 can be nobody's: the command is refused, as it is well-formed (RFC 9051 section 6.3.4).
func (d *Decoder) mailboxName(s string) string {
	name := d.decodeName(s)
	if !utf8.ValidString(name) {
		d.Refuse("CANNOT", "mailbox name is not UTF-8")
		return ""
	}
	return name
}

func (d *Decoder) decodeName(s string) string {
	if d.UTF8 {
		return s
	}
	return utf7.DecodeTolerant(s)
}

// Flag reads a flag or keyword. The flags of RFC 9051 section 2.3.2 come in their usual case.
func (d *Decoder) Flag() string {
	if d.TrySpecial('\\') {
		return CanonicalFlag("\\" + d.require(isAtomChar, maxKeyword, "flag"))
	}
	return d.require(isAtomChar, maxKeyword, "flag")
}

// CanonicalFlag returns a system flag in its usual case, anything else as it is.
func CanonicalFlag(flag string) string {
	if !strings.HasPrefix(flag, "\\") {
		return flag
	}
	for _, f := range [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, `\Recent`} {
		if strings.EqualFold(f, flag) {
			return f
		}
	}
	return flag
}

// FlagList reads flags in parentheses.
func (d *Decoder) FlagList() []string {
	var flags []string
	d.List(func() { flags = append(flags, d.Flag()) })
	return flags
}

// List reads a parenthesised list, which may be empty; f reads one element.
func (d *Decoder) List(f func()) {
	d.enter()
	defer d.leave()
	d.Special('(')
	if d.TrySpecial(')') {
		return
	}
	for d.err == nil {
		d.count()
		f()
		if d.TrySpecial(')') {
			return
		}
		d.SP()
	}
}

// Date reads a date such as 1-Feb-1994, quoted or not. The time is midnight UTC.
func (d *Decoder) Date() time.Time {
	quoted := d.TrySpecial('"')
	text := d.require(isAtomChar, len("02-Jan-2006"), "date")
	if quoted {
		d.Special('"')
	}
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("2-Jan-2006", text)
	if err != nil {
		d.Fail("invalid date")
		return time.Time{}
	}
	return t
}

const (
	dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"
	dateLength     = len("_2-Jan-2006")
)

// DateTime reads a date-time such as "17-Jul-1996 02:44:25 -0700".
func (d *Decoder) DateTime() time.Time {
	d.count()
	text := d.quoted()
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(dateTimeLayout, text)
	// Parse also takes more spaces, hours of one digit, and fractions of a second.
	if err != nil || len(text) != len(dateTimeLayout) || !isDigit(text[dateLength+1]) || text[dateLength+3] != ':' || text[dateLength+9] != ' ' {
		d.Fail("invalid date-time")
		return time.Time{}
	}
	return t
}
