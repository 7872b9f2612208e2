// Package imapcheck reads what an IMAP server says strictly by the formal syntax of RFC 9051 section 9 and of the extensions that Yubin has, for
// tests. Client libraries are lenient, and take much that others stumble over. It also follows the size of the mailbox: no number lies
// outside, and it shrinks by EXPUNGE and VANISHED only (RFC 9051 section 5.2).
package imapcheck

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// none is the size of the mailbox when none is selected.
const none = -1

// Checker takes the octets of one connection by Write, and reports each response that is wrong. It must not be used by two goroutines at once.
type Checker struct {
	// Repeats: the client may have asked for an item twice, and gets it twice.
	Repeats bool

	report  func(err error)
	pending []byte
	greeted bool
	// What the client has enabled.
	utf8, rev2, uidOnly bool
	exists              int // messages, or none
}

// New gives a checker of a connection before its greeting.
func New(report func(err error)) *Checker {
	return &Checker{report: report, exists: none}
}

// Write implements io.Writer. It never fails.
func (c *Checker) Write(p []byte) (int, error) {
	c.pending = append(c.pending, p...)
	for {
		n := responseEnd(c.pending)
		if n == 0 {
			return len(p), nil
		}
		response := string(c.pending[:n])
		c.pending = c.pending[n:]
		if err := c.Response(response); err != nil {
			c.report(fmt.Errorf("%w in %q", err, response))
		}
	}
}

// responseEnd gives where the first response ends, its literals included; 0: it is not there yet.
func responseEnd(data []byte) int {
	pos := 0
	for {
		i := bytes.IndexByte(data[pos:], '\n')
		if i < 0 {
			return 0
		}
		line := bytes.TrimSuffix(data[pos:pos+i], []byte("\r"))
		pos += i + 1
		open := bytes.LastIndexByte(line, '{')
		if !bytes.HasSuffix(line, []byte("}")) || open < 0 {
			return pos
		}
		n, err := strconv.ParseUint(string(line[open+1:len(line)-1]), 10, 31)
		if err != nil {
			return pos
		}
		if pos += int(n); pos > len(data) {
			return 0
		}
	}
}

// Response checks one response with its line end, and notes what it changes.
func (c *Checker) Response(text string) error {
	return read(text, c.utf8, c.response)
}

func (c *Checker) response(s *scanner) {
	switch {
	case !c.greeted:
		s.expect("* ")
		c.condition(s, "OK", "PREAUTH", "BYE")
		c.greeted = true
	case s.try("+ "):
		if !s.at("\r\n") {
			c.respText(s)
		}
	case s.try("* "):
		c.untagged(s)
	default:
		s.run(isTagChar, "tag")
		s.sp()
		c.tagged(s)
	}
}

// read makes an error of what a scanner panics with.
func read(text string, allowUTF8 bool, by func(*scanner)) (err error) {
	s := &scanner{text: text, utf8: allowUTF8}
	defer func() {
		if p := recover(); p != nil {
			failed, ok := p.(syntaxError)
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("response is not as the grammar has it: %s", string(failed))
		}
	}()
	by(s)
	s.end()
	return nil
}

// tagged reads how a command ended; what that changes in the connection shows in the words of our own server.
func (c *Checker) tagged(s *scanner) {
	if c.condition(s, "OK", "NO", "BAD") != "OK" {
		return
	}
	switch {
	case strings.HasSuffix(s.text, " CLOSE completed\r\n"), strings.HasSuffix(s.text, " UNSELECT completed\r\n"):
		c.exists = none
	case strings.HasSuffix(s.text, " UNAUTHENTICATE completed\r\n"):
		c.exists, c.utf8, c.rev2, c.uidOnly = none, false, false, false
	}
}

// condition reads a status response.
func (c *Checker) condition(s *scanner, words ...string) string {
	word := s.word(words...)
	s.sp()
	c.respText(s)
	return word
}

// respText reads a code and a text, which IMAP4rev1 always has (RFC 3501 section 9, "resp-text").
func (c *Checker) respText(s *scanner) {
	if s.try("[") {
		c.code(s)
		s.expect("] ")
	}
	if s.plain() == "" {
		s.fail("no text")
	}
}

