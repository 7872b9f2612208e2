package session

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const mail1 = "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: one\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\r\nFirst body.\r\n"

const mail2 = "From: Carol <carol@example.test>\r\nSubject: two\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n" +
	"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n" +
	"--x\r\nContent-Type: application/x-odd\r\nContent-Transfer-Encoding: x-uue\r\n\r\nodd\r\n--x--\r\n"

func TestGreetingAndLogin(t *testing.T) {
	g := newGateway(t)
	k := g.connect()
	k.expect("SELECT INBOX", "BAD [CLIENTBUG] log in first")
	k.expect("FROBNICATE x", "BAD unknown command")
	k.expect("NOOP", "OK NOOP completed")
	k.expect("LOGIN alice wrong", "NO [AUTHENTICATIONFAILED] ")
	k.expect("LOGIN mallory secret", "NO [CONTACTADMIN] ")
	k.expect("LOGIN alice secret", "OK [CAPABILITY IMAP4rev2 IMAP4rev1 ACL APPENDLIMIT=1048576 BINARY CATENATE CHILDREN COMPRESS=DEFLATE CONDSTORE CONTEXT=SEARCH CONTEXT=SORT CREATE-SPECIAL-USE ENABLE ESEARCH ESORT I18NLEVEL=1 ID IDLE "+
		"INPROGRESS LIST-EXTENDED LIST-METADATA LIST-MYRIGHTS LIST-STATUS LITERAL+ METADATA METADATA-SERVER MOVE MULTIAPPEND MULTISEARCH NAMESPACE NOTIFY OBJECTID PARTIAL PREVIEW QRESYNC QUOTA QUOTA=RES-MESSAGE QUOTA=RES-STORAGE REPLACE RIGHTS=texk SAVEDATE SEARCHRES SORT SORT=DISPLAY SPECIAL-USE STATUS=SIZE THREAD=ORDEREDSUBJECT THREAD=REFERENCES UIDONLY UIDPLUS UNAUTHENTICATE UNSELECT URL-PARTIAL UTF8=ACCEPT WITHIN] logged in")
	k.expect("LOGIN alice secret", "BAD [CLIENTBUG] not possible in this state")
	k.expect("FETCH 1 FLAGS", "BAD [CLIENTBUG] no mailbox is selected")
	k.expect(`ID ("name" "test")`, `* ID ("name" "Yubin" "version" "test")`, "OK ID completed")
	k.expect("NAMESPACE", `* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL`, "OK")
	k.expect("LOGOUT", "* BYE see you", "OK LOGOUT completed")
	if line := k.line(); line != "" {
		t.Errorf("after LOGOUT came %q", line)
	}
}

func TestLoginFailuresEndTheSession(t *testing.T) {
	g := newGateway(t)
	k := g.connect()
	k.expect("LOGIN alice a", "NO [AUTHENTICATIONFAILED]")
	k.expect("LOGIN alice b", "NO [AUTHENTICATIONFAILED]")
	k.send("x LOGIN alice c\r\n")
	lines := k.until("* BYE")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "x NO [AUTHENTICATIONFAILED]") {
		t.Errorf("the third failure gave %q", lines)
	}
}

func TestAuthenticate(t *testing.T) {
	g := newGateway(t)
	k := g.connect()
	k.expect("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", "OK [CAPABILITY ") // SASL-IR
	k = g.connect()
	k.send("a AUTHENTICATE PLAIN\r\n")
	if line := k.line(); line != "+ " {
		t.Fatalf("challenge is %q", line)
	}
	k.send("*\r\n")
	if line := k.line(); !strings.HasPrefix(line, "a BAD ") {
		t.Fatalf("cancelled: %q", line)
	}
	k.send("b AUTHENTICATE PLAIN\r\n")
	_ = k.line()
	k.send("AGFsaWNlAHNlY3JldA==\r\n")
	if line := k.line(); !strings.HasPrefix(line, "b OK ") {
		t.Fatalf("got %q", line)
	}
	k = g.connect()
	k.expect("AUTHENTICATE GSSAPI", "NO [CANNOT]")
}

