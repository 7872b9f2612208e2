package session

import (
	"fmt"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// TestSequenceNumbersOutOfRange: RFC 9051 section 9, "seq-number".
func TestSequenceNumbersOutOfRange(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	for _, command := range []string{"FETCH 1:* FLAGS", "FETCH * UID", `STORE * +FLAGS (\Seen)`, "COPY 1:* Sent", "MOVE * Sent"} {
		k.expect(command, "BAD no such message sequence number")
	}
	k.expect("UID FETCH 1:* FLAGS", "OK")
	k.expect("SEARCH 1:*", "* SEARCH", "OK")
	k.expect("UID SEARCH UID *", "* SEARCH", "OK")
	g.storage.deliver("INBOX", mail1)
	k.expect("NOOP", "* 1 EXISTS", "OK")
	k.expect("FETCH * UID", "* 1 FETCH (UID 1)", "OK")
	k.expect("FETCH 2:* UID", "BAD no such message sequence number")
	k.expect("UID FETCH 2:* FLAGS", "* 1 FETCH (UID 1 FLAGS ())", "OK") // RFC 9051 section 6.4.9
}

// TestUIDSearchNumbersAreThoseBefore: RFC 9051 section 5.5, sequence numbers in UID SEARCH are of before the EXPUNGEs in its answer.
func TestUIDSearchNumbersAreThoseBefore(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail1)
	}
	k, other := g.selected("INBOX"), g.selected("INBOX")
	other.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.ok("EXPUNGE")
	k.expect("UID SEARCH 2", "* SEARCH 2", "* 1 EXPUNGE", "OK")
	k.expect("UID SEARCH 2", "* SEARCH 3", "OK")
}

