package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// The examples of RFC 9051 that no other test plays, by section.

// rev2 gives a connection of alice that has enabled IMAP4rev2.
func (g *gateway) rev2() *talk {
	g.t.Helper()
	k := g.login()
	k.expect("ENABLE IMAP4rev2", "* ENABLED IMAP4rev2", "OK ENABLE completed")
	return k
}

// TestAuthenticateBase64: RFC 9051 section 6.2.2. What is no base64 is BAD, in the initial response and in a later one.
func TestAuthenticateBase64(t *testing.T) {
	g := newGateway(t)
	for _, response := range []string{"=AAA", "AAA=BBB", "AAAA====", "A", "AA=A", "AA!A", "*"} {
		k := g.connect()
		if response != "*" { // no atom has it
			k.expect("AUTHENTICATE PLAIN "+response, "BAD ")
		}
		k.send("x AUTHENTICATE PLAIN\r\n")
		if line := k.line(); line != "+ " {
			t.Fatalf("challenge is %q", line)
		}
		k.send("%s\r\n", response)
		if line := k.line(); !strings.HasPrefix(line, "x BAD ") {
			t.Errorf("%s: %q", response, line)
		}
		k.expect("NOOP", "OK")
	}
	g.connect().expect(`AUTHENTICATE PLAIN "AGFsaWNlAHNlY3JldA=="`, "BAD ")
	g.connect().expect("AUTHENTICATE plain AGFsaWNlAHNlY3JldA==", "OK [CAPABILITY ")
}

// TestEnable: RFC 9051 section 6.3.1.
func TestEnable(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	before := k.ok("CAPABILITY")
	k.expect("ENABLE X-GOOD-IDEA UNSELECT", "* ENABLED", "OK ENABLE completed")
	k.expect("ENABLE condstore X-GOOD-IDEA CONDSTORE", "* ENABLED CONDSTORE", "OK ENABLE completed")
	k.expect("ENABLE IMAP4rev2", "* ENABLED IMAP4rev2", "OK ENABLE completed")
	if after := k.ok("CAPABILITY"); !slices.Equal(before, after) {
		t.Errorf("ENABLE has changed %q to %q", before, after)
	}
	k.ok("SELECT INBOX")
	k.expect("ENABLE UTF8=ACCEPT", "* ENABLED UTF8=ACCEPT", "OK [CLIENTBUG] ENABLE completed")
}

// TestClientBugs: RFC 9051 section 7.1, RFC 5530 section 3. What reads well, and no client sends that follows the protocol.
func TestClientBugs(t *testing.T) {
	g := newGateway(t, withTLSOffered(t))
	k := g.connect()
	k.expect("CREATE x", "BAD [CLIENTBUG] ")
	k.startTLS()
	k.expect("STARTTLS", "BAD [CLIENTBUG] ")
	k.ok("LOGIN alice secret")
	k.expect("AUTHENTICATE PLAIN", "BAD [CLIENTBUG] ")
	k.expect("SEARCH ALL", "BAD [CLIENTBUG] ")
	k.ok("EXAMINE INBOX")
	k.expect("STATUS inbox (MESSAGES)", "* STATUS INBOX (MESSAGES 0)", "OK [CLIENTBUG] STATUS completed")
	k.expect("STATUS Sent (MESSAGES)", "* STATUS Sent (MESSAGES 0)", "OK STATUS completed")
	k.expect("CREATE", "BAD missing argument") // which does not read well
}

