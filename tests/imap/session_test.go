package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// contains checks that the lines are there, in this order.
func contains(t *testing.T, got []string, want ...string) {
	t.Helper()
	at := 0
	for _, w := range want {
		i := slices.Index(got[at:], w)
		if i < 0 {
			t.Fatalf("no %q (in its place) in %q", w, got)
		}
		at += i + 1
	}
}

func TestMailboxNamesInBothVersions(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	c := connect(t, s, 0)
	// IMAP4rev1: modified UTF-7.
	c.ok(`CREATE "Caf&AOk-/"`) // the separator at the end announces children
	c.ok(`CREATE "Caf&AOk-/&ZeVnLIqe-"`)
	c.no("NO \\[ALREADYEXISTS\\]", `CREATE "Caf&AOk-"`)
	contains(t, c.ok(`LIST "" "Caf*"`), `* LIST (\HasChildren) "/" Caf&AOk-`, `* LIST (\HasNoChildren) "/" Caf&AOk-/&ZeVnLIqe-`)
	require.NotContains(t, strings.Join(c.ok("SELECT Caf&AOk-"), " "), "LIST")
	for _, name := range []string{`""`, "a//b", "/a", `"a&AAo-b"`} {
		c.no("NO \\[CANNOT\\]", "CREATE %s", name)
	}
	// IMAP4rev2: UTF-8, and what the server made of a name is told (RFC 9051 sections 6.3.2 and 6.3.4, OLDNAME).
	contains(t, c.ok("ENABLE IMAP4rev2"), "* ENABLED IMAP4rev2")
	contains(t, c.ok(`LIST "" "Café/%%"`), `* LIST (\HasNoChildren) "/" "Café/日本語"`)
	contains(t, c.ok("LIST \"\" \"Cafe\u0301/%%\""), `* LIST (\HasNoChildren) "/" "Café/日本語"`)
	contains(t, c.ok("SELECT \"Cafe\u0301\""), "* OK [CLOSED] previous mailbox is closed", "* LIST () \"/\" \"Café\" (\"OLDNAME\" (\"Cafe\u0301\"))")
	contains(t, c.ok(`SELECT "Café"`), `* LIST () "/" "Café"`)
	contains(t, c.ok("CREATE \"u\u0308ber\""), "* LIST () \"/\" \"über\" (\"OLDNAME\" (\"u\u0308ber\"))")
	require.Empty(t, c.ok(`CREATE "plain"`))
	contains(t, c.ok(`STATUS "über" (MESSAGES)`), `* STATUS "über" (MESSAGES 0)`)
}

// TestOldClientsGetASCII: before ENABLE nothing but octets of messages may be 8-bit (RFC 3501 section 4.3.1).
func TestOldClientsGetASCII(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	s.Deliver(t, "alice", []byte("From: J\xfcrgen <j\xfcrgen@m\xfcller.example>\r\nTo: \"山田\" <yamada@example.test>\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; name=\"n\xc3\xa9.txt\"\r\nContent-Description: \xe9t\xe9\r\n\r\ntext\r\n"))
	c := connect(t, s, 0)
	c.ok("SELECT INBOX")
	ascii := func(line string) bool { return strings.IndexFunc(line, func(r rune) bool { return r > 0x7e }) < 0 }
	old := c.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY)")
	require.True(t, ascii(strings.Join(old, "")), "%q", old)
	require.Contains(t, old[0], `"=?utf-8?`)
	c.ok("ENABLE IMAP4rev2")
	require.Contains(t, strings.Join(c.ok("FETCH 1 ENVELOPE"), ""), `"Grüße"`)
}

