package session

import "testing"

// TestEnvelopesOfStrangeMessages: RFC 9051 section 7.5.2, NIL is absent and "" is empty; other choices are in docs/protocols.md (f).
func TestEnvelopesOfStrangeMessages(t *testing.T) {
	const bob = `(("Bob" NIL "bob" "example.test"))`
	for name, c := range map[string]struct{ header, want string }{
		"nothing":          {"X: y\r\n", `NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL`},
		"empty fields":     {"Date:\r\nSubject: \r\nIn-Reply-To:\r\nMessage-ID:\t\r\nTo:\r\nFrom:\r\n", `"" "" NIL NIL NIL NIL NIL NIL "" ""`},
		"folded":           {"Subject: a\r\n b\r\n\tc\r\nFrom: Bob <bob@example.test>\r\n", `NIL "a b c" ` + bob + ` ` + bob + ` ` + bob + ` NIL NIL NIL NIL NIL`},
		"twice":            {"Subject: first\r\nSubject: second\r\nTo: a@b\r\nTo: c@d\r\n", `NIL "first" NIL NIL NIL ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL`},
		"empty, then more": {"Subject:\r\nSubject: second\r\n", `NIL "" NIL NIL NIL NIL NIL NIL NIL NIL`},
		"group":            {"To: Friends: a@b;, c@d\r\n", `NIL NIL NIL NIL NIL ((NIL NIL "Friends" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)(NIL NIL "c" "d")) NIL NIL NIL NIL`},
		"empty group":      {"To: undisclosed-recipients:;\r\n", `NIL NIL NIL NIL NIL ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL`},
		"route":            {"To: <@one,@two:a@b>\r\n", `NIL NIL NIL NIL NIL ((NIL "@one,@two" "a" "b")) NIL NIL NIL NIL`},
		"no domain":        {"To: alice\r\n", `NIL NIL NIL NIL NIL ((NIL NIL "alice" "")) NIL NIL NIL NIL`},
		"comment":          {"To: a@b (Alice (of) B)\r\n", `NIL NIL NIL NIL NIL (("Alice (of) B" NIL "a" "b")) NIL NIL NIL NIL`},
		"raw octets":       {"Subject: caf\xc3\xa9\r\n", `NIL "=?utf-8?b?Y2Fmw6k=?=" NIL NIL NIL NIL NIL NIL NIL NIL`},
		"quotes":           {"To: \"a \\\"b\\\" c\" <a@b>\r\nSubject: x \"y\" \\z\r\n", `NIL "x \"y\" \\z" NIL NIL NIL (("a \"b\" c" NIL "a" "b")) NIL NIL NIL NIL`},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.storage.deliver("INBOX", c.header+"\r\nbody\r\n")
			g.selected("INBOX").expect("FETCH 1 ENVELOPE", "* 1 FETCH (ENVELOPE ("+c.want+"))", "OK")
		})
	}
}
