package session

import (
	"strings"
	"testing"
)

// TestGrammarIsTaken: every form that RFC 9051 section 9 has for something (section 4 in words).
func TestGrammarIsTaken(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail2)
	}
	k := g.selected("INBOX")
	k.ok("CREATE NIL") // an astring, and not nothing: section 4.5
	for _, command := range []string{
		// Commands and their words in any case.
		"noop", "NoOp", "Uid fEtCh 1 fLaGs",
		// mailbox: atom, quoted, literals; INBOX in any case.
		"STATUS inbox (messages)", `STATUS "InBoX" (MESSAGES)`, "STATUS {5+}\r\niNbOx (MESSAGES)", "STATUS NIL (UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE)", `STATUS "NIL" (MESSAGES)`,
		// sequence-set
		"FETCH 1 UID", "FETCH * UID", "FETCH 1,2,3 UID", "FETCH 3:1 UID", "FETCH *:1 UID", "FETCH 1:*,2,3:* UID", "FETCH $ UID", "UID FETCH 4294967295:1 UID", "UID FETCH 77 UID",
		// fetch-att
		"FETCH 1 ALL", "FETCH 1 FULL", "FETCH 1 FAST", "FETCH 1 (FLAGS)", "FETCH 1 (BODY BODYSTRUCTURE ENVELOPE INTERNALDATE RFC822.SIZE UID FLAGS)",
		"FETCH 1 BODY[]", "FETCH 1 BODY[1]", "FETCH 1 BODY[1.2.3.4294967295]", "FETCH 1 body.peek[header]<0.1>", "FETCH 1 BODY.PEEK[TEXT]<9223372036854775807.9223372036854775807>",
		"FETCH 1 BODY.PEEK[HEADER.FIELDS (From)]", "FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (From \"to\" {2+}\r\ncc)]", "FETCH 1 BODY.PEEK[1.MIME]", "FETCH 1 BODY.PEEK[1.HEADER.FIELDS (A])]",
		"FETCH 1 (BINARY[1] BINARY.PEEK[2]<0.2> BINARY.SIZE[1])", "FETCH 1 BINARY.PEEK[]",
		"FETCH 1 (RFC822 RFC822.HEADER RFC822.TEXT)", // RFC 3501
		// store-att-flags
		`STORE 1 FLAGS (\Seen)`, `STORE 1 FLAGS \Seen \Answered work`, `STORE 1 +FLAGS.SILENT ()`, `STORE 1 -flags.silent (\SEEN \answered)`, `STORE 1 FLAGS ($MDNSent $Forwarded $Junk $NotJunk $Phishing)`,
		// search-program
		"SEARCH ALL", "SEARCH 1 2:* $", "SEARCH (ALL)", "SEARCH ((1:2 (SEEN)) UNSEEN)", "SEARCH NOT NOT (NOT ALL)", "SEARCH OR (ALL SEEN) OR 1 NOT 2",
		"SEARCH ANSWERED DELETED FLAGGED SEEN UNANSWERED UNDELETED UNFLAGGED UNSEEN DRAFT UNDRAFT", "SEARCH NEW OLD RECENT",
		`SEARCH BCC a CC "b" FROM {1+}` + "\r\nc SUBJECT d TO e BODY f TEXT g HEADER h i", `SEARCH HEADER Subject ""`, "SEARCH KEYWORD $Junk UNKEYWORD work",
		"SEARCH BEFORE 1-Feb-1994", `SEARCH BEFORE "1-feb-1994" ON 01-FEB-2024 SINCE "01-Feb-1994"`, "SEARCH SENTBEFORE 1-Feb-1994 SENTON 1-Feb-1994 SENTSINCE 1-Feb-1994",
		"SEARCH LARGER 0 SMALLER 9223372036854775807", "SEARCH UID 1:*", "SEARCH UID $", "UID SEARCH 1:2 UID 2:3",
		"SEARCH CHARSET UTF-8 ALL", `SEARCH CHARSET "us-ascii" SUBJECT x`, "SEARCH CHARSET UTF-8 TEXT {12+}\r\nотпуск",
		"SEARCH RETURN () ALL", "SEARCH RETURN (MIN MAX ALL COUNT SAVE) CHARSET UTF-8 ALL", "SEARCH RETURN (MIN MIN) ALL",
		// list
		`LIST "" *`, `LIST "" ""`, `LIST {0+}` + "\r\n {1+}\r\n%", `LIST "" %*]`, `LIST () "" (*) RETURN ()`, `LIST (SUBSCRIBED) "" ("*" % a)`, `LIST (SUBSCRIBED REMOTE RECURSIVEMATCH) "" *`, `LIST (REMOTE) "" *`,
		`LIST "" * RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES))`, `LIST (subscribed subscribed) "" * return (children children)`,
		`LSUB "" *`, "NAMESPACE", "CAPABILITY", "CHECK", // RFC 3501
		// append: date-day-fixed, flag-list
		"APPEND INBOX {3+}\r\nabc", "APPEND INBOX () {3+}\r\nabc", `APPEND INBOX (\Seen $x y) " 1-jan-2024 01:02:03 +0000" {3+}` + "\r\nabc", `APPEND INBOX "01-Jan-2024 23:59:59 -1200" {3+}` + "\r\nabc",
		"COPY 1 INBOX", "UID COPY 999 Sent", `MOVE 1 "INBOX"`, "UID EXPUNGE 1:*", "UID EXPUNGE $", "EXPUNGE",
		"SUBSCRIBE #news.comp.mail.mime", "UNSUBSCRIBE #news.comp.mail.mime", "CREATE owatagusiam/", "RENAME owatagusiam x", "DELETE x",
		"ENABLE X-GOOD-IDEA", "ID NIL", `ID ()`, `ID ("name" NIL "version" {1+}` + "\r\n1)", "EXAMINE INBOX", "CLOSE", "SELECT inbox (CONDSTORE)", "UNSELECT",
	} {
		if _, tagged := k.do("%s", command); !strings.HasPrefix(tagged, "OK") {
			t.Errorf("%s: %s", command, tagged)
		}
	}
}

