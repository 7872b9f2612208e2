package session

// UTF8=ACCEPT: RFC 6855. Strings and mailbox names are UTF-8 in both directions, as in IMAP4rev2. APPEND takes the data in UTF8 (...),
// and stores what it gets, as without.
func init() {
	register(extension{
		capabilities: []capability{{name: "UTF8=ACCEPT", when: whenLoggedIn}},
		enables: []enable{{name: "UTF8=ACCEPT", run: func(s *session) {
			s.utf8 = true
			s.enc.UTF8, s.dec.UTF8 = true, true
		}}},
	})
}