func TestPasswordsNeedTLS(t *testing.T) {
	g := newGateway(t, withTLS(t))
	k := g.connect()
	k.expect("LOGIN alice secret", "NO [PRIVACYREQUIRED]")
	k.expect("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", "NO [PRIVACYREQUIRED]")
	caps := k.ok("CAPABILITY")[0]
	if !strings.Contains(caps, "STARTTLS") || !strings.Contains(caps, "LOGINDISABLED") || strings.Contains(caps, "AUTH=PLAIN") {
		t.Errorf("before TLS: %s", caps)
	}
	k.startTLS()
	caps = k.ok("CAPABILITY")[0]
	if strings.Contains(caps, "STARTTLS") || strings.Contains(caps, "LOGINDISABLED") || !strings.Contains(caps, "AUTH=PLAIN") {
		t.Errorf("with TLS: %s", caps)
	}
	k.expect("STARTTLS", "BAD ")
	k.ok("LOGIN alice secret")
}

// TestNothingBeforeTLSCounts sends a command behind STARTTLS in the clear: it must not be answered under TLS.
func TestNothingBeforeTLSCounts(t *testing.T) {
	g := newGateway(t, withTLS(t))
	k := g.connect()
	k.send("a STARTTLS\r\nb NOOP\r\n")
	if line := k.line(); !strings.HasPrefix(line, "a OK ") {
		t.Fatalf("got %q", line)
	}
	conn := tls.Client(k.conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return // the octets were taken for a part of the handshake: refused
	}
	if _, err := fmt.Fprint(conn, "c NOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "c OK") {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

func TestSelect(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	k := g.login()
	k.expect("SELECT inbox",
		"* 2 EXISTS", "* 0 RECENT", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`,
		`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] flags that are kept`,
		"* OK [UNSEEN 1] first unseen message",
		fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs are valid", g.uidValidity("INBOX")), "* OK [UIDNEXT 3] next UID", "* OK [HIGHESTMODSEQ 3] modification sequence", g.mailboxID("INBOX"),
		"OK [READ-WRITE] SELECT completed")
	k.expect("EXAMINE Sent", "* OK [CLOSED] previous mailbox is closed", "* 0 EXISTS", "* 0 RECENT",
		`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`, "* OK [PERMANENTFLAGS ()] flags that are kept",
		fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs are valid", g.uidValidity("Sent")), "* OK [UIDNEXT 1] next UID", "* OK [HIGHESTMODSEQ 1] modification sequence", g.mailboxID("Sent"),
		"OK [READ-ONLY] EXAMINE completed")
	k.expect("STORE 1 +FLAGS (\\Seen)", "NO [CANNOT]")
	k.expect("EXPUNGE", "NO [CANNOT]")
	k.expect("SELECT Nowhere", "* OK [CLOSED] previous mailbox is closed", "NO [NONEXISTENT]")
	k.expect("CHECK", "BAD [CLIENTBUG] no mailbox is selected")
}

func (g *gateway) uidValidity(name string) uint32 {
	g.storage.mu.Lock()
	defer g.storage.mu.Unlock()
	b, err := g.storage.named(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return b.info.UidValidity
}

// modseq is a mailbox's highest modification sequence.
func (g *gateway) modseq(name string) uint64 {
	g.storage.mu.Lock()
	defer g.storage.mu.Unlock()
	b, err := g.storage.named(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return b.info.HighestModseq
}

// mailboxID is the line of SELECT with a mailbox's id.
func (g *gateway) mailboxID(name string) string {
	return fmt.Sprintf("* OK [MAILBOXID (F%d)] mailbox's own", g.uidValidity(name)-1000)
}

func TestRev2(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.login()
	k.ok(`CREATE "&ZeVnLIqe-"`)
	k.expect(`LIST "" &ZeVnLIqe-`, `* LIST (\HasNoChildren) "/" &ZeVnLIqe-`, "OK")
	k.expect("ENABLE IMAP4rev2 X-UNKNOWN", "* ENABLED IMAP4rev2", "OK")
	k.expect(`LIST "" "日本語"`, `* LIST (\HasNoChildren) "/" "日本語"`, "OK")
	lines := k.ok("SELECT INBOX")
	joined := strings.Join(lines, "\n")
	if strings.Contains(joined, "RECENT") || strings.Contains(joined, "UNSEEN") || !strings.Contains(joined, `* LIST () "/" INBOX`) {
		t.Errorf("SELECT of IMAP4rev2 says:\n%s", joined)
	}
	k.expect("SEARCH ALL", `* ESEARCH (TAG "`+k.nextTag()+`") ALL 1`, "OK")
}

func (k *talk) nextTag() string { return fmt.Sprintf("a%d", k.n+1) }

func TestMailboxes(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.expect("CREATE Work/2024", "OK")
	k.expect("CREATE Work/2024/", "NO [ALREADYEXISTS]")
	k.expect(`CREATE Old (USE (\Archive))`, "OK")
	k.expect(`CREATE Odd (USE (\All))`, "NO [USEATTR]")
	k.expect(`LIST "" *`,
		`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren \Archive) "/" Old`, `* LIST (\HasNoChildren \Sent) "/" Sent`,
		`* LIST (\HasNoChildren \Trash) "/" Trash`, `* LIST (\HasChildren) "/" Work`, `* LIST (\HasNoChildren) "/" Work/2024`, "OK")
	k.expect(`LIST "" %`,
		`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren \Archive) "/" Old`, `* LIST (\HasNoChildren \Sent) "/" Sent`,
		`* LIST (\HasNoChildren \Trash) "/" Trash`, `* LIST (\HasChildren) "/" Work`, "OK")
	k.expect(`LIST "" ""`, `* LIST (\Noselect) "/" ""`, "OK")
	k.expect(`LIST Work/ %`, `* LIST (\HasNoChildren) "/" Work/2024`, "OK")
	k.expect("SUBSCRIBE Work/2024", "OK")
	k.expect("SUBSCRIBE Gone/Away", "OK")
	k.expect(`LIST (SUBSCRIBED) "" *`,
		`* LIST (\Subscribed \HasNoChildren) "/" INBOX`, `* LIST (\NonExistent \Subscribed \HasNoChildren) "/" Gone/Away`,
		`* LIST (\Subscribed \HasNoChildren \Sent) "/" Sent`, `* LIST (\Subscribed \HasNoChildren \Trash) "/" Trash`,
		`* LIST (\Subscribed \HasNoChildren) "/" Work/2024`, "OK")
	k.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "" Work`, `* LIST (\HasChildren) "/" Work ("CHILDINFO" ("SUBSCRIBED"))`, "OK")
	k.expect(`LIST (SPECIAL-USE) "" (* Work/*)`,
		`* LIST (\HasNoChildren \Archive) "/" Old`, `* LIST (\HasNoChildren \Sent) "/" Sent`, `* LIST (\HasNoChildren \Trash) "/" Trash`, "OK")
	k.expect(`LSUB "" %`, `* LSUB () "/" INBOX`, `* LSUB (\Noselect) "/" Gone`, `* LSUB () "/" Sent`, `* LSUB () "/" Trash`, `* LSUB (\Noselect) "/" Work`, "OK")
	k.expect("UNSUBSCRIBE Gone/Away", "OK")
	k.expect("RENAME Work Job", "OK")
	k.expect("RENAME Work Job", "NO [NONEXISTENT]")
	k.expect(`LIST "" Job* RETURN (STATUS (MESSAGES) CHILDREN)`,
		`* LIST (\HasChildren) "/" Job`, "* STATUS Job (MESSAGES 0)", `* LIST (\HasNoChildren) "/" Job/2024`, "* STATUS Job/2024 (MESSAGES 0)", "OK")
	k.expect("DELETE INBOX", "NO [CANNOT]")
	k.expect("DELETE Job", "NO [HASCHILDREN]")
	k.expect("DELETE Job/2024", "OK")
	g.storage.deliver("INBOX", mail1)
	k.expect("STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN SIZE DELETED DELETED-STORAGE APPENDLIMIT)",
		fmt.Sprintf("* STATUS INBOX (MESSAGES 1 RECENT 0 UIDNEXT 2 UNSEEN 1 SIZE %d DELETED 0 DELETED-STORAGE 0 APPENDLIMIT 1048576)", len(mail1)), "OK")
	k.expect("STATUS Nowhere (MESSAGES)", "NO [NONEXISTENT]")
}