// TestSilentStoreTellsWhatOthersDid: RFC 9051 section 6.4.6.
func TestSilentStoreTellsWhatOthersDid(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.ok(`STORE 1:2 FLAGS (\Draft Work)`)
	box, err := g.storage.named("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	// Another session, of which no notice has come yet.
	behind := func(flags uint32) {
		g.storage.mu.Lock()
		defer g.storage.mu.Unlock()
		old := box.messages[0].state
		box.messages[0].state = &storagev1.MessageState{
			Uid: old.Uid, Modseq: box.change(), Flags: flags, Keywords: old.Keywords, Size: old.Size, InternalUnix: old.InternalUnix,
		}
	}
	behind(uint32(storagev1.Flag_FLAG_FLAGGED))
	k.expect(`STORE 1:2 +FLAGS.SILENT (\Seen)`, `* 1 FETCH (FLAGS (\Flagged \Seen Work))`, "OK")
	k.expect(`STORE 1:2 -FLAGS.SILENT (\Seen Work)`, "OK")
	behind(uint32(storagev1.Flag_FLAG_FLAGGED | storagev1.Flag_FLAG_ANSWERED))
	k.expect(`UID STORE 1 -FLAGS.SILENT (\Flagged)`, `* 1 FETCH (UID 1 FLAGS (\Answered))`, "OK")
	behind(uint32(storagev1.Flag_FLAG_DRAFT))
	k.expect(`STORE 1 FLAGS.SILENT (\Seen)`, "OK") // whatever it was, it is what the client said
	k.expect("FETCH 1:2 FLAGS", `* 1 FETCH (FLAGS (\Seen))`, `* 2 FETCH (FLAGS (\Draft))`, "OK")
}

// TestSearchResultVariable: RFC 9051 section 6.4.4.1.
func TestSearchResultVariable(t *testing.T) {
	g := newGateway(t)
	for range 4 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.expect("FETCH $ UID", "OK") // empty at first
	k.expect("SEARCH RETURN (SAVE) 2:3", "OK")
	k.expect("SEARCH RETURN (SAVE) FROBNICATE", "BAD")
	k.expect("FETCH $ UID", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "OK") // BAD leaves it
	k.expect("SEARCH RETURN (SAVE) CHARSET X-NONE ALL", "NO [BADCHARSET (UTF-8 US-ASCII)]")
	k.expect("FETCH $ UID", "OK") // NO empties it
	k.expect("SEARCH RETURN (SAVE MIN COUNT) 2:4", `* ESEARCH (TAG "`+k.nextTag()+`") MIN 2 COUNT 3`, "OK")
	k.expect("UID SEARCH $", "* SEARCH 2 3 4", "OK")
	k.expect("SEARCH RETURN (SAVE MIN MAX) 2:4", `* ESEARCH (TAG "`+k.nextTag()+`") MIN 2 MAX 4`, "OK")
	k.expect("UID SEARCH $", "* SEARCH 2 4", "OK")
	k.ok(`STORE $ +FLAGS.SILENT (\Deleted)`)
	k.expect("UID EXPUNGE 2", "* 2 EXPUNGE", "OK")
	k.expect("UID SEARCH $", "* SEARCH 4", "OK") // what is expunged leaves it
	k.expect("MOVE $ Sent", fmt.Sprintf("* OK [COPYUID %d 4 1] moved", g.uidValidity("Sent")), "* 3 EXPUNGE", "OK")
	k.ok("SELECT INBOX")
	k.expect("COPY $ Sent", "OK COPY completed")
}

// TestListTellsOfChildrenOnce: RFC 5258 section 5, example 9. A name that is there for its children only is told if one of them is not.
func TestListTellsOfChildrenOnce(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	for _, name := range []string{"foo2/bar1", "foo2/bar2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2/mamba", "qux2/bar2"} {
		k.ok("CREATE %s", name)
		k.ok("SUBSCRIBE %s", name)
	}
	k.ok("SUBSCRIBE eps2")
	k.expect(`LIST (RECURSIVEMATCH SUBSCRIBED) "" "*2"`,
		`* LIST (\Subscribed \HasNoChildren) "/" baz2/bar2`,
		`* LIST (\Subscribed \HasNoChildren) "/" baz2/bar22`,
		`* LIST (\Subscribed \HasNoChildren) "/" baz2/bar222`,
		`* LIST (\Subscribed \HasChildren) "/" eps2 ("CHILDINFO" ("SUBSCRIBED"))`,
		`* LIST (\HasChildren) "/" foo2 ("CHILDINFO" ("SUBSCRIBED"))`,
		`* LIST (\Subscribed \HasNoChildren) "/" foo2/bar2`,
		`* LIST (\Subscribed \HasNoChildren) "/" qux2/bar2`, "OK")
}

// TestListOfChildren: RFC 5819 section 2, RFC 6154 section 5.
func TestListOfChildren(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("CREATE Work/Mine")
	k.ok(`CREATE Old/Years (USE (\Archive))`)
	k.ok("SUBSCRIBE Work/Mine")
	k.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (STATUS (MESSAGES))`,
		`* LIST (\Subscribed \HasNoChildren) "/" INBOX`, "* STATUS INBOX (MESSAGES 0)",
		`* LIST (\Subscribed \HasNoChildren \Sent) "/" Sent`, "* STATUS Sent (MESSAGES 0)",
		`* LIST (\Subscribed \HasNoChildren \Trash) "/" Trash`, "* STATUS Trash (MESSAGES 0)",
		`* LIST (\HasChildren) "/" Work ("CHILDINFO" ("SUBSCRIBED"))`, "OK")
	k.expect(`LIST (SPECIAL-USE RECURSIVEMATCH) "" %`,
		`* LIST (\HasChildren) "/" Old ("CHILDINFO" ("SPECIAL-USE"))`,
		`* LIST (\HasNoChildren \Sent) "/" Sent`, `* LIST (\HasNoChildren \Trash) "/" Trash`, "OK")
	k.expect(`LIST (SPECIAL-USE SUBSCRIBED RECURSIVEMATCH) "" O*`, "OK") // Old/Years is not subscribed
	k.expect(`LIST (RECURSIVEMATCH) "" *`, "BAD")
	k.expect(`LIST "" (INBOX Work/%) RETURN (SPECIAL-USE)`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren) "/" Work/Mine`, "OK")
	k.expect(`LIST "" "Work/"`, "OK")
	k.expect(`LIST "" Wor%ine`, "OK")
	k.expect(`LIST "" Wor*ine`, `* LIST (\HasNoChildren) "/" Work/Mine`, "OK")
	k.expect(`LIST Old ""`, `* LIST (\Noselect) "/" ""`, "OK")
}

// TestCreateWithUseThatIsTaken: RFC 6154 section 3.
func TestCreateWithUseThatIsTaken(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.expect(`CREATE Mine (USE (\Sent))`, "NO [USEATTR]")
	k.expect(`CREATE Mine (USE (\Drafts \Archive))`, "NO [USEATTR]")
	k.expect(`CREATE Mine (USE ())`, "OK")
	k.expect(`CREATE Other (USE (\drafts))`, "OK")
	k.expect(`LIST (SPECIAL-USE) "" O*`, `* LIST (\HasNoChildren \Drafts) "/" Other`, "OK")
}

// TestNoQuotaRootWithoutLimits: the list of resources is never empty (RFC 9208 section 7).
func TestNoQuotaRootWithoutLimits(t *testing.T) {
	g := newGateway(t)
	k := g.connect()
	k.ok("LOGIN unlimited secret")
	k.expect("GETQUOTAROOT INBOX", "* QUOTAROOT INBOX", "OK")
	k.expect(`GETQUOTA "User quota"`, "NO [NONEXISTENT]")
}

// TestAppendOfNothing: RFC 3502 section 3.
func TestAppendOfNothing(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	k.expect("APPEND INBOX {0}", "NO")
	k.send("x APPEND INBOX {0+}\r\n\r\n")
	if line := k.line(); !strings.HasPrefix(line, "x NO") {
		t.Errorf("got %q", line)
	}
	k.expect("NOOP", "OK") // nothing is there
}