// TestOldNames: RFC 9051 sections 5.1, 6.3.2, 6.3.4 to 6.3.6, 6.3.9.7 and 6.3.12. Names that are not in NFC are taken everywhere, and the client learns which
// they have become.
func TestOldNames(t *testing.T) {
	g := newGateway(t)
	k := g.rev2()
	const typed, kept = "u\u0308ber", "über" // u and a diaeresis
	k.expect(`CREATE "`+typed+`"`, `* LIST () "/" "`+kept+`" ("OLDNAME" ("`+typed+`"))`, "OK [MAILBOXID ")
	k.expect(`APPEND "`+typed+`" {3+}`+"\r\nabc", `* LIST () "/" "`+kept+`" ("OLDNAME" ("`+typed+`"))`, "OK [APPENDUID ")
	k.expect(`APPEND "`+kept+`" {3+}`+"\r\nabc", "OK [APPENDUID ")
	k.expect(`STATUS "`+typed+`" (MESSAGES)`, `* STATUS "`+kept+`" (MESSAGES 2)`, "OK")
	if lines := k.ok(`SELECT "` + typed + `"`); !slices.Contains(lines, `* LIST () "/" "`+kept+`" ("OLDNAME" ("`+typed+`"))`) {
		t.Errorf("SELECT says %q", lines)
	}
	k.ok("UNSELECT")
	k.expect(`RENAME "`+typed+`" Over`, `* LIST () "/" Over ("OLDNAME" ("`+typed+`"))`, "OK RENAME completed")
	k.expect(`RENAME Over "`+typed+`"`, `* LIST () "/" "`+kept+`" ("OLDNAME" (Over))`, "OK RENAME completed")
	k.expect(`RENAME "`+kept+`" Over`, "OK RENAME completed")
	k.ok(`RENAME Over "` + kept + `"`)
	k.expect(`DELETE "`+typed+`"`, `* LIST (\NonExistent) "/" "`+kept+`" ("OLDNAME" ("`+typed+`"))`, "OK DELETE completed")
	k.expect("CREATE {2+}\r\n\xff\xfe", "NO [CANNOT] ")
	k.expect(`LIST "" {2+}`+"\r\n\xff\xfe", "OK LIST completed")
	// Who has not enabled IMAP4rev2 is told nothing that RFC 3501 does not know.
	old := g.login()
	old.ok(`CREATE "` + typed + `"`)
	old.expect(`RENAME "`+typed+`" Over`, "OK RENAME completed")
	old.ok(`CREATE "` + typed + `"`)
	old.expect(`DELETE "`+typed+`"`, "OK DELETE completed")
}

// TestCreateAndDelete: RFC 9051 sections 6.3.4 and 6.3.5.
func TestCreateAndDelete(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.expect("CREATE owatagusiam/", "OK [MAILBOXID ")
	k.expect("CREATE owatagusiam/blurdybloop", "OK [MAILBOXID ")
	k.expect("CREATE owatagusiam", "NO [ALREADYEXISTS] ")
	k.expect("CREATE inbox", "NO [ALREADYEXISTS] ")
	k.ok("CREATE blurdybloop")
	k.ok("CREATE foo/bar")
	k.expect(`LIST "" foo*`, `* LIST (\HasChildren) "/" foo`, `* LIST (\HasNoChildren) "/" foo/bar`, "OK LIST completed")
	k.expect("DELETE blurdybloop", "OK DELETE completed")
	k.expect("DELETE foo", "NO [HASCHILDREN] ")
	k.expect("DELETE foo/bar", "OK DELETE completed")
	k.expect(`LIST "" foo*`, `* LIST (\HasNoChildren) "/" foo`, "OK LIST completed")
	k.expect("DELETE foo", "OK DELETE completed")
	k.expect("DELETE foo", "NO [NONEXISTENT] ")
	k.expect("RENAME owatagusiam zowie", "OK RENAME completed")
	k.expect(`LIST zowie/ %`, `* LIST (\HasNoChildren) "/" zowie/blurdybloop`, "OK LIST completed")
}