func TestFetch(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	k := g.selected("INBOX")
	k.expect("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)",
		fmt.Sprintf(`* 1 FETCH (UID 1 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE %d)`, len(mail1)),
		fmt.Sprintf(`* 2 FETCH (UID 2 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE %d)`, len(mail2)), "OK")
	k.expect("FETCH 3 FLAGS", "BAD no such message")
	k.expect("UID FETCH 3:9 FLAGS", "OK")
	k.expect("FETCH 1 ENVELOPE",
		`* 1 FETCH (ENVELOPE ("Mon, 1 Jan 2024 10:00:00 +0000" "one" (("Bob" NIL "bob" "example.test")) (("Bob" NIL "bob" "example.test")) `+
			`(("Bob" NIL "bob" "example.test")) ((NIL NIL "alice" "example.test")) NIL NIL NIL "<1@example.test>"))`, "OK")
	k.expect("FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT]<6.4>)",
		"* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {16}", "Subject: one", "", " BODY[TEXT]<6> {4}", "body)", "OK")
	k.expect("FETCH 2 (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[9])",
		"* 2 FETCH (BODY[1] {9}", "caf=C3=A9 BODY[1.MIME] {88}", "Content-Type: text/plain; charset=utf-8",
		"Content-Transfer-Encoding: quoted-printable", "", " BODY[9] NIL)", "OK")
	// \Seen is set by what is no PEEK, in the same response.
	k.expect("FETCH 1 BODY[TEXT]", "* 1 FETCH (BODY[TEXT] {13}", "First body.", ` FLAGS (\Seen))`, "OK")
	k.expect("FETCH 1 (FLAGS BODY[TEXT])", `* 1 FETCH (FLAGS (\Seen) BODY[TEXT] {13}`, "First body.", ")", "OK")
	k.expect("UID FETCH 2 RFC822.HEADER", "* 2 FETCH (UID 2 RFC822.HEADER {112}", "From: Carol <carol@example.test>", "Subject: two",
		"MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=x", "", ")", "OK")
	k.expect("FETCH 2 FLAGS", "* 2 FETCH (FLAGS ())", "OK")
}

