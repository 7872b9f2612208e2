package session

import (
	"slices"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// UIDONLY: RFC 9586. Once it is enabled there are no sequence numbers in commands and responses: FETCH is UIDFETCH, EXPUNGE is VANISHED.
func init() {
	register(extension{
		capabilities: []capability{{name: "UIDONLY", when: whenLoggedIn}},
		enables:      []enable{{name: "UIDONLY", run: (*session).enableUIDOnly}},
	})
}

func (s *session) enableUIDOnly() {
	s.uidOnly = true
	if s.box == nil {
		return
	}
	for _, u := range s.box.contexts { // whose results were numbers so far
		u.uid = true
	}
}

// errUIDRequired answers a command that takes sequence numbers (RFC 9586 section 3).
var errUIDRequired = &wire.SyntaxError{Code: "UIDREQUIRED", Text: "there are no sequence numbers after ENABLE UIDONLY"}

// sequenceCommands have a form for UIDs.
var sequenceCommands = []string{"FETCH", "STORE", "SEARCH", "COPY", "MOVE", "SORT", "THREAD", "REPLACE"}

// numbersAllowed tells whether a command may come.
func (s *session) numbersAllowed(command string) bool {
	return !s.uidOnly || !slices.Contains(sequenceCommands, command)
}

// beginFetch begins a FETCH response, or what stands for it. The parenthesis is open.
func (s *session) beginFetch(seq, uid uint32) {
	if s.uidOnly {
		s.enc.Star().Num(uint64(uid)).Raw(" UIDFETCH (")
		return
	}
	s.enc.Star().Num(uint64(seq)).Raw(" FETCH (")
}