// TestListExamples: RFC 9051 section 6.3.9.8, examples 1 to 9 and 11; nothing is remote, and names above a mailbox are mailboxes.
func TestListExamples(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	for _, name := range []string{"Sent", "Trash"} {
		k.ok("DELETE %s", name)
	}
	for _, name := range []string{"INBOX", "Sent", "Trash"} {
		k.ok("UNSUBSCRIBE %s", name)
	}
	line := func(attrs, name string) string { return `* LIST (` + attrs + `) "/" ` + name }
	for _, name := range []string{"Fruit/Apple", "Fruit/Banana", "Tofu", "Vegetable/Broccoli", "Vegetable/Corn"} {
		k.ok("CREATE %s", name)
	}
	for _, name := range []string{"inbox", "Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli"} {
		k.ok("SUBSCRIBE %s", name)
	}
	k.expect(`LIST "" "*"`, line(`\HasNoChildren`, "INBOX"), line(`\HasChildren`, "Fruit"), line(`\HasNoChildren`, "Fruit/Apple"), line(`\HasNoChildren`, "Fruit/Banana"),
		line(`\HasNoChildren`, "Tofu"), line(`\HasChildren`, "Vegetable"), line(`\HasNoChildren`, "Vegetable/Broccoli"), line(`\HasNoChildren`, "Vegetable/Corn"), "OK")
	subscribed := []string{line(`\Subscribed \HasNoChildren`, "INBOX"), line(`\Subscribed \HasNoChildren`, "Fruit/Banana"), line(`\NonExistent \Subscribed \HasNoChildren`, "Fruit/Peach"),
		line(`\Subscribed \HasChildren`, "Vegetable"), line(`\Subscribed \HasNoChildren`, "Vegetable/Broccoli"), "OK"}
	k.expect(`LIST (SUBSCRIBED) "" "*"`, subscribed...)
	k.expect(`LIST (REMOTE SUBSCRIBED) "" "*"`, subscribed...)
	top := []string{line(`\HasNoChildren`, "INBOX"), line(`\HasChildren`, "Fruit"), line(`\HasNoChildren`, "Tofu"), line(`\HasChildren`, "Vegetable"), "OK"}
	k.expect(`LIST () "" "%" RETURN (CHILDREN)`, top...)
	k.expect(`LIST (REMOTE) "" "%" RETURN (CHILDREN)`, top...)
	k.expect(`LIST (REMOTE) "" "*" RETURN (SUBSCRIBED)`, line(`\Subscribed \HasNoChildren`, "INBOX"), line(`\HasChildren`, "Fruit"), line(`\HasNoChildren`, "Fruit/Apple"), line(`\Subscribed \HasNoChildren`, "Fruit/Banana"),
		line(`\HasNoChildren`, "Tofu"), line(`\Subscribed \HasChildren`, "Vegetable"), line(`\Subscribed \HasNoChildren`, "Vegetable/Broccoli"), line(`\HasNoChildren`, "Vegetable/Corn"), "OK")
	// 7 and 8: the children of Vegetable all match, so that nothing is told of it twice.
	k.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"`, line(`\Subscribed \HasNoChildren`, "INBOX"), line(`\HasChildren`, `Fruit ("CHILDINFO" ("SUBSCRIBED"))`),
		line(`\Subscribed \HasChildren`, `Vegetable ("CHILDINFO" ("SUBSCRIBED"))`), "OK")
	k.ok("UNSUBSCRIBE Vegetable/Broccoli")
	k.ok("SUBSCRIBE Tofu")
	k.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "" (Tofu Vegetable) RETURN (CHILDREN)`, line(`\Subscribed \HasNoChildren`, "Tofu"), line(`\Subscribed \HasChildren`, "Vegetable"), "OK")
	// 9: a child that does not exist.
	k.ok("CREATE foo")
	k.ok("SUBSCRIBE foo/bar")
	k.expect(`LIST "" ("foo")`, line(`\HasNoChildren`, "foo"), "OK")
	k.expect(`LIST (SUBSCRIBED) "" "foo/*"`, line(`\NonExistent \Subscribed \HasNoChildren`, "foo/bar"), "OK")
	k.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "" foo RETURN (CHILDREN)`, line(`\HasNoChildren`, `foo ("CHILDINFO" ("SUBSCRIBED"))`), "OK")
	// Empty patterns ask for nothing in the extended syntax.
	k.expect(`LIST "" ("" foo)`, line(`\HasNoChildren`, "foo"), "OK")
	k.expect(`LIST foo "" RETURN (CHILDREN)`, "OK")
	k.expect(`LIST () "" ""`, "OK")
	k.expect(`LIST "" %`+strings.Repeat("a", 2000), "OK") // nor does what cannot match
	// 11: a mailbox that may not be read has no STATUS; see also TestListMyRights.
	k.expect(`LIST "" (INBOX foo) RETURN (STATUS (MESSAGES UNSEEN))`, line(`\HasNoChildren`, "INBOX"), "* STATUS INBOX (MESSAGES 0 UNSEEN 0)", line(`\HasNoChildren`, "foo"), "* STATUS foo (MESSAGES 0 UNSEEN 0)", "OK")
}