func TestFetchBinary(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail2)
	k := g.selected("INBOX")
	k.expect("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[2])",
		"* 1 FETCH (BINARY.SIZE[1] 5 BINARY[1] {5}", "café BINARY[2] ~{4}", "\x00\x01\x02\x03)", "OK")
	k.expect("FETCH 1 BINARY.PEEK[2]<1.2>", "* 1 FETCH (BINARY[2]<1> ~{2}", "\x01\x02)", "OK")
	k.expect("FETCH 1 BINARY.PEEK[3]", "NO [UNKNOWN-CTE]")
	k.expect("FETCH 1 BINARY.SIZE[3]", "NO [UNKNOWN-CTE]")
}

// TestFetchLargeBinary has a part that is decoded twice, since it is not held in memory.
func TestFetchLargeBinary(t *testing.T) {
	g := newGateway(t)
	text := strings.Repeat("=41=42=43", maxDecoded/2)
	g.storage.deliver("INBOX", "Content-Transfer-Encoding: quoted-printable\r\n\r\n"+text)
	k := g.selected("INBOX")
	k.expect("FETCH 1 BINARY.PEEK[1]<1.5>", "* 1 FETCH (BINARY[1]<1> {5}", "BCABC)", "OK")
	k.expect("FETCH 1 BINARY.SIZE[1]", fmt.Sprintf("* 1 FETCH (BINARY.SIZE[1] %d)", maxDecoded/2*3), "OK")
}

func TestStoreExpungeCopyMove(t *testing.T) {
	g := newGateway(t)
	for range 4 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.expect(`STORE 1:2 +FLAGS (\Deleted $Work)`, `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)`,
		`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] flags that are kept`, `* 1 FETCH (FLAGS (\Deleted $Work))`, `* 2 FETCH (FLAGS (\Deleted $Work))`, "OK")
	k.expect(`STORE 2 -FLAGS.SILENT (\Deleted)`, "OK")
	k.expect(`UID STORE 3 FLAGS (\Flagged)`, `* 3 FETCH (UID 3 FLAGS (\Flagged))`, "OK")
	k.expect(`UID STORE 3 FLAGS (\Flagged)`, `* 3 FETCH (UID 3 FLAGS (\Flagged))`, "OK")
	k.expect(`STORE 1 +FLAGS (\Frob)`, "BAD ")
	k.expect("UID EXPUNGE 2:4", "OK")
	k.expect("EXPUNGE", "* 1 EXPUNGE", "OK")
	sent := g.uidValidity("Sent")
	k.expect("COPY 1:2 Sent", fmt.Sprintf("OK [COPYUID %d 2:3 1:2]", sent))
	k.expect("COPY 1 Nowhere", "NO [TRYCREATE]")
	k.expect("MOVE 1,3 Sent", fmt.Sprintf("* OK [COPYUID %d 2,4 3:4] moved", sent), "* 3 EXPUNGE", "* 1 EXPUNGE", "OK")
	k.expect("UID MOVE 3 Sent", fmt.Sprintf("* OK [COPYUID %d 3 5] moved", sent), "* 1 EXPUNGE", "OK")
	k.expect("COPY 1 Sent", "BAD no such message")
	k.expect("UID COPY 1 Sent", "OK UID COPY completed")
	k.expect("CLOSE", "OK")
	k.expect("SELECT Sent", append(selectLines(g, "Sent", 5, 6, "$Work"), "OK")...)
}

