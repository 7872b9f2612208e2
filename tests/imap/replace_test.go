package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// TestADraftIsSavedAgainAndAgain: REPLACE (RFC 8508), seen by another device, in a mailbox that is full in the end.
func TestADraftIsSavedAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	c, other := connect(t, s, 0), connect(t, s, 0)
	c.ok("APPEND Drafts (\\Draft) {5+}\r\nfirst")
	c.ok("SELECT Drafts")
	other.ok("SELECT Drafts")
	for i := range 5 {
		text := fmt.Sprintf("Subject: draft\r\n\r\nversion %d\r\n", i)
		contains(t, c.ok("UID REPLACE %d Drafts (\\Draft) {%d+}\r\n%s", i+1, len(text), text), "* 2 EXISTS", "* 1 EXPUNGE")
		require.Contains(t, strings.Join(c.ok("FETCH 1 (UID BODY.PEEK[TEXT])"), "\n"), fmt.Sprintf("UID %d", i+2))
		require.Contains(t, strings.Join(other.ok("NOOP"), "\n"), "* 1 EXPUNGE")
		contains(t, other.ok("STATUS Drafts (MESSAGES UNSEEN)")[:1], "* STATUS Drafts (MESSAGES 1 UNSEEN 1)")
	}
	// When it is sent it moves, in one step.
	sent := string(harness.Compose("sent", "text"))
	contains(t, c.ok("REPLACE 1 Sent (\\Seen) {%d+}\r\n%s", len(sent), sent), "* 1 EXPUNGE")
	contains(t, c.ok("STATUS Sent (MESSAGES SIZE)"), fmt.Sprintf("* STATUS Sent (MESSAGES 1 SIZE %d)", len(sent)))
	c.no("NO \\[NONEXISTENT\\]", "UID REPLACE 6 Sent {5+}\r\nagain")
}

// TestNotesOnMailboxes: METADATA (RFC 5464) outlives sessions and follows a mailbox that is renamed.
func TestNotesOnMailboxes(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}, Args: cheapPasswords})
	c := connect(t, s, 0)
	c.ok("CREATE Work")
	c.ok(`SETMETADATA Work (/private/comment "for \"work\"" /shared/vendor/x/color ~{3+}` + "\r\na\x00b)")
	c.ok(`SETMETADATA "" (/private/vendor/x/sound "loud")`)
	c.ok("RENAME Work Done/2026")
	again := connect(t, s, 0)
	contains(t, again.ok("GETMETADATA Done/2026 (/Private/Comment /shared/none)"), `* METADATA Done/2026 (/Private/Comment "for \"work\"" /shared/none NIL)`)
	contains(t, again.ok(`GETMETADATA (DEPTH infinity) "" /private`), `* METADATA "" (/private/vendor/x/sound "loud")`)
	contains(t, again.ok(`LIST "" "Done%%" RETURN (METADATA (/private/comment))`), `* LIST (\HasChildren) "/" Done`, `* METADATA Done (/private/comment NIL)`)
	contains(t, again.ok(`GETMETADATA Done/2026 (MAXSIZE 5 DEPTH infinity) (/private /shared)`), "* METADATA Done/2026 (/shared/vendor/x/color ~{3}")
	again.no("NO \\[METADATA MAXSIZE 65536\\]", "SETMETADATA INBOX (/private/comment {65537}")
	for i := range 100 {
		again.ok(`SETMETADATA INBOX (/private/vendor/x/%d "%d")`, i, i)
	}
	again.no("NO \\[METADATA TOOMANY\\]", `SETMETADATA INBOX (/private/vendor/x/more "x" /private/vendor/x/1 "changed")`)
	contains(t, again.ok("GETMETADATA INBOX /private/vendor/x/1"), `* METADATA INBOX (/private/vendor/x/1 "1")`)
	for _, bad := range []string{"/public/x", "/private/vendor/x", "/private", "/private/a*b", "/private//x"} {
		again.no("BAD ", `SETMETADATA INBOX (%s "x")`, bad)
	}
	again.ok("DELETE Done/2026")
	again.ok("CREATE Done/2026")
	contains(t, again.ok("GETMETADATA Done/2026 /private/comment"), `* METADATA Done/2026 (/private/comment NIL)`)
}
