package imapcheck

import (
	"slices"
	"strings"
)

// plainCodes are the response codes without arguments: RFC 9051 section 7.1, and those of extensions.
var plainCodes = []string{
	"ALERT", "ALREADYEXISTS", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "CANNOT", "CLIENTBUG", "CLOSED", "CONTACTADMIN", "CORRUPTION", "EXPIRED",
	"EXPUNGEISSUED", "HASCHILDREN", "INUSE", "LIMIT", "NONEXISTENT", "NOPERM", "NOTSAVED", "OVERQUOTA", "PARSE", "PRIVACYREQUIRED", "READ-ONLY",
	"READ-WRITE", "SERVERBUG", "TRYCREATE", "UIDNOTSTICKY", "UNAVAILABLE", "UNKNOWN-CTE",
	"COMPRESSIONACTIVE", "NOMODSEQ", "NOTIFICATIONOVERFLOW", "TOOBIG", "UIDREQUIRED", "USEATTR",
}

// code reads a response code without its brackets.
func (c *Checker) code(s *scanner) {
	switch name := s.atom(); name {
	case "BADCHARSET":
		if s.try(" ") {
			s.list(1, func() {
				if s.at(`"`) {
					s.quoted()
				} else {
					s.atom()
				}
			})
		}
	case "CAPABILITY":
		s.offer()
	case "PERMANENTFLAGS":
		s.sp()
		s.list(0, func() { s.flag("*") })
	case "UIDNEXT", "UIDVALIDITY":
		s.sp()
		s.nz()
	case "UNSEEN":
		if c.rev2 {
			s.fail("UNSEEN in IMAP4rev2")
		}
		s.sp()
		s.nz()
	case "HIGHESTMODSEQ": // RFC 7162 section 7
		s.sp()
		s.nz64()
	case "MAILBOXID": // RFC 8474 section 7
		s.sp()
		s.list(1, s.objectID)
	case "APPENDUID":
		s.sp()
		s.nz()
		s.sp()
		start := s.pos
		if n := s.set(); n == 1 && strings.Contains(s.text[start:s.pos], ":") {
			s.fail("a range of one message")
		}
	case "COPYUID":
		s.sp()
		s.nz()
		s.sp()
		from := s.set()
		s.sp()
		if to := s.set(); from != to {
			s.fail("%d messages became %d", from, to)
		}
	case "MODIFIED": // RFC 7162 section 7
		s.sp()
		s.set()
	case "NOUPDATE": // RFC 5267 section 6
		s.sp()
		s.quoted()
	case "BADURL": // RFC 4469 section 5
		s.sp()
		s.run(func(b byte) bool { return b != ']' && b != 0 && b != '\r' && b != '\n' && b != '\\' }, "URL")
	case "BADEVENT": // RFC 5465 section 8
		s.sp()
		s.list(1, func() { s.atom() })
	case "INPROGRESS": // RFC 9585 section 5
		if s.try(" ") {
			s.expect("(")
			if !s.try("NIL") {
				s.quoted()
			}
			for range 2 {
				s.sp()
				if !s.try("NIL") {
					s.number32()
				}
			}
			s.expect(")")
		}
	case "MESSAGELIMIT": // RFC 9738 section 5
		s.sp()
		s.nz()
		if s.try(" ") {
			s.nz()
		}
	case "METADATA": // RFC 5464 section 5
		s.sp()
		if word := s.word("LONGENTRIES", "MAXSIZE", "TOOMANY", "NOPRIVATE"); word == "LONGENTRIES" || word == "MAXSIZE" {
			s.sp()
			s.number32()
		}
	default:
		if !slices.Contains(plainCodes, name) {
			s.fail("unknown response code %s", name)
		}
		if name == "CLOSED" {
			c.exists = none
		}
	}
}
