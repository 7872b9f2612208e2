package imapcheck

import "strings"

// messageData reads what FETCH says of a message: "msg-att" of RFC 9051 section 9, and the items of extensions. No item comes twice, unless repeats.
func (s *scanner) messageData(repeats bool) {
	seen := map[string]bool{}
	s.list(1, func() {
		start := s.pos
		name := s.word("FLAGS", "ENVELOPE", "INTERNALDATE", "RFC822.SIZE", "RFC822", "RFC822.HEADER", "RFC822.TEXT", "BODY", "BODYSTRUCTURE",
			"BINARY", "BINARY.SIZE", "UID", "MODSEQ", "EMAILID", "THREADID", "SAVEDATE", "PREVIEW")
		sectioned := s.at("[")
		if sectioned {
			s.section(name)
		}
		if label := s.text[start:s.pos]; seen[label] && !repeats {
			s.fail("%s comes twice", label)
		} else {
			seen[label] = true
		}
		s.sp()
		s.item(name, sectioned)
	})
}

func (s *scanner) item(name string, sectioned bool) {
	switch name {
	case "FLAGS":
		s.list(0, func() { s.flag("Recent") })
	case "ENVELOPE":
		s.envelope()
	case "INTERNALDATE":
		s.dateTime()
	case "SAVEDATE": // RFC 8514 section 4.3
		if !s.try("NIL") {
			s.dateTime()
		}
	case "RFC822.SIZE":
		s.number64()
	case "RFC822", "RFC822.HEADER", "RFC822.TEXT":
		s.octets()
	case "BODYSTRUCTURE":
		s.body(true)
	case "BODY":
		if sectioned {
			s.octets()
		} else {
			s.body(false)
		}
	case "BINARY":
		if s.try("~") {
			s.literal(true)
		} else {
			s.nstring()
		}
	case "BINARY.SIZE":
		s.number32()
	case "UID":
		s.nz()
	case "MODSEQ": // RFC 7162 section 7
		s.list(1, func() { s.nz64() })
	case "EMAILID": // RFC 8474 section 7
		s.list(1, s.objectID)
	case "THREADID":
		if !s.try("NIL") {
			s.list(1, s.objectID)
		}
	case "PREVIEW": // RFC 8970 section 6
		s.nstring()
	}
}

// octets reads what a message holds. A message with NUL is given back as it came, which the grammar does not allow (docs/protocols.md).
func (s *scanner) octets() {
	if s.at("{") {
		s.literal(true)
		return
	}
	s.nstring()
}

// section reads what is in brackets, and where a part of it begins.
func (s *scanner) section(of string) {
	if of != "BODY" && of != "BINARY" && of != "BINARY.SIZE" {
		s.fail("%s with a section", of)
	}
	s.expect("[")
	numbered := false
	for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		s.nz()
		numbered = true
		if s.at("]") {
			break
		}
		if s.expect("."); s.at("]") {
			s.fail("a section ends with a dot")
		}
	}
	if !s.at("]") {
		if of != "BODY" {
			s.fail("%s of more than a part", of)
		}
		switch name := s.word("HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"); {
		case name == "MIME" && !numbered:
			s.fail("MIME without a part")
		case strings.HasPrefix(name, "HEADER.FIELDS"):
			s.sp()
			s.list(1, func() { s.astring() })
		}
	}
	s.expect("]")
	if of != "BINARY.SIZE" && s.try("<") {
		s.number64()
		s.expect(">")
	}
}

func (s *scanner) envelope() {
	s.expect("(")
	s.nstring()
	s.sp()
	s.nstring()
	for range 6 {
		s.sp()
		s.addresses()
	}
	s.sp()
	s.nstring()
	s.sp()
	s.nstring()
	s.expect(")")
}

// addresses have no space between them.
func (s *scanner) addresses() {
	if s.try("NIL") {
		return
	}
	s.expect("(")
	for first := true; first || !s.at(")"); first = false {
		s.expect("(")
		s.nstring()
		for range 3 {
			s.sp()
			s.nstring()
		}
		s.expect(")")
	}
	s.expect(")")
}

// body reads a body structure, with extension data or without.
func (s *scanner) body(extended bool) {
	s.expect("(")
	if s.at("(") {
		for s.at("(") { // parts have no space between them
			s.body(extended)
		}
		s.sp()
		s.string()
		if extended && s.try(" ") {
			s.params()
			s.extension()
		}
	} else {
		s.singlePart(extended)
	}
	s.expect(")")
}

func (s *scanner) singlePart(extended bool) {
	kind := strings.ToLower(s.string())
	s.sp()
	kind += "/" + strings.ToLower(s.string())
	s.sp()
	s.params()
	s.sp()
	s.nstring()
	s.sp()
	s.nstring()
	s.sp()
	s.string()
	s.sp()
	s.number64() // 63 bits are held (RFC 9051 appendix D)
	if kind == "message/rfc822" || kind == "message/global" {
		s.sp()
		s.envelope()
		s.sp()
		s.body(extended)
		s.sp()
		s.number64()
	}
	if strings.HasPrefix(kind, "text/") {
		s.sp()
		s.number64()
	}
	if extended && s.try(" ") {
		s.nstring()
		s.extension()
	}
}

// params are pairs.
func (s *scanner) params() {
	if s.try("NIL") {
		return
	}
	s.list(1, func() {
		s.string()
		s.sp()
		s.string()
	})
}

// extension reads disposition, language and location, each of which comes only behind the one before.
func (s *scanner) extension() {
	if !s.try(" ") {
		return
	}
	if !s.try("NIL") {
		s.expect("(")
		s.string()
		s.sp()
		s.params()
		s.expect(")")
	}
	if !s.try(" ") {
		return
	}
	if s.at("(") {
		s.list(1, func() { s.string() })
	} else {
		s.nstring()
	}
	if s.try(" ") {
		s.nstring()
	}
}
