package imapcheck

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// syntaxError is what a scanner panics with; Response makes an error of it.
type syntaxError string

// scanner reads one response, and panics with a syntaxError where the grammar does not allow what comes.
type scanner struct {
	text string
	pos  int
	utf8 bool // strings may be UTF-8
}

func (s *scanner) fail(format string, args ...any) {
	panic(syntaxError(fmt.Sprintf(format, args...) + fmt.Sprintf(" at octet %d", s.pos)))
}

func (s *scanner) rest() string { return s.text[s.pos:] }

func (s *scanner) at(prefix string) bool { return strings.HasPrefix(s.rest(), prefix) }

// try reads text if it is next, in exactly this case.
func (s *scanner) try(text string) bool {
	if !s.at(text) {
		return false
	}
	s.pos += len(text)
	return true
}

func (s *scanner) expect(text string) {
	if !s.try(text) {
		s.fail("expected %q", text)
	}
}

func (s *scanner) sp() { s.expect(" ") }

// list reads what is in parentheses, at least so many elements, with one space between two.
func (s *scanner) list(least int, element func()) {
	s.expect("(")
	n := 0
	for !s.at(")") {
		if n > 0 {
			s.sp()
		}
		element()
		n++
	}
	s.expect(")")
	if n < least {
		s.fail("a list of %d", n)
	}
}

// Character classes of RFC 9051 section 9.

func isAtomChar(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(c))
}

func isAStringChar(c byte) bool { return isAtomChar(c) || c == ']' }