// TestAppendAndCopyTheirUIDs: RFC 9051 section 6.3.12.
func TestAppendAndCopyTheirUIDs(t *testing.T) {
	g := newGateway(t)
	k := g.rev2()
	k.ok("CREATE saved-messages")
	k.ok("CREATE meeting")
	const message = "Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\nFrom: Fred Foobar <foobar@example.com>\r\nSubject: afternoon meeting\r\nTo: mooch@example.com\r\n" +
		"Message-Id: <B27397-0100000@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nHello Joe, do you think we can meet at 3:30 tomorrow?\r\n\r\n"
	k.send("A003 APPEND saved-messages (\\Seen) {%d}\r\n", len(message))
	if line := k.line(); !strings.HasPrefix(line, "+ ") {
		t.Fatalf("got %q", line)
	}
	k.send("%s\r\n", message)
	saved := g.uidValidity("saved-messages")
	if line := k.line(); line != fmt.Sprintf("A003 OK [APPENDUID %d 1] APPEND completed", saved) {
		t.Fatalf("got %q", line)
	}
	for uid := 2; uid <= 4; uid++ {
		k.expect(fmt.Sprintf("APPEND saved-messages (\\Seen) {%d+}\r\n%s", len(message), message), fmt.Sprintf("OK [APPENDUID %d %d]", saved, uid))
	}
	k.ok("SELECT saved-messages")
	k.expect("COPY 2:4 meeting", fmt.Sprintf("OK [COPYUID %d 2:4 1:3] COPY completed", g.uidValidity("meeting")))
	k.expect("UID COPY 305:310 meeting", "OK UID COPY completed")
	k.expect("FETCH 1 FLAGS", `* 1 FETCH (FLAGS (\Seen))`, "OK")
	k.expect("COPY 1 nowhere", "NO [TRYCREATE] ")
	k.expect("MOVE 1 nowhere", "NO [TRYCREATE] ")
}

// TestUIDsOfWhatMayNotBeRead: RFC 9051 sections 6.3.12 and 6.4.7.
func TestUIDsOfWhatMayNotBeRead(t *testing.T) {
	g, alice, bob := neighbours(t)
	alice.ok("CREATE Slot")
	alice.ok("SETACL Slot bob li")
	bob.ok("APPEND INBOX {5+}\r\nhello")
	bob.ok("SELECT INBOX")
	slot := `"` + ofAlice + `Slot"`
	bob.expect("APPEND "+slot+" {5+}\r\nhello", "OK APPEND completed")
	bob.expect("COPY 1 "+slot, "OK COPY completed")
	bob.expect("REPLACE 1 "+slot+" {5+}\r\nhello", "* 1 EXPUNGE", "OK REPLACE completed")
	bob.ok("APPEND INBOX {5+}\r\nhello")
	bob.expect("MOVE 1 "+slot, "* 1 EXPUNGE", "OK MOVE completed")
	alice.expect("STATUS Slot (MESSAGES)", "* STATUS Slot (MESSAGES 4)", "OK")
	alice.ok("SETACL Slot bob lri")
	bob.expect("APPEND "+slot+" {5+}\r\nhello", fmt.Sprintf("OK [APPENDUID %d 5]", g.uidValidity("Slot")))
}

// TestUnaskedFetchHasUID: RFC 9051 sections 6.3.13 and 7.5.2, in IMAP4rev2.
func TestUnaskedFetchHasUID(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail1)
	k, old, other := g.rev2(), g.selected("INBOX"), g.selected("INBOX")
	k.ok("SELECT INBOX")
	other.ok(`STORE 2 +FLAGS (\Flagged)`)
	k.expect("NOOP", `* 2 FETCH (UID 2 FLAGS (\Flagged))`, "OK")
	old.expect("NOOP", `* 2 FETCH (FLAGS (\Flagged))`, "OK")
	k.send("i IDLE\r\n")
	if line := k.line(); line != "+ idling" {
		t.Fatalf("got %q", line)
	}
	other.ok(`STORE 1 +FLAGS (\Seen)`)
	if line := k.line(); line != `* 1 FETCH (UID 1 FLAGS (\Seen))` {
		t.Errorf("IDLE gives %q", line)
	}
	k.send("DONE\r\n")
	k.until("i OK")
}