// selectLines are what SELECT says of a mailbox with unseen messages.
func selectLines(g *gateway, name string, exists, uidNext int, keywords ...string) []string {
	flags := strings.Join(append([]string{`\Answered \Flagged \Deleted \Seen \Draft`}, keywords...), " ")
	return []string{
		fmt.Sprintf("* %d EXISTS", exists), "* 0 RECENT", "* FLAGS (" + flags + ")", `* OK [PERMANENTFLAGS (` + flags + ` \*)] flags that are kept`,
		"* OK [UNSEEN 1] first unseen message", fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs are valid", g.uidValidity(name)),
		fmt.Sprintf("* OK [UIDNEXT %d] next UID", uidNext), fmt.Sprintf("* OK [HIGHESTMODSEQ %d] modification sequence", g.modseq(name)), g.mailboxID(name),
	}
}

func TestCloseExpunges(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	k.expect("UNSELECT", "OK")
	k.expect("STATUS INBOX (MESSAGES DELETED)", "* STATUS INBOX (MESSAGES 2 DELETED 1)", "OK")
	k.ok("EXAMINE INBOX")
	k.expect("CLOSE", "OK")
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 2)", "OK")
	k.ok("SELECT INBOX")
	k.expect("CLOSE", "OK")
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 1)", "OK")
}

func TestSearch(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.ok(`STORE 1 +FLAGS.SILENT (\Seen $Work)`)
	k.expect("SEARCH UNSEEN", "* SEARCH 2 3", "OK")
	k.expect("SEARCH 2:* NOT KEYWORD $work", "* SEARCH 2 3", "OK")
	k.expect("SEARCH OR SEEN 3", "* SEARCH 1 3", "OK")
	k.expect("SEARCH NEW", "* SEARCH", "OK")
	k.expect("SEARCH OLD SMALLER 200", "* SEARCH 1 3", "OK")
	k.expect("SEARCH SINCE 14-Nov-2023 BEFORE 15-Nov-2023", "* SEARCH 1 2 3", "OK")
	k.expect("SEARCH BODY first UNSEEN", "* SEARCH 3", "OK")
	k.expect("UID SEARCH SUBJECT two", "* SEARCH 2", "OK")
	k.expect("SEARCH CHARSET X-NONE ALL", "NO [BADCHARSET")
	k.expect("SEARCH 2,9:300", "* SEARCH 2", "OK") // RFC 7377 section 2
	k.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
	k.expect("EXPUNGE", "* 1 EXPUNGE", "OK")
	k.expect("UID SEARCH RETURN (MIN MAX COUNT ALL) UNDELETED", `* ESEARCH (TAG "`+k.nextTag()+`") UID MIN 2 MAX 3 ALL 2:3 COUNT 2`, "OK")
	k.expect("SEARCH RETURN (COUNT) SUBJECT none", `* ESEARCH (TAG "`+k.nextTag()+`") COUNT 0`, "OK")
	k.expect("SEARCH RETURN (SAVE) SUBJECT two", "OK")
	k.expect("FETCH $ UID", "* 1 FETCH (UID 2)", "OK")
	k.expect("SEARCH UID $", "* SEARCH 1", "OK")
	k.expect("SEARCH RETURN (SAVE MAX) ALL", `* ESEARCH (TAG "`+k.nextTag()+`") MAX 2`, "OK")
	k.expect("UID STORE $ +FLAGS (\\Flagged)", `* 2 FETCH (UID 3 FLAGS (\Flagged))`, "OK")
}