func TestAppendDates(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	for i, c := range []struct{ sent, want string }{
		{`" 1-Feb-2024 00:30:00 +0100"`, `"31-Jan-2024 23:30:00 +0000"`},
		{`"29-feb-2024 23:59:59 -1200"`, `" 1-Mar-2024 11:59:59 +0000"`},
		{`"01-Jan-1969 00:00:00 +0000"`, `" 1-Jan-1969 00:00:00 +0000"`},
		{`"30-Feb-2024 00:00:00 +0000"`, ""},
		{`"01-Feb-2024 00:00:00"`, ""},
		{`"01-Feb-24 00:00:00 +0000"`, ""},
	} {
		k.n++
		k.send("a%d APPEND INBOX %s {3+}\r\nabc\r\n", k.n, c.sent)
		lines := k.until(fmt.Sprintf("a%d ", k.n))
		if c.want == "" {
			if last := lines[len(lines)-1]; !strings.Contains(last, "BAD") {
				t.Errorf("%s: %q", c.sent, last)
			}
			continue
		}
		k.expect("FETCH * INTERNALDATE", fmt.Sprintf("* %d FETCH (INTERNALDATE %s)", i+1, c.want), "OK")
	}
}

func TestFetchSections(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.ok(`STORE 1 +FLAGS.SILENT (\Seen)`)
	header := strings.Index(mail1, "\r\n\r\n") + 4
	k.expect("FETCH 1 BODY[TEXT]<100.5>", "* 1 FETCH (BODY[TEXT]<100> {0}", ")", "OK") // past the end: an empty string
	k.expect("FETCH 1 BODY[]<0.0>", "BAD")
	k.expect("FETCH 1 BODY[HEADER.FIELDS ()]", "BAD")
	k.expect("FETCH 1 BODY[0]", "BAD")
	k.expect("FETCH 1 BODY[MIME]", "BAD")
	k.expect("FETCH 1 (BODY[HEADER.FIELDS (X-None \"subject\")] BODY[1.HEADER] BODY[2])",
		"* 1 FETCH (BODY[HEADER.FIELDS (X-None subject)] {16}", "Subject: one", "", " BODY[1.HEADER] NIL BODY[2] NIL)", "OK")
	k.expect("FETCH 1 (RFC822.TEXT BODY[1]<0.5>)", "* 1 FETCH (RFC822.TEXT {13}", "First body.", " BODY[1]<0> {5}", "First)", "OK")
	k.expect("FETCH 1 (RFC822.SIZE)", fmt.Sprintf("* 1 FETCH (RFC822.SIZE %d)", len(mail1)), "OK")
	got := strings.Join(k.ok("FETCH 1 BODY[HEADER]"), "\r\n")
	if want := fmt.Sprintf("* 1 FETCH (BODY[HEADER] {%d}\r\n%s)", header, mail1[:header]); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestReadOnlyStaysAsItIs: RFC 9051 section 6.3.3.
func TestReadOnlyStaysAsItIs(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.login()
	k.ok("EXAMINE INBOX")
	k.expect("FETCH 1 BODY[TEXT]<0.3>", "* 1 FETCH (BODY[TEXT]<0> {3}", "Fir)", "OK")
	k.expect("FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())", "OK")
	k.expect("MOVE 1 Sent", "NO [CANNOT]")
	k.expect("UID EXPUNGE 1", "NO [CANNOT]")
	k.expect(`UID STORE 1 -FLAGS (\Seen)`, "NO [CANNOT]")
	k.expect("COPY 1 INBOX", "* 2 EXISTS", fmt.Sprintf("OK [COPYUID %d 1 2]", g.uidValidity("INBOX")))
}

// TestSeenOfManyIsToldOnce: \Seen comes with the message, in one response (RFC 9051 section 6.4.5).
func TestSeenOfManyIsToldOnce(t *testing.T) {
	g := newGateway(t)
	for range 3 * readAhead {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.ok(`STORE 2 +FLAGS.SILENT (\Seen)`)
	var want []string
	for i := range 3 * readAhead {
		flags := ` FLAGS (\Seen))`
		if i == 1 {
			flags = ")"
		}
		want = append(want, fmt.Sprintf("* %d FETCH (BODY[TEXT] {13}", i+1), "First body.", flags)
	}
	k.expect("FETCH 1:* BODY[TEXT]", append(want, "OK")...)
	k.expect("NOOP", "OK")
}

// TestNULIsGivenBack: a message is given back as it came, also where the grammar of literals has no NUL.
func TestNULIsGivenBack(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	k.send("x APPEND INBOX {7+}\r\n\r\nhe\x00lo\r\n")
	if lines := k.until("x "); !strings.HasPrefix(lines[len(lines)-1], "x OK [APPENDUID ") {
		t.Fatalf("got %q", lines)
	}
	k.expect("FETCH 1 BODY.PEEK[]", "* 1 FETCH (BODY[] {7}", "", "he\x00lo)", "OK")
}
