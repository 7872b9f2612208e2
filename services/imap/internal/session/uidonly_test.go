package session

import (
	"fmt"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// TestUIDOnly: RFC 9586 section 3, with its example of what comes in the place of FETCH and EXPUNGE.
func TestUIDOnly(t *testing.T) {
	g := newGateway(t)
	for range 5 {
		g.storage.deliver("INBOX", mail1)
	}
	g.storage.remove("INBOX", 2)
	k := g.login()
	k.expect("ENABLE UIDONLY", "* ENABLED UIDONLY", "OK")
	if lines := strings.Join(k.ok("SELECT INBOX"), "\n"); strings.Contains(lines, "UNSEEN") || !strings.Contains(lines, "* 4 EXISTS") {
		t.Errorf("SELECT:\n%s", lines)
	}
	for _, command := range []string{
		"FETCH 1 FLAGS", `STORE 1 +FLAGS (\Seen)`, "SEARCH ALL", "COPY 1 Sent", "MOVE 1 Sent", "SORT (DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL",
		"UID SEARCH 1:3", "UID SEARCH OR SEEN NOT 1", "UID SEARCH *", "UID SORT (DATE) UTF-8 2", "UID THREAD REFERENCES UTF-8 (SEEN 1)",
	} {
		k.expect(command, "BAD [UIDREQUIRED]")
		k.ok("NOOP")
	}
	k.expect("UID FETCH 1:3 (FLAGS)", "* 1 UIDFETCH (FLAGS ())", "* 3 UIDFETCH (FLAGS ())", "OK")
	k.expect("UID FETCH 4 (UID FLAGS)", "* 4 UIDFETCH (UID 4 FLAGS ())", "OK")
	k.expect("UID FETCH 3 BODY[TEXT]", "* 3 UIDFETCH (BODY[TEXT] {13}", "First body.", ` FLAGS (\Seen))`, "OK")
	k.expect(`UID STORE 4:5 +FLAGS (\Flagged)`, `* 4 UIDFETCH (FLAGS (\Flagged))`, `* 5 UIDFETCH (FLAGS (\Flagged))`, "OK")
	k.expect("UID SEARCH FLAGGED", "* SEARCH 4 5", "OK")
	k.expect("UID SEARCH RETURN (SAVE) UID 1:3", "OK")
	k.expect("UID SEARCH $", "* SEARCH 1 3", "OK")
	g.storage.flag("INBOX", 1, storagev1.Flag_FLAG_ANSWERED)
	g.storage.deliver("INBOX", mail1)
	k.expect("NOOP", "* 5 EXISTS", `* 1 UIDFETCH (FLAGS (\Answered))`, "OK")
	g.storage.remove("INBOX", 3)
	g.storage.remove("INBOX", 4)
	k.expect("NOOP", "* VANISHED 3:4", "OK")
	k.ok(`UID STORE 5 +FLAGS.SILENT (\Deleted)`)
	k.expect("EXPUNGE", "* VANISHED 5", "OK EXPUNGE completed")
	k.ok("UID COPY 1 Sent")
	k.ok("UID MOVE 1 Sent")
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 1)", "OK")
	k.ok("ENABLE QRESYNC")
	validity := g.uidValidity("INBOX")
	k.expect(fmt.Sprintf("SELECT INBOX (QRESYNC (%d 1 1:5 (1:2 1:2)))", validity), "BAD [UIDREQUIRED]")
	lines := strings.Join(k.ok("SELECT INBOX (QRESYNC (%d 1 1:6))", validity), "\n")
	if !strings.Contains(lines, "* VANISHED (EARLIER) 1:5\n* 6 UIDFETCH (FLAGS () MODSEQ (") {
		t.Errorf("SELECT:\n%s", lines)
	}
	k.expect(`UID STORE 6 (UNCHANGEDSINCE 1) +FLAGS (\Seen)`, "OK [MODIFIED 6] ")
	// What was kept up to date with numbers goes on with UIDs.
	other := g.selected("INBOX")
	other.says("U1", "SEARCH RETURN (UPDATE COUNT) FLAGGED", `* ESEARCH (TAG "U1") COUNT 0`, "U1 OK")
	other.ok("ENABLE UIDONLY")
	other.expect(`UID STORE 6 +FLAGS.SILENT (\Flagged)`, `* ESEARCH (TAG "U1") UID ADDTO (0 6)`, "OK")
	k.ok("UNAUTHENTICATE")
	k.ok("LOGIN alice secret")
	k.ok("SELECT INBOX")
	k.expect("FETCH 1 FLAGS", `* 1 FETCH (FLAGS (\Flagged))`, "OK")
}
