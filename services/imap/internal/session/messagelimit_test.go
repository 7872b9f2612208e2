package session

import (
	"fmt"
	"strings"
	"testing"
)

// TestMessageLimit: RFC 9738 section 3, with a limit that fits a test.
func TestMessageLimit(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.Messages = 3 })
	for range 8 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.login()
	if lines := k.ok("CAPABILITY"); !strings.Contains(lines[0], " MESSAGELIMIT=3 ") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	k.ok("SELECT INBOX")
	k.ok(`STORE 7 +FLAGS.SILENT (\Deleted)`)
	k.ok("EXPUNGE") // left are the UIDs 1 to 6 and 8
	k.expect("UID FETCH 1:5 (FLAGS)", "* 3 FETCH (UID 3 FLAGS ())", "* 4 FETCH (UID 4 FLAGS ())", "* 5 FETCH (UID 5 FLAGS ())", "OK [MESSAGELIMIT 3 3] ")
	k.expect("FETCH 1:*,2 UID", "* 5 FETCH (UID 5)", "* 6 FETCH (UID 6)", "* 7 FETCH (UID 8)", "OK [MESSAGELIMIT 3 5] ")
	k.expect("FETCH 1,3,5,7 UID", "* 3 FETCH (UID 3)", "* 5 FETCH (UID 5)", "* 7 FETCH (UID 8)", "OK [MESSAGELIMIT 3 3] ")
	k.expect("FETCH 1:3 UID", "* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "OK FETCH completed")
	k.expect("UID SEARCH ALL", "* SEARCH 5 6 8", "OK [MESSAGELIMIT 3 5] ")
	k.expect("UID SEARCH UIDBEFORE 5", "* SEARCH 2 3 4", "OK [MESSAGELIMIT 3 2] ")
	k.expect("UID SEARCH UIDBEFORE 2", "* SEARCH 1", "OK UID SEARCH completed")
	k.expect("UID SEARCH UIDAFTER 5", "* SEARCH 6 8", "OK UID SEARCH completed")
	k.expect("UID SEARCH UIDAFTER 8", "* SEARCH", "OK UID SEARCH completed")
	k.expect("UID SEARCH OR UIDBEFORE 1 UIDAFTER 4294967295", "* SEARCH", "OK UID SEARCH completed")
	k.expect("UID SEARCH UIDAFTER 0", "BAD ")
	k.expect("UID SEARCH UIDAFTER 1:2", "BAD ")
	k.expect("SEARCH RETURN (SAVE COUNT) ALL", `* ESEARCH (TAG "`+k.nextTag()+`") COUNT 3`, "OK [MESSAGELIMIT 3 5] ")
	k.expect("FETCH $ UID", "* 5 FETCH (UID 5)", "* 6 FETCH (UID 6)", "* 7 FETCH (UID 8)", "OK FETCH completed")
	k.expect("SORT (DATE) UTF-8 ALL", "NO [MESSAGELIMIT 3] ")
	k.expect("THREAD REFERENCES UTF-8 ALL", "NO [MESSAGELIMIT 3] ")
	k.expect("COPY 1:4 Sent", "NO [MESSAGELIMIT 3] ")
	k.expect("STATUS Sent (MESSAGES)", "* STATUS Sent (MESSAGES 0)", "OK")
	k.expect(`UID STORE 1:4 +FLAGS.SILENT (\Flagged)`, "OK [MESSAGELIMIT 3 2] ")
	k.expect(`UID STORE 1:4 (UNCHANGEDSINCE 1) +FLAGS (\Seen)`, "* OK [HIGHESTMODSEQ 12] modification sequence",
		"* NO [MESSAGELIMIT 3 2] not all messages were taken", "OK [MODIFIED 2:4] ")
	k.expect("UID MOVE 1:4 Sent", fmt.Sprintf("* OK [COPYUID %d 2:4 1:3] moved", g.uidValidity("Sent")),
		"* 4 EXPUNGE", "* 3 EXPUNGE", "* 2 EXPUNGE", "OK [MESSAGELIMIT 3 2] ")
	k.ok(`STORE 1:3 +FLAGS.SILENT (\Deleted)`)
	k.ok(`STORE 4 +FLAGS.SILENT (\Deleted)`)
	k.expect("UID EXPUNGE 1:*", "* 4 EXPUNGE", "* 3 EXPUNGE", "* 2 EXPUNGE", "OK [MESSAGELIMIT 3 5] ")
	k.expect("EXPUNGE", "* 1 EXPUNGE", "OK EXPUNGE completed")
}

// TestNoMessageLimit: an operator who sets no limit has none.
func TestNoMessageLimit(t *testing.T) {
	k := newGateway(t).login()
	if lines := k.ok("CAPABILITY"); strings.Contains(lines[0], "MESSAGELIMIT") {
		t.Errorf("CAPABILITY: %q", lines)
	}
}