func TestMailboxesThatAreRenamedDeletedSubscribed(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	c, other := connect(t, s, 0), connect(t, s, 0)
	c.append("one")
	c.append("two")
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	// RFC 9051 section 6.3.6: renaming INBOX moves its messages, and leaves it where it is.
	contains(t, c.ok("RENAME INBOX Old/2025"), "* 2 EXPUNGE", "* 1 EXPUNGE")
	contains(t, other.ok("NOOP"), "* 2 EXPUNGE", "* 1 EXPUNGE")
	contains(t, c.ok("STATUS Old/2025 (MESSAGES UNSEEN SIZE)")[:1], fmt.Sprintf("* STATUS Old/2025 (MESSAGES 2 UNSEEN 2 SIZE %d)", 2*len(harness.Compose("one", "text"))))
	c.no("NO \\[NONEXISTENT\\]", "RENAME Nowhere There")
	c.no("NO \\[ALREADYEXISTS\\]", "RENAME Old/2025 Trash")
	// A session stays in a mailbox that is renamed, and leaves one that is deleted.
	other.ok("SELECT Old/2025")
	c.ok("RENAME Old Older")
	require.Len(t, other.ok("UID FETCH 1:* (FLAGS)"), 2)
	c.no("NO \\[HASCHILDREN\\]", "DELETE Older")
	c.no("NO \\[CANNOT\\]", "DELETE INBOX")
	c.ok("SUBSCRIBE Older/2025")
	c.ok("DELETE Older/2025")
	other.Send("x NOOP\r\n")
	other.Expect(`^\* BYE `)
	contains(t, c.ok(`LIST (SUBSCRIBED) "" *`), `* LIST (\NonExistent \Subscribed \HasNoChildren) "/" Older/2025`)
	contains(t, c.ok(`LSUB "" %%`), `* LSUB () "/" INBOX`, `* LSUB (\Noselect) "/" Older`)
	contains(t, c.ok(`LSUB "" *`), `* LSUB () "/" Older/2025`)
	require.NotContains(t, strings.Join(c.ok(`LIST "" *`), " "), "Older/2025")
	c.ok("SELECT Older")
	contains(t, c.ok("DELETE Older"), "* OK [CLOSED] the selected mailbox was deleted")
	c.no("BAD", "FETCH 1 FLAGS")
	contains(t, c.ok(`LIST "" ""`), `* LIST (\Noselect) "/" ""`)
	c.no("NO \\[USEATTR\\]", `CREATE Spam (USE (\Junk))`) // Junk is there
}

func TestFullAccountOverIMAP(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	s.CLI(t, "quota", "set", harness.Address("alice"), "100KB", "--messages", "3")
	c := connect(t, s, 0)
	c.append("one")
	c.append("two")
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	size := len(harness.Compose("one", "text"))
	contains(t, c.ok("STATUS INBOX (DELETED DELETED-STORAGE)"), fmt.Sprintf("* STATUS INBOX (DELETED 1 DELETED-STORAGE %d)", size)) // in octets
	contains(t, c.ok("GETQUOTAROOT INBOX"), `* QUOTAROOT INBOX "User quota"`, `* QUOTA "User quota" (STORAGE 1 97 MESSAGE 2 3)`)    // in 1,024 octets
	c.no("NO \\[OVERQUOTA\\]", "COPY 1:2 Sent")
	contains(t, c.ok("STATUS Sent (MESSAGES)"), "* STATUS Sent (MESSAGES 0)")
	c.ok("COPY 2 Sent")
	c.no("NO \\[OVERQUOTA\\]", "APPEND INBOX {5}") // before it is sent
	contains(t, c.ok("MOVE 2 Archive"), "* 2 EXPUNGE")
	contains(t, c.ok("EXPUNGE"), "* 1 EXPUNGE")
}

func TestServerThatStopsSaysGoodbyeInIDLE(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	idling, waiting := connect(t, s, 0), connect(t, s, 0)
	idling.ok("SELECT INBOX")
	idling.Do("i IDLE", `^\+ `)
	s.Deliver(t, "alice", harness.Compose("news", "text"))
	idling.Expect(`^\* 1 EXISTS`)
	s.Stop(t)
	require.Contains(t, idling.Rest(), "* BYE ")
	require.Contains(t, waiting.Rest(), "* BYE ")
}

func TestCommandsThatAreTooLongOrNone(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	c := connect(t, s, 0)
	c.no("BAD", "FROBNICATE")
	c.no("BAD", "STATUS INBOX ()")
	c.no("BAD", "SELECT %s", strings.Repeat("x", 100_000)) // a line has its limit, and the session goes on
	c.no("BAD", "SELECT INBOX (FROBNICATE)")               // is not announced
	c.no("BAD", "FETCH 1 FLAGS")                           // not selected
	c.Send("x\r\n")
	c.Expect("^x BAD")
	c.Send("\r\n")
	c.Expect(`^\* BAD`)
	c.ok("SELECT INBOX")
	c.Send("i IDLE\r\nNOOP\r\n")
	c.Expect(`^i BAD`)
	c.ok("NOOP")
}
