package session

import (
	"fmt"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// TestMultiSearch: RFC 7377 section 2 and its examples.
func TestMultiSearch(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	if lines := k.ok("CAPABILITY"); !strings.Contains(lines[0], " MULTISEARCH") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	for _, name := range []string{"folder1", "folder2/salmon/roe", "folder2/banana", "folder2/peach"} {
		k.ok("CREATE %s", name)
	}
	for name, n := range map[string]int{"INBOX": 1, "folder1": 5, "folder2/banana": 2, "folder2/salmon/roe": 1, "Sent": 3} {
		for range n {
			g.storage.deliver(name, mail1)
		}
	}
	found := func(name, result string) string {
		return fmt.Sprintf(`* ESEARCH (TAG "%s" MAILBOX %s UIDVALIDITY %d) UID %s`, k.nextTag(), name, g.uidValidity(name), result)
	}
	k.expect(`ESEARCH IN (mailboxes "folder1" subtree "folder2") unseen`,
		found("folder1", "ALL 1:5"), found("folder2/banana", "ALL 1:2"), found("folder2/salmon/roe", "ALL 1"), "OK ESEARCH completed")
	k.expect(`ESEARCH IN (subtree-one ("folder2" "folder1") mailboxes "nowhere") RETURN (COUNT MAX) TEXT body`,
		found("folder1", "MAX 5 COUNT 5"), found("folder2/banana", "MAX 2 COUNT 2"), "OK")
	k.expect(`ESEARCH IN (mailboxes ("Sent" "inbox" "Sent") inboxes) RETURN () UID 2:*`, found("INBOX", "ALL 1"), found("Sent", "ALL 2:3"), "OK")
	k.expect(`ESEARCH IN (personal) RETURN (MIN) UID 5`, found("folder1", "MIN 5"), "OK")
	k.expect(`ESEARCH IN (subscribed) RETURN (PARTIAL -1:-2) ALL`, found("INBOX", "PARTIAL (-1:-2 1)"), found("Sent", "PARTIAL (-1:-2 2:3)"), "OK")
	k.expect(`ESEARCH IN (personal) FLAGGED`, "OK")
	for _, command := range []string{
		"ESEARCH ALL", "ESEARCH IN (selected) ALL", "ESEARCH IN (selected-delayed) ALL", "ESEARCH IN () ALL", "ESEARCH IN (mailboxes) ALL", "ESEARCH IN (subtree ()) ALL",
		"ESEARCH IN (personal) NOT $", "ESEARCH IN (personal) RETURN (UPDATE) ALL", "ESEARCH IN (personal (frob)) ALL",
	} {
		k.expect(command, "BAD ")
		k.ok("NOOP")
	}
	// Numbers are those of each mailbox; one beyond its end is no error (section 2).
	k.expect("ESEARCH IN (personal) 4:100", found("folder1", "ALL 4:5"), "OK")
	k.expect("ESEARCH IN (personal) RETURN (SAVE) ALL", "BAD ")
	k.expect("ESEARCH IN (personal) RETURN (PARTIAL 1:2 ALL) ALL", "BAD ")
	k.expect("ESEARCH IN (personal) CHARSET X-NONE ALL", "NO [BADCHARSET")

	k.ok("SELECT folder1")
	k.expect("ESEARCH 2:3", found("folder1", "ALL 2:3"), "OK")
	k.expect("ESEARCH IN (selected) RETURN (SAVE) UID 4:5", "OK")
	k.expect("ESEARCH IN (selected) RETURN (SAVE ALL) $", found("folder1", "ALL 4:5"), "OK")
	k.expect("ESEARCH IN (selected inboxes) $", "BAD ")
	k.ok(`STORE 1 +FLAGS.SILENT (\Flagged)`)
	k.expect("ESEARCH IN (selected inboxes) FLAGGED", found("folder1", "ALL 1"), "OK")
	// New messages of the selected mailbox are told of before they are found; elsewhere there is nothing to tell.
	g.storage.deliver("folder1", mail2)
	g.storage.deliver("INBOX", mail2)
	k.ok("NOOP")
	k.expect("ESEARCH IN (selected inboxes) RETURN (COUNT) ALL", found("INBOX", "COUNT 2"), found("folder1", "COUNT 6"), "OK")
	// UPDATE is of the selected mailbox only (section 2.2).
	k.says("U1", "ESEARCH IN (selected inboxes) RETURN (UPDATE) FLAGGED", fmt.Sprintf(`* ESEARCH (TAG "U1" MAILBOX folder1 UIDVALIDITY %d) UID`, g.uidValidity("folder1")), "U1 OK")
	g.storage.flag("INBOX", 1, storagev1.Flag_FLAG_FLAGGED)
	k.expect(`STORE 2 +FLAGS.SILENT (\Flagged)`, fmt.Sprintf(`* ESEARCH (TAG "U1" MAILBOX folder1 UIDVALIDITY %d) UID ADDTO (0 2)`, g.uidValidity("folder1")), "OK")
	k.says("U2", "ESEARCH IN (inboxes) RETURN (UPDATE COUNT) FLAGGED", `* NO [NOUPDATE "U2"] too many contexts, or results`,
		fmt.Sprintf(`* ESEARCH (TAG "U2" MAILBOX INBOX UIDVALIDITY %d) UID COUNT 1`, g.uidValidity("INBOX")), "U2 OK")
	// MODSEQ is of what is told (RFC 4731 section 3.2).
	k.ok("ENABLE CONDSTORE")
	k.expect("ESEARCH IN (selected inboxes) RETURN (MIN) MODSEQ 3", found("INBOX", "MIN 1 MODSEQ 4"), found("folder1", "MIN 1 MODSEQ 7"), "OK")
	k.expect("ESEARCH IN (selected inboxes) RETURN (MAX) MODSEQ 3", found("INBOX", "MAX 2 MODSEQ 3"), found("folder1", "MAX 6 MODSEQ 8"), "OK")
	k.ok("ENABLE UIDONLY")
	k.expect("ESEARCH 2:3", "BAD [UIDREQUIRED]")
}