func (c *Checker) untagged(s *scanner) {
	if s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		c.numbered(s)
		return
	}
	word := s.word("OK", "NO", "BAD", "BYE", "CAPABILITY", "ENABLED", "FLAGS", "LIST", "LSUB", "SEARCH", "SORT", "THREAD", "ESEARCH", "STATUS", "NAMESPACE",
		"ID", "QUOTA", "QUOTAROOT", "METADATA", "ACL", "LISTRIGHTS", "MYRIGHTS", "VANISHED")
	switch word {
	case "CAPABILITY":
		s.offer()
		return
	case "ENABLED":
		c.enabled(s.capabilities())
		return
	case "ESEARCH":
		s.esearch()
		return
	case "SEARCH":
		if c.rev2 {
			s.fail("SEARCH in IMAP4rev2")
		}
		s.found()
		return
	case "SORT":
		s.found()
		return
	case "THREAD":
		s.threads()
		return
	}
	s.sp()
	switch word {
	case "OK", "NO", "BAD", "BYE":
		c.respText(s)
	case "FLAGS":
		s.list(0, func() { s.flag() })
	case "LIST", "LSUB":
		s.mailboxList()
	case "STATUS":
		s.status(c.Repeats)
	case "NAMESPACE":
		s.namespaces()
	case "ID": // RFC 2971 section 4
		if !s.try("NIL") {
			s.list(0, func() {
				s.string()
				s.sp()
				s.nstring()
			})
		}
	case "QUOTA":
		s.quota()
	case "QUOTAROOT":
		s.mailbox()
		for s.try(" ") {
			s.astring()
		}
	case "METADATA":
		s.metadata()
	case "ACL":
		s.mailbox()
		for s.try(" ") {
			s.astring()
			s.sp()
			s.rights(true)
		}
	case "LISTRIGHTS":
		s.mailbox()
		s.sp()
		s.astring()
		for first := true; first || s.at(" "); first = false {
			s.sp()
			s.rights(first)
		}
	case "MYRIGHTS":
		s.mailbox()
		s.sp()
		s.rights(true)
	case "VANISHED":
		c.vanished(s)
	}
}

func (c *Checker) enabled(names []string) {
	for _, name := range names {
		switch name {
		case "IMAP4rev2":
			c.rev2, c.utf8 = true, true
		case "UTF8=ACCEPT":
			c.utf8 = true
		case "UIDONLY":
			c.uidOnly = true
		}
	}
}

// numbered reads what begins with a number.
func (c *Checker) numbered(s *scanner) {
	n := int(s.number32())
	s.sp()
	word := s.word("EXISTS", "RECENT", "EXPUNGE", "FETCH", "UIDFETCH")
	switch word {
	case "EXISTS":
		if n < c.exists {
			s.fail("%d messages become %d without EXPUNGE", c.exists, n)
		}
		c.exists = n
		return
	case "RECENT":
		if c.rev2 {
			s.fail("RECENT in IMAP4rev2")
		}
		return
	case "UIDFETCH": // RFC 9586 section 4
		if !c.uidOnly || n == 0 {
			s.fail("UIDFETCH")
		}
	default:
		if c.uidOnly {
			s.fail("a sequence number with UIDONLY")
		}
		if n == 0 || n > c.exists {
			s.fail("number %d of %d messages", n, c.exists)
		}
	}
	if word == "EXPUNGE" {
		c.exists--
		return
	}
	s.sp()
	s.messageData(c.Repeats)
}

// vanished: RFC 7162 section 7.
func (c *Checker) vanished(s *scanner) {
	earlier := s.try("(EARLIER) ")
	n := int(s.set())
	if earlier {
		return
	}
	if n > c.exists {
		s.fail("%d of %d messages have vanished", n, c.exists)
	}
	c.exists -= n
}

// Envelope checks an envelope alone.
func Envelope(text string, allowUTF8 bool) error {
	return read(text+"\r\n", allowUTF8, (*scanner).envelope)
}

// Body checks a body structure alone, with extension data or without.
func Body(text string, extended, allowUTF8 bool) error {
	return read(text+"\r\n", allowUTF8, func(s *scanner) { s.body(extended) })
}