func isTagChar(c byte) bool { return isAStringChar(c) && c != '+' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isObjectChar: RFC 8474 section 7.
func isObjectChar(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// run reads at least one octet of a class.
func (s *scanner) run(class func(byte) bool, what string) string {
	start := s.pos
	for s.pos < len(s.text) && class(s.text[s.pos]) {
		s.pos++
	}
	if s.pos == start {
		s.fail("expected %s", what)
	}
	return s.text[start:s.pos]
}

func (s *scanner) atom() string { return s.run(isAtomChar, "atom") }

// number reads one up to a limit, without leading zeros, which are of no use.
func (s *scanner) number(limit uint64) uint64 {
	digits := s.run(isDigit, "number")
	if len(digits) > 1 && digits[0] == '0' {
		s.fail("number %s begins with zero", digits)
	}
	var n uint64
	for _, d := range []byte(digits) {
		if n > (limit-uint64(d-'0'))/10 {
			s.fail("number %s is too large", digits)
		}
		n = n*10 + uint64(d-'0')
	}
	return n
}

func (s *scanner) number32() uint64 { return s.number(1<<32 - 1) }

func (s *scanner) number64() uint64 { return s.number(1<<63 - 1) }

func (s *scanner) nz() uint64 { return s.notZero(s.number32()) }

func (s *scanner) nz64() { s.notZero(s.number64()) }

func (s *scanner) notZero(n uint64) uint64 {
	if n == 0 {
		s.fail("number is zero")
	}
	return n
}

// set reads a set of numbers without "*", and gives how many they are.
func (s *scanner) set() (count uint64) {
	for {
		low := s.nz()
		high := low
		if s.try(":") {
			high = s.nz()
		}
		count += max(low, high) - min(low, high) + 1
		if !s.try(",") {
			return count
		}
	}
}

func (s *scanner) quoted() string {
	s.expect(`"`)
	var out []byte
	for {
		if s.pos >= len(s.text) {
			s.fail("quoted string has no end")
		}
		c := s.text[s.pos]
		s.pos++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				s.fail("quoted string %q is not UTF-8", out)
			}
			return string(out)
		case c == '\\':
			if !s.at(`"`) && !s.at(`\`) {
				s.fail("escape in a quoted string")
			}
			c = s.text[s.pos]
			s.pos++
		case c == 0, c == '\r', c == '\n', c >= 0x80 && !s.utf8:
			s.fail("octet %#x in a quoted string", c)
		}
		out = append(out, c)
	}
}

// literal reads one; nul: it may hold NUL.
func (s *scanner) literal(nul bool) string {
	s.expect("{")
	n := s.number64()
	s.expect("}\r\n")
	if uint64(len(s.rest())) < n {
		s.fail("literal of %d octets is cut", n)
	}
	text := s.rest()[:n]
	if !nul && strings.IndexByte(text, 0) >= 0 {
		s.fail("NUL in a literal")
	}
	s.pos += int(n)
	return text
}

func (s *scanner) string() string {
	if s.at("{") {
		return s.literal(false)
	}
	return s.quoted()
}

func (s *scanner) nstring() {
	if !s.try("NIL") {
		s.string()
	}
}

func (s *scanner) astring() string {
	if s.at("{") || s.at(`"`) {
		return s.string()
	}
	return s.run(isAStringChar, "astring")
}

// mailbox reads a name: UTF-8, or before that was enabled printable US-ASCII (RFC 3501 section 5.1.3).
func (s *scanner) mailbox() {
	name := s.astring()
	if strings.EqualFold(name, "INBOX") && name != "INBOX" {
		s.fail("INBOX is %s", name)
	}
	if !utf8.ValidString(name) {
		s.fail("mailbox %q is not UTF-8", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 && !s.utf8 {
		s.fail("mailbox %q is not modified UTF-7", name)
	}
}

// word reads one of some words.
func (s *scanner) word(words ...string) string {
	w := s.run(func(c byte) bool { return isAtomChar(c) && c != '[' && c != '<' }, "word")
	if !slices.Contains(words, w) {
		s.fail("%q is none of %s", w, strings.Join(words, " "))
	}
	return w
}

// flag reads a flag that servers may say (RFC 9051 section 9, "flag"), or one of more.
func (s *scanner) flag(more ...string) {
	if !s.try(`\`) {
		s.atom()
		return
	}
	name := "*"
	if !s.try("*") {
		name = s.atom()
	}
	if known := append([]string{"Answered", "Flagged", "Deleted", "Seen", "Draft"}, more...); !slices.Contains(known, name) {
		s.fail(`flag \%s`, name)
	}
}

// dateTime: RFC 9051 section 9, "date-time".
func (s *scanner) dateTime() {
	const form = `"dd-Mon-yyyy hh:mm:ss +zzzz"`
	text := s.rest()
	if len(text) < len(form) {
		s.fail("date-time is cut")
	}
	for i := range len(form) {
		c := text[i]
		ok := c == form[i]
		switch form[i] {
		case 'd', 'y', 'h', 'm', 's', 'z':
			ok = isDigit(c) || i == 1 && c == ' '
		case 'M', 'o', 'n':
			ok = true
		case '+':
			ok = c == '+' || c == '-'
		}
		if !ok {
			s.fail("date-time %s", text[:len(form)])
		}
	}
	if !slices.Contains(strings.Fields("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"), text[4:7]) {
		s.fail("month %s", text[4:7])
	}
	s.pos += len(form)
}

// objectID: RFC 8474 section 7.
func (s *scanner) objectID() {
	if id := s.run(isObjectChar, "object id"); len(id) > 255 {
		s.fail("object id of %d octets", len(id))
	}
}

// plain reads text to the end of the line.
func (s *scanner) plain() string {
	start := s.pos
	for !s.at("\r\n") {
		if s.pos >= len(s.text) {
			s.fail("line has no end")
		}
		if c := s.text[s.pos]; c == 0 || c == '\r' || c == '\n' || c >= 0x80 && !s.utf8 {
			s.fail("octet %#x in text", c)
		}
		s.pos++
	}
	text := s.text[start:s.pos]
	if !utf8.ValidString(text) {
		s.fail("text %q is not UTF-8", text)
	}
	return text
}

// end reads the end of the response.
func (s *scanner) end() {
	s.expect("\r\n")
	if s.pos != len(s.text) {
		s.fail("more behind the end")
	}
}