// TestExpungeExample: RFC 9051 section 6.4.3.
func TestExpungeExample(t *testing.T) {
	g := newGateway(t)
	for range 11 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.ok(`STORE 3,4,7,11 +FLAGS.SILENT (\Deleted)`)
	if got := k.ok("EXPUNGE"); len(got) != 4 {
		t.Errorf("got %q", got)
	}
	k.expect("UID SEARCH ALL", "* SEARCH 1 2 5 6 8 9 10", "OK")
	k.ok(`STORE 1:7 +FLAGS.SILENT (\Deleted)`)
	k.expect("UID EXPUNGE 3:5", "* 3 EXPUNGE", "OK UID EXPUNGE completed") // section 6.4.9
}

// TestSavedResultExamples: RFC 9051 section 6.4.4.4, examples 1 to 10, and the table of section 6.4.4.1.
func TestSavedResultExamples(t *testing.T) {
	g := newGateway(t)
	for range 6 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.rev2()
	k.ok("SELECT INBOX")
	k.ok(`STORE 2:3,5 +FLAGS.SILENT (\Flagged)`)
	tagged := func(text string) string { return `* ESEARCH (TAG "` + k.nextTag() + `")` + text }
	// 1 and 3
	k.expect(`SEARCH RETURN (SAVE) FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"`, "OK")
	k.expect("FETCH $ (UID FLAGS)", `* 2 FETCH (UID 2 FLAGS (\Flagged))`, `* 3 FETCH (UID 3 FLAGS (\Flagged))`, `* 5 FETCH (UID 5 FLAGS (\Flagged))`, "OK")
	k.expect("UID SEARCH UID $ SMALLER 4096", tagged(" UID ALL 2:3,5"), "OK")
	k.expect("UID SEARCH $ SMALLER 4096", tagged(" UID ALL 2:3,5"), "OK")
	// 4
	k.expect("SEARCH CHARSET UTF-8 (OR $ 1,300:302) TEXT {5+}\r\nFirst", tagged(" ALL 1:3,5"), "OK")
	// 5
	k.expect("SEARCH RETURN (SAVE) CHARSET X-NONE (OR $ 1) TEXT {4}", "NO [BADCHARSET (UTF-8 US-ASCII)] ")
	k.expect("FETCH $ UID", "OK")
	// 2, 6 and 7, sent at once
	k.send("E1 SEARCH RETURN (SAVE) KEYWORD $Junk\r\nE2 COPY $ Sent\r\nE3 SEARCH RETURN (SAVE) FLAGGED\r\nE4 STORE $ +FLAGS.Silent (\\Draft)\r\nE5 FETCH $ UID\r\n")
	got := k.until("E5 ")
	want := []string{"E1 OK SEARCH completed", "E2 OK COPY completed", "E3 OK SEARCH completed", "E4 OK STORE completed", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "* 5 FETCH (UID 5)", "E5 OK FETCH completed"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	// 10
	for _, c := range []struct{ options, answer, saved string }{
		{"ALL", " ALL 2:3,5", "2:3,5"},
		{"ALL SAVE", " ALL 2:3,5", "2:3,5"},
		{"SAVE MIN", " MIN 2", "2"},
		{"MAX SAVE", " MAX 5", "5"},
		{"MAX SAVE MIN", " MIN 2 MAX 5", "2,5"},
		{"MAX SAVE MIN COUNT", " MIN 2 MAX 5 COUNT 3", "2:3,5"},
		{"ALL SAVE MIN", " MIN 2 ALL 2:3,5", "2:3,5"},
	} {
		k.expect("SEARCH RETURN ("+c.options+") FLAGGED", tagged(c.answer), "OK")
		k.expect("SEARCH $", tagged(" ALL "+c.saved), "OK")
	}
	k.expect("SEARCH RETURN (SAVE MIN MAX) KEYWORD none", tagged(""), "OK")
	k.expect("SEARCH $", tagged(""), "OK")
	k.expect("SEARCH RETURN (SAVE) ALL", "OK")
	k.ok("SELECT INBOX")
	k.expect("SEARCH $", tagged(""), "OK") // a SELECT empties it
}

// TestNoMoreKeywords: RFC 9051 section 7.1, PERMANENTFLAGS. Where the limit is reached the client hears that there can be no more.
func TestNoMoreKeywords(t *testing.T) {
	storage := &refusing{}
	g := newGateway(t, func(o *Options) { storage.StorageServiceClient, o.Storage = o.Storage, storage })
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.ok("STORE 1 +FLAGS (old)")
	storage.set(fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "no more keywords"))
	k.expect("STORE 1 +FLAGS (new)", `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft old)] no more keywords`, "NO [LIMIT] no more keywords")
	k.expect("STORE 1 +FLAGS (newer)", "NO [LIMIT] no more keywords")
	storage.set(nil)
	k.expect("STORE 1 -FLAGS (old)", "* 1 FETCH (FLAGS ())", "OK")
}

