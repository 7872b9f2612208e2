package imapcheck

import (
	"slices"
	"strings"
)

// mailboxList reads a LIST response (RFC 9051 section 7.3.1), or LSUB.
func (s *scanner) mailboxList() {
	var selectable, children int
	seen := map[string]bool{}
	s.list(0, func() {
		s.expect(`\`)
		name := s.word("NonExistent", "Noselect", "Marked", "Unmarked", "Noinferiors", "HasChildren", "HasNoChildren", "Subscribed", "Remote",
			"NoAccess", "All", "Archive", "Drafts", "Flagged", "Junk", "Sent", "Trash")
		if seen[name] {
			s.fail(`\%s comes twice`, name)
		}
		seen[name] = true
		switch name {
		case "NonExistent", "Noselect", "Marked", "Unmarked":
			selectable++
		case "HasChildren", "HasNoChildren":
			children++
		}
	})
	if selectable > 1 || children > 1 {
		s.fail("attributes that exclude each other")
	}
	s.sp()
	s.delimiter()
	s.sp()
	s.mailbox()
	if s.try(" ") {
		s.list(0, func() {
			switch tag := s.astring(); tag {
			case "CHILDINFO":
				s.sp()
				s.list(1, func() {
					if option := s.quoted(); option != "SUBSCRIBED" && option != "SPECIAL-USE" {
						s.fail("CHILDINFO of %s", option)
					}
				})
			case "OLDNAME":
				s.expect(" (")
				s.mailbox()
				s.expect(")")
			default:
				s.fail("extended item %s", tag)
			}
		})
	}
}

func (s *scanner) delimiter() {
	if s.try("NIL") {
		return
	}
	if d := s.quoted(); len(d) != 1 {
		s.fail("delimiter %q", d)
	}
}

// status reads what STATUS tells (RFC 9051 section 7.3.3, and extensions).
func (s *scanner) status(repeats bool) {
	s.mailbox()
	s.sp()
	seen := map[string]bool{}
	s.list(0, func() {
		name := s.word("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "DELETED-STORAGE", "APPENDLIMIT", "HIGHESTMODSEQ", "MAILBOXID")
		if seen[name] && !repeats {
			s.fail("%s comes twice", name)
		}
		seen[name] = true
		s.sp()
		switch name {
		case "UIDNEXT", "UIDVALIDITY":
			s.nz()
		case "SIZE", "DELETED-STORAGE", "HIGHESTMODSEQ":
			s.number64()
		case "MAILBOXID":
			s.list(1, s.objectID)
		case "APPENDLIMIT":
			if !s.try("NIL") {
				s.number32()
			}
		default:
			s.number32()
		}
	})
}

// namespaces: RFC 9051 section 7.3.2.
func (s *scanner) namespaces() {
	for i := range 3 {
		if i > 0 {
			s.sp()
		}
		if s.try("NIL") {
			continue
		}
		s.expect("(")
		for first := true; first || !s.at(")"); first = false {
			s.expect("(")
			s.string()
			s.sp()
			s.delimiter()
			s.expect(")")
		}
		s.expect(")")
	}
}

// capabilities reads names, none of them twice.
func (s *scanner) capabilities() (names []string) {
	for s.try(" ") {
		name := s.atom()
		if slices.Contains(names, name) {
			s.fail("%s comes twice", name)
		}
		names = append(names, name)
	}
	return names
}

func (s *scanner) offer() {
	if names := s.capabilities(); !slices.Contains(names, "IMAP4rev1") || !slices.Contains(names, "IMAP4rev2") {
		s.fail("capabilities without a version")
	}
}

// found reads what SEARCH and SORT have found (RFC 3501 section 7.2.5, RFC 5256 section 4, RFC 7162 section 7).
func (s *scanner) found() {
	for s.try(" ") {
		if s.try("(MODSEQ ") {
			s.nz64()
			s.expect(")")
			return
		}
		s.nz()
	}
}

// esearch: RFC 9051 section 7.3.4, RFC 7377 section 4, RFC 5267 section 6, RFC 9394 section 4.
func (s *scanner) esearch() {
	if s.try(" (TAG ") {
		s.string()
		if s.try(" MAILBOX ") {
			s.mailbox()
			s.expect(" UIDVALIDITY ")
			s.nz()
		}
		s.expect(")")
	}
	s.try(" UID")
	seen := map[string]bool{}
	for s.try(" ") {
		name := s.word("MIN", "MAX", "ALL", "COUNT", "MODSEQ", "PARTIAL", "ADDTO", "REMOVEFROM")
		update := name == "ADDTO" || name == "REMOVEFROM"
		if seen[name] && !update {
			s.fail("%s comes twice", name)
		}
		seen[name] = true
		s.sp()
		switch name {
		case "MIN", "MAX":
			s.nz()
		case "ALL":
			s.set()
		case "COUNT":
			s.number32()
		case "MODSEQ":
			s.nz64()
		case "PARTIAL":
			s.partial()
		default:
			s.list(1, func() {
				s.number32()
				s.sp()
				s.set()
			})
		}
	}
}

func (s *scanner) partial() {
	s.expect("(")
	last := s.try("-")
	s.nz()
	s.expect(":")
	if last {
		s.expect("-")
	}
	s.nz()
	s.sp()
	if !s.try("NIL") {
		s.set()
	}
	s.expect(")")
}

// threads: RFC 5256 section 5, "thread-data".
func (s *scanner) threads() {
	if !s.try(" ") {
		return
	}
	s.thread()
	for s.at("(") {
		s.thread()
	}
}

func (s *scanner) thread() {
	s.expect("(")
	nested := s.at("(")
	if !nested {
		s.nz()
		for s.try(" ") {
			if nested = s.at("("); nested {
				break
			}
			s.nz()
		}
	}
	if nested {
		s.thread()
		s.thread() // branches are two at least
		for s.at("(") {
			s.thread()
		}
	}
	s.expect(")")
}

// quota: RFC 9208 section 7.
func (s *scanner) quota() {
	s.astring()
	s.sp()
	s.list(1, func() {
		s.atom()
		s.sp()
		s.number64()
		s.sp()
		s.number64()
	})
}

// metadata: RFC 5464 section 5, "metadata-resp".
func (s *scanner) metadata() {
	s.mailbox()
	s.sp()
	if s.at("(") {
		s.list(1, func() {
			s.entry()
			s.sp()
			if s.try("~") {
				s.literal(true)
			} else {
				s.nstring()
			}
		})
		return
	}
	s.entry()
	for s.try(" ") {
		s.entry()
	}
}

func (s *scanner) entry() {
	if name := s.astring(); !strings.HasPrefix(name, "/") {
		s.fail("entry %q", name)
	}
}

// rights: RFC 4314 section 7. none: there may be none.
func (s *scanner) rights(none bool) {
	rights := s.astring()
	if rights == "" && !none {
		s.fail("no rights")
	}
	if i := strings.IndexFunc(rights, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }); i >= 0 {
		s.fail("right %q", rights[i:])
	}
}