// TestGrammarIsHeld: what RFC 9051 section 9 does not allow is BAD (section 2.2.2), and the command behind it is found.
func TestGrammarIsHeld(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.BadCommands = 1000 })
	g.storage.deliver("INBOX", mail2)
	k := g.selected("INBOX")
	for _, command := range []string{
		// Spaces and arguments, missing or too many.
		"NOOP ", " NOOP", "NOOP x", "UID", "UID ", "UID  FETCH 1 UID", "UID NOOP", "FETCH", "FETCH 1", "FETCH  1 UID", "FETCH 1  UID", "FETCH 1 UID ", "FETCH 1\tUID", "FETCH 1 (UID  FLAGS)", "FETCH 1 ( UID)", "FETCH 1 (UID )",
		"SELECT", "SELECT a b", "SELECT INBOX ()", "CREATE", "CREATE x ()", "CREATE x (USE)", "DELETE a b", "RENAME a", "LIST", `LIST ""`, `LIST "" * x`, "STATUS INBOX", "STATUS INBOX ()", "STATUS INBOX MESSAGES", "STATUS INBOX (NONSENSE)",
		"ENABLE", "IDLE x", "CLOSE x", "EXPUNGE 1", "UID EXPUNGE", "NAMESPACE x", "CAPABILITY x", "LOGOUT x", "ID", "ID (name x)", `ID ("name")`,
		// sequence-set
		"FETCH 0 UID", "FETCH 1: UID", "FETCH :1 UID", "FETCH 1,, UID", "FETCH 1,2, UID", "FETCH 01 UID", "FETCH 1:02 UID", "FETCH 4294967296 UID", "FETCH -1 UID", "FETCH 1;2 UID", "FETCH $,1 UID", "FETCH 1,$ UID", "FETCH *1 UID", "FETCH 1:2:3 UID", "FETCH a UID",
		// fetch-att
		"FETCH 1 ()", "FETCH 1 (ALL)", "FETCH 1 (FLAGS FAST)", "FETCH 1 FLAGS UID", "FETCH 1 NONSENSE", "FETCH 1 BODY[", "FETCH 1 BODY[]<", "FETCH 1 BODY[]<1>", "FETCH 1 BODY[]<0.0>", "FETCH 1 BODY[]<0.01>", "FETCH 1 BODY[]<-1.1>", "FETCH 1 BODY[0]", "FETCH 1 BODY[01]", "FETCH 1 BODY[1.]", "FETCH 1 BODY[.1]",
		"FETCH 1 BODY[1..2]", "FETCH 1 BODY[MIME]", "FETCH 1 BODY[TEXT.1]", "FETCH 1 BODY[NONSENSE]", "FETCH 1 BODY[HEADER.FIELDS]", "FETCH 1 BODY[HEADER.FIELDS ()]", "FETCH 1 BODY[HEADER (A)]", "FETCH 1 BODY[HEADER.FIELDS(A)]", "FETCH 1 BODY [1]", "FETCH 1 BODY.PEEK",
		"FETCH 1 BINARY", "FETCH 1 BINARY[TEXT]", "FETCH 1 BINARY.SIZE[1]<0.1>", "FETCH 1 BODYSTRUCTURE[1]", "FETCH 1 FLAGS ()",
		// store-att-flags
		"STORE 1", "STORE 1 FLAGS", `STORE 1 NONSENSE (\Seen)`, `STORE 1 ++FLAGS (\Seen)`, `STORE 1 + FLAGS (\Seen)`, `STORE 1 FLAGS.LOUD (\Seen)`, `STORE 1 FLAGS (\Seen,\Draft)`, `STORE 1 FLAGS (\*)`, `STORE 1 FLAGS (\)`, `STORE 1 FLAGS ("a")`, `STORE 1 FLAGS (a]b)`, `STORE 1 FLAGS (\Seen) x`,
		"STORE 1 () FLAGS (a)",
		// search-program
		"SEARCH", "SEARCH ", "SEARCH NONSENSE", "SEARCH ()", "SEARCH (ALL", "SEARCH NOT", "SEARCH OR ALL", "SEARCH SUBJECT", "SEARCH SUBJECT (a)", "SEARCH HEADER Subject", "SEARCH KEYWORD", `SEARCH KEYWORD \Seen`, `SEARCH UNKEYWORD "a"`, "SEARCH LARGER x", "SEARCH LARGER -1",
		"SEARCH BEFORE 1-2-1994", "SEARCH BEFORE 31-Feb-1994", "SEARCH BEFORE 1-Feb-94", "SEARCH BEFORE 001-Feb-1994", `SEARCH BEFORE " 1-Feb-1994"`, `SEARCH BEFORE "1-Feb-1994`, "SEARCH UID", "SEARCH UID x", "SEARCH 0",
		"SEARCH RETURN ALL", "SEARCH RETURN (NONSENSE) ALL", "SEARCH RETURN (ALL)", "SEARCH CHARSET", "SEARCH CHARSET UTF-8", "SEARCH CHARSET UTF-8 RETURN () ALL", "SEARCH ALL RETURN ()",
		// list
		`LIST (RECURSIVEMATCH) "" *`, `LIST (REMOTE RECURSIVEMATCH) "" *`, `LIST (NONSENSE) "" *`, `LIST "" ()`, `LIST "" (*`, `LIST "" * RETURN`, `LIST "" * RETURN (NONSENSE)`, `LIST "" * RETURN CHILDREN`, `LIST "" * RETURN (STATUS)`, `LIST "" * RETURN (STATUS ())`,
		// strings
		`SELECT "INBOX`, `SELECT "a\b"`, `SELECT a"b`, `SELECT a\b`, "SELECT {", "SELECT {}", "SELECT {x}", "SELECT {-1}", "SELECT {3+}abc", "SELECT (a)", "SELECT a{3}", "SELECT {1+}\r\n\x00", "SELECT {1+}\r\nab", "SELECT \"a\x00\"",
		// append
		"APPEND", "APPEND INBOX", "APPEND INBOX abc", `APPEND INBOX "abc"`, "APPEND INBOX {3+}abc", `APPEND INBOX (\Seen {3+}` + "\r\nabc", `APPEND INBOX \Seen {3+}` + "\r\nabc", "APPEND INBOX {3+}\r\nabcd", "APPEND INBOX {3+}\r\nabc ",
		`APPEND INBOX "1-Jan-2024 01:02:03 +0000" {3+}` + "\r\nabc", `APPEND INBOX "10-Jan-2024  1:02:03 +0000" {3+}` + "\r\nabc", `APPEND INBOX "1-Jan-2024 1:02:03.5 +0000" {3+}` + "\r\nabc", `APPEND INBOX "10-Jan-2024 01:02:03 GMT" {3+}` + "\r\nabc", `APPEND INBOX "10-Jan-2024 24:02:03 +0000" {3+}` + "\r\nabc",
		`APPEND INBOX " 1-Jan-2024 01:02:03 +0000" (\Seen) {3+}` + "\r\nabc",
		"NONSENSE", "NONSENSE {3+}\r\nabc", "FETCH 1 {3+}\r\nUID", "COPY 1", "COPY INBOX 1", "MOVE 1 a b", `LSUB () "" *`,
	} {
		untagged, tagged := k.do("%s", command)
		if !strings.HasPrefix(tagged, "BAD ") || len(untagged) > 0 {
			t.Errorf("%q: %q, %s", command, untagged, tagged)
		}
		k.expect("NOOP", "OK NOOP completed")
	}
	k.expect("STATUS INBOX (MESSAGES UNSEEN)", "* STATUS INBOX (MESSAGES 1 UNSEEN 1)", "OK")
}

// TestTags: RFC 9051 section 2.2.1. What has no tag is answered without one (section 7.1.3).
func TestTags(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	for _, tag := range []string{"a", "A0001", ".", "]", "a]b-_/:;,<>=?@[!#$&'^`|~", "NOOP", "OK"} {
		for range 2 { // a server must take tags that it knows already
			k.send("%s NOOP\r\n", tag)
			if line := k.line(); line != tag+" OK NOOP completed" {
				t.Errorf("tag %q: %q", tag, line)
			}
		}
	}
	for _, line := range []string{"", " NOOP", "* NOOP", "+ NOOP", "(a) NOOP", "\"a\" NOOP", "{3+}\r\nabc NOOP", "a+b NOOP"} {
		k.send("%s\r\n", line)
		want := "* BAD "
		if strings.HasPrefix(line, "a+") {
			want = "a BAD "
		}
		if got := k.line(); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q", line, got)
		}
		k.expect("NOOP", "OK")
	}
}
