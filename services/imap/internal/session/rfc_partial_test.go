package session

import (
	"strings"
	"testing"
)

// TestPartialThenChangedSince: RFC 9394 section 3.4, the part is of all messages, of which those that have changed are shown, in whatever order the two
// are asked for.
func TestPartialThenChangedSince(t *testing.T) {
	g := newGateway(t)
	for range 6 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.ok("ENABLE CONDSTORE")
	k.ok(`STORE 1,5 +FLAGS.SILENT (\Seen)`)
	const five = `* 5 FETCH (UID 5 FLAGS (\Seen) MODSEQ (8))`
	k.expect("UID FETCH 1:* (UID FLAGS) (PARTIAL -1:-3 CHANGEDSINCE 7)", five, "OK")
	k.expect("UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 7 PARTIAL -1:-3)", five, "OK")
	k.expect("UID FETCH 1:* (UID FLAGS) (PARTIAL 2:4 CHANGEDSINCE 7)", "OK")
	k.expect("UID FETCH 1:* (UID FLAGS) (PARTIAL 1:4294967295 CHANGEDSINCE 7)", `* 1 FETCH (UID 1 FLAGS (\Seen) MODSEQ (8))`, five, "OK")
}

// TestMessageLimitCodes: RFC 9738 section 3.1, a part that is too large is refused whole, and a second code comes in a NO of its own.
func TestMessageLimitCodes(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.Messages = 3 })
	for range 6 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.expect("UID FETCH 1:* (UID FLAGS) (PARTIAL -1:-4)", "NO [MESSAGELIMIT 3] ")
	k.expect("UID FETCH 1:* UID (PARTIAL -1:-2)", "* 5 FETCH (UID 5)", "* 6 FETCH (UID 6)", "OK UID FETCH completed")
	g.storage.mu.Lock() // another session, of which no notice has come yet
	box, err := g.storage.named("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	box.remove(func(m *memoryMessage) bool { return m.state.Uid == 5 })
	g.storage.mu.Unlock()
	k.expect("FETCH 1:6 BODY.PEEK[TEXT]", "* 4 FETCH (BODY[TEXT] {13}", "First body.", ")", "* 6 FETCH (BODY[TEXT] {13}", "First body.", ")",
		"* NO [MESSAGELIMIT 3 4] not all messages were taken", "OK [EXPUNGEISSUED] ")
	k.expect("NOOP", "* 5 EXPUNGE", "OK")
	// Of what UID EXPUNGE is given only what has \\Deleted counts, so that a client comes to an end that says the same again.
	k.ok(`UID STORE 1:2 +FLAGS.SILENT (\Deleted)`)
	k.expect("UID EXPUNGE 1:*", "* 2 EXPUNGE", "* 1 EXPUNGE", "OK UID EXPUNGE completed")
	for range 3 {
		g.storage.deliver("INBOX", mail1) // behind 3, 4 and 6 are 7, 8 and 9
	}
	k.expect("UID EXPUNGE 1:*", "* 6 EXISTS", "OK UID EXPUNGE completed")
	k.ok(`UID STORE 1:6 +FLAGS.SILENT (\Deleted)`)
	k.ok(`UID STORE 7:9 +FLAGS.SILENT (\Deleted)`)
	k.expect("UID EXPUNGE 1:*", "* 6 EXPUNGE", "* 5 EXPUNGE", "* 4 EXPUNGE", "OK [MESSAGELIMIT 3 7] ")
	k.expect("UID EXPUNGE 1:*", "* 3 EXPUNGE", "* 2 EXPUNGE", "* 1 EXPUNGE", "OK UID EXPUNGE completed")
	// MULTIAPPEND is of all or none.
	k.send("m APPEND INBOX {5+}\r\na:b\r\n {5+}\r\na:b\r\n {5+}\r\na:b\r\n {5+}\r\na:b\r\n\r\n")
	if lines := k.until("m "); !strings.HasPrefix(lines[len(lines)-1], "m NO [MESSAGELIMIT 3]") {
		t.Errorf("APPEND: %q", lines)
	}
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 0)", "OK")
}

// TestSearchBeyondTheEnd: RFC 7377 section 2, a range of message numbers that ends or begins beyond the mailbox is no error in any search.
func TestSearchBeyondTheEnd(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.expect("SEARCH 1:100 FROM bob", "* SEARCH 1 2 3", "OK")
	k.expect("UID SEARCH FROM bob 101:200", "* SEARCH", "OK")
	k.expect("SEARCH RETURN (COUNT) NOT 2,4294967295", `* ESEARCH (TAG "`+k.nextTag()+`") COUNT 2`, "OK")
	k.expect("SEARCH 100:*", "* SEARCH 3", "OK") // as 3:100
	k.expect("SORT (ARRIVAL) UTF-8 2:9", "* SORT 2 3", "OK")
	k.expect("FETCH 1:4 UID", "BAD ")
}
