package session

import "testing"

// TestKeywordsOfNewMessages: a client hears of a keyword before it meets it, wherever it comes from (RFC 9051 section 7.3.5).
func TestKeywordsOfNewMessages(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k, other := g.selected("INBOX"), g.login()
	other.ok("APPEND INBOX ($Work) {%d+}\r\n%s", len(mail1), mail1)
	const offers = `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] flags that are kept`
	k.expect("NOOP", "* 2 EXISTS", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)`, offers, "OK")
	other.ok("APPEND INBOX ($Work) {%d+}\r\n%s", len(mail1), mail1)
	k.expect("NOOP", "* 3 EXISTS", "OK")
	g.storage.remove("INBOX", 1)
	other.ok("APPEND INBOX ($Home) {%d+}\r\n%s", len(mail1), mail1)
	k.expect("NOOP", "* 1 EXPUNGE", "* 3 EXISTS", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work $Home)`,
		`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work $Home \*)] flags that are kept`, "OK")
}