// TestContinuations: RFC 9051 section 7.6.
func TestContinuations(t *testing.T) {
	g := newGateway(t)
	k := g.connect()
	k.send("A044 BLURDYBLOOP {102856}\r\n")
	if line := k.line(); !strings.HasPrefix(line, "A044 BAD ") {
		t.Errorf("got %q", line)
	}
	for _, step := range []struct{ sent, want string }{{"A001 LOGIN {5}\r\n", "+ OK"}, {"alice {6}\r\n", "+ OK"}, {"secret\r\n", "A001 OK [CAPABILITY "}} {
		k.send("%s", step.sent)
		if line := k.line(); !strings.HasPrefix(line, step.want) {
			t.Fatalf("%q: %q", step.sent, line)
		}
	}
	// What is refused already is not asked for, nor sent: the next line is a command.
	k.expect("APPEND Nowhere {5}", "NO [TRYCREATE] ")
	k.expect("NOOP", "OK")
}

// TestSampleConnection: RFC 9051 section 8, behind the login.
func TestSampleConnection(t *testing.T) {
	g := newGateway(t)
	const header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\nSubject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n" +
		"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\nMessage-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
	for range 11 {
		g.storage.deliver("INBOX", mail1)
	}
	g.storage.deliver("INBOX", header+"Two\r\nlines\r\n")
	k := g.rev2()
	want := []string{"* 12 EXISTS", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`, fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs are valid", g.uidValidity("INBOX")), `* LIST () "/" INBOX`}
	got := k.ok("select inbox")
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%q is not in %q", line, got)
		}
	}
	k.ok(`store 12 +flags.silent \Seen`)
	gray := `(("Terry Gray" NIL "gray" "cac.washington.edu")) `
	k.expect("fetch 12 full", `* 12 FETCH (FLAGS (\Seen) INTERNALDATE "14-Nov-2023 22:13:20 +0000" `+fmt.Sprintf("RFC822.SIZE %d ", len(header)+12)+
		`ENVELOPE ("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" `+gray+gray+gray+`((NIL NIL "imap" "cac.washington.edu")) `+
		`((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>") `+
		`BODY ("TEXT" "PLAIN" ("charset" "US-ASCII") NIL NIL "7BIT" 12 2))`, "OK")
	if got := strings.Join(k.ok("fetch 12 body[header]"), "\r\n"); got != fmt.Sprintf("* 12 FETCH (BODY[HEADER] {%d}\r\n%s)", len(header), header) {
		t.Errorf("header: %q", got)
	}
	k.expect(`store 12 +flags \deleted`, `* 12 FETCH (UID 12 FLAGS (\Deleted \Seen))`, "OK")
	k.expect("logout", "* BYE see you", "OK LOGOUT completed")
}