func TestAppend(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	validity := g.uidValidity("INBOX")
	// A synchronising literal waits for leave.
	k.send("a APPEND INBOX (\\Seen $Work) \"01-Feb-2024 10:00:00 +0900\" {%d}\r\n", len(mail1))
	if line := k.line(); line != "+ OK" {
		t.Fatalf("continuation is %q", line)
	}
	k.send("%s\r\n", mail1)
	for _, want := range []string{
		"* 1 EXISTS", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)`,
		`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] flags that are kept`, fmt.Sprintf("a OK [APPENDUID %d 1] APPEND completed", validity),
	} {
		if got := k.line(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	k.expect("FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])", append(append(
		[]string{fmt.Sprintf(`* 1 FETCH (FLAGS (\Seen $Work) INTERNALDATE " 1-Feb-2024 01:00:00 +0000" BODY[] {%d}`, len(mail1))},
		strings.Split(strings.TrimSuffix(mail1, "\r\n"), "\r\n")...), ")", "OK")...)
	// What is refused is refused before it is sent.
	for _, c := range []struct{ args, want string }{
		{"INBOX {20000}", "b NO [OVERQUOTA]"},
		{"INBOX {2000000}", "b NO [TOOBIG]"},
		{"Nowhere {10}", "b NO [TRYCREATE]"},
		{"INBOX (\\Nonsense) {10}", "b BAD"},
	} {
		k.send("b APPEND %s\r\n", c.args)
		if line := k.line(); !strings.HasPrefix(line, c.want) {
			t.Errorf("APPEND %s: %q", c.args, line)
		}
	}
	// A literal that comes unasked is skipped, and the next command is found.
	k.send("c APPEND Nowhere {5+}\r\nhello\r\n")
	if line := k.line(); !strings.HasPrefix(line, "c NO [TRYCREATE]") {
		t.Fatalf("got %q", line)
	}
	k.send("d APPEND INBOX ~{5+}\r\nhe\x00lo\r\n")
	if line := k.line(); !strings.HasPrefix(line, "d NO [UNKNOWN-CTE]") {
		t.Fatalf("got %q", line)
	}
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 1)", "OK")
}

func TestVanishingInAppendStoresNothing(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.send("a APPEND INBOX {100+}\r\nhalf of it")
	if err := k.conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-g.ended
	g.login().expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 0)", "OK")
}

func TestQuota(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.expect("GETQUOTAROOT INBOX", `* QUOTAROOT INBOX "User quota"`, `* QUOTA "User quota" (STORAGE 2 9 MESSAGE 3 500)`, "OK")
	k.expect(`GETQUOTA "User quota"`, `* QUOTA "User quota" (STORAGE 2 9 MESSAGE 3 500)`, "OK")
	k.expect(`GETQUOTA ""`, "NO [NONEXISTENT]")
	k.expect(`SETQUOTA "User quota" (STORAGE 100)`, "NO [NOPERM]")
	// RFC 9208 section 4.1.2: a mailbox that may be made one day.
	k.expect("GETQUOTAROOT Nowhere", `* QUOTAROOT Nowhere "User quota"`, `* QUOTA "User quota" (STORAGE 2 9 MESSAGE 3 500)`, "OK")
}

// TestTwoSessions lets one session change what another sees.
func TestTwoSessions(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail1)
	}
	a, b := g.selected("INBOX"), g.selected("INBOX")
	a.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	b.expect("NOOP", `* 1 FETCH (FLAGS (\Deleted))`, "OK")
	a.ok("EXPUNGE")
	// No EXPUNGE in answers to commands with sequence numbers; the numbers are as they were.
	b.expect("FETCH 3 UID", "* 3 FETCH (UID 3)", "OK")
	b.expect("STORE 1 +FLAGS (\\Flagged)", "NO [EXPUNGEISSUED]")
	b.expect("FETCH 1 BODY.PEEK[]", "NO [EXPUNGEISSUED]")
	b.expect("FETCH 1:2 ENVELOPE", `* 2 FETCH (ENVELOPE ("Mon, 1 Jan 2024 10:00:00 +0000" "one" (("Bob" NIL "bob" "example.test")) (("Bob" NIL "bob" "example.test")) `+
		`(("Bob" NIL "bob" "example.test")) ((NIL NIL "alice" "example.test")) NIL NIL NIL "<1@example.test>"))`, "NO [EXPUNGEISSUED]")
	g.storage.deliver("INBOX", mail2)
	b.expect("NOOP", "* 1 EXPUNGE", "* 3 EXISTS", "OK")
	b.expect("FETCH 1:* UID", "* 1 FETCH (UID 2)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)", "OK")
}

func TestIdle(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	a, b := g.selected("INBOX"), g.selected("INBOX")
	b.send("i IDLE\r\n")
	if line := b.line(); line != "+ idling" {
		t.Fatalf("got %q", line)
	}
	g.storage.deliver("INBOX", mail2)
	if line := b.line(); line != "* 2 EXISTS" {
		t.Fatalf("a delivery in IDLE gave %q", line)
	}
	a.ok(`STORE 1 +FLAGS (\Deleted)`)
	if line := b.line(); line != `* 1 FETCH (FLAGS (\Deleted))` {
		t.Fatalf("a flag in IDLE gave %q", line)
	}
	a.ok("EXPUNGE")
	if line := b.line(); line != "* 1 EXPUNGE" {
		t.Fatalf("an expunge in IDLE gave %q", line)
	}
	b.send("DONE\r\n")
	if line := b.line(); !strings.HasPrefix(line, "i OK") {
		t.Fatalf("DONE gave %q", line)
	}
	b.send("j IDLE\r\n")
	_ = b.line()
	b.send("NOOP\r\n")
	if line := b.line(); !strings.HasPrefix(line, "j BAD") {
		t.Fatalf("another line than DONE gave %q", line)
	}
	b.expect("NOOP", "OK")
}

// TestExpungedWhileRead removes a message between its listing and the reading of its body.
func TestExpungedWhileRead(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	g.storage.mu.Lock()
	g.storage.beforeRead = func(uid uint32) {
		if uid == 2 {
			g.storage.remove("INBOX", 2)
		}
	}
	g.storage.mu.Unlock()
	untagged, tagged := k.do("FETCH 1:3 BODY.PEEK[TEXT]")
	text := strings.Join(untagged, "\n")
	if !strings.HasPrefix(tagged, "NO [EXPUNGEISSUED]") || strings.Contains(text, "* 2 FETCH") ||
		!strings.Contains(text, "* 1 FETCH") || !strings.Contains(text, "* 3 FETCH") || strings.Contains(text, "EXPUNGE") {
		t.Errorf("got %q and %q", untagged, tagged)
	}
	k.expect("NOOP", "* 2 EXPUNGE", "OK")
}

func TestMailboxDeletedUnderSession(t *testing.T) {
	g := newGateway(t)
	g.login().ok("CREATE Doomed")
	a, b, c := g.selected("Doomed"), g.selected("Doomed"), g.selected("Doomed")
	c.send("i IDLE\r\n")
	_ = c.line()
	a.expect("DELETE Doomed", "* OK [CLOSED] the selected mailbox was deleted", "OK")
	a.expect("NOOP", "OK")
	if line := c.line(); line != "* BYE selected mailbox was deleted" {
		t.Errorf("the idle session got %q", line)
	}
	b.send("n NOOP\r\n")
	if line := b.line(); line != "* BYE selected mailbox was deleted" {
		t.Errorf("the other session got %q", line)
	}
}

func TestStorageOutage(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	g.storage.setDown(true)
	k.expect("STATUS INBOX (MESSAGES)", "NO [UNAVAILABLE]")
	k.expect("FETCH 1 BODY[]", "NO [UNAVAILABLE]")
	k.expect("STORE 1 +FLAGS (\\Seen)", "NO [UNAVAILABLE]")
	k.expect("FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())", "OK") // the view knows
	k.expect("NOOP", "OK")
	g.storage.setDown(false)
	g.storage.deliver("INBOX", mail2)
	k.expect("NOOP", "* 2 EXISTS", "OK")
}

func TestDrain(t *testing.T) {
	g := newGateway(t)
	a, b, c := g.connect(), g.selected("INBOX"), g.selected("INBOX")
	c.send("i IDLE\r\n")
	_ = c.line()
	done := make(chan int)
	go func() { done <- g.sessions.Drain(t.Context(), 0, "going down") }()
	for _, k := range []*talk{a, b, c} {
		if line := k.line(); line != "* BYE going down" {
			t.Errorf("got %q", line)
		}
	}
	if forced := <-done; forced != 0 {
		t.Errorf("%d sessions were cut", forced)
	}
}

func TestTimeouts(t *testing.T) {
	g := newGateway(t, func(o *Options) {
		o.Limits.LoginTimeout, o.Limits.Idle, o.Limits.Stall = 200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	k := g.connect()
	if line := k.line(); line != "* BYE login timeout" {
		t.Errorf("got %q", line)
	}
	k = g.login()
	if line := k.line(); line != "* BYE idle for too long" {
		t.Errorf("got %q", line)
	}
	k = g.login()
	k.send("a APPEND INBOX {10+}\r\nabc")
	if line := k.line(); line != "* BYE command timeout" {
		t.Errorf("got %q", line)
	}
}

func TestLimits(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.AccountSessions = 2 })
	g.login()
	g.login()
	k := g.connect()
	k.expect("LOGIN alice secret", "NO [LIMIT]")
	k.expect("LOGIN bob secret", "OK")
	k = g.connect()
	for range 9 {
		k.expect("NONSENSE", "BAD")
	}
	k.send("x NONSENSE\r\n")
	if lines := k.until("* BYE"); len(lines) != 2 {
		t.Errorf("got %q", lines)
	}
	k = g.connect()
	k.send("a LOGIN {100000}\r\n")
	if line := k.line(); !strings.HasPrefix(line, "a BAD") {
		t.Errorf("a huge literal before login: %q", line)
	}
}

// TestSlowReader has a client that asks for much and reads nothing.
func TestSlowReader(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.Write = 100 * time.Millisecond })
	g.storage.deliver("INBOX", "Subject: big\r\n\r\n"+strings.Repeat("0123456789", 900_000))
	k := g.selected("INBOX")
	if err := k.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	k.send("a FETCH 1 BODY.PEEK[]\r\n")
	<-g.ended
}

func TestPipelining(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.connect()
	k.send("a LOGIN alice secret\r\nb SELECT INBOX\r\nc FETCH 1 UID\r\nd UNSELECT\r\ne LOGOUT\r\n")
	lines := k.until("e OK")
	var order []string
	for _, line := range lines {
		if !strings.HasPrefix(line, "*") {
			order = append(order, line[:4])
		}
	}
	if got := strings.Join(order, ","); got != "a OK,b OK,c OK,d OK,e OK" {
		t.Errorf("order is %s", got)
	}
}

// TestImapclient reads mail as a client library does.
func TestImapclient(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	expunged := make(chan uint32, 10)
	c := g.client(&imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{Expunge: func(seq uint32) { expunged <- seq }}})
	if err := c.Login("alice", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	selected, err := c.Select("INBOX", nil).Wait()
	if err != nil || selected.NumMessages != 2 {
		t.Fatalf("SELECT: %+v, %v", selected, err)
	}
	section := &imap.FetchItemBodySection{}
	messages, err := c.Fetch(imap.SeqSetNum(1, 2), &imap.FetchOptions{
		Envelope: true, Flags: true, UID: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	if err != nil || len(messages) != 2 {
		t.Fatalf("FETCH: %d messages, %v", len(messages), err)
	}
	if got := string(messages[0].FindBodySection(section)); got != mail1 {
		t.Errorf("body is %q", got)
	}
	if messages[1].Envelope.Subject != "two" || messages[1].BodyStructure.MediaType() != "multipart/mixed" {
		t.Errorf("second message is %+v", messages[1])
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "two"}}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != 1 {
		t.Errorf("SEARCH: %+v, %v", found, err)
	}
	if _, err := c.Move(imap.SeqSetNum(1), "Trash").Wait(); err != nil {
		t.Fatal(err)
	}
	if seq := <-expunged; seq != 1 {
		t.Errorf("expunged %d", seq)
	}
	status, err := c.Status("Trash", &imap.StatusOptions{NumMessages: true, Size: true}).Wait()
	if err != nil || *status.NumMessages != 1 || *status.Size != int64(len(mail1)) {
		t.Errorf("STATUS: %+v, %v", status, err)
	}
	quota, err := c.GetQuotaRoot("INBOX").Wait()
	if err != nil || len(quota) != 1 {
		t.Errorf("GETQUOTAROOT: %+v, %v", quota, err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
}
