package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestMultiAppend: RFC 3502 section 6.3.11 and its examples.
func TestMultiAppend(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	validity := g.uidValidity("INBOX")
	// Each synchronising literal waits for leave.
	k.send("A003 APPEND INBOX (\\Seen) {%d}\r\n", len(mail1))
	for i, next := range []string{fmt.Sprintf(" (\\Flagged $Work) \"01-Feb-2024 10:00:00 +0000\" {%d}\r\n", len(mail2)), "\r\n"} {
		if line := k.line(); line != "+ OK" {
			t.Fatalf("continuation is %q", line)
		}
		k.send("%s%s", []string{mail1, mail2}[i], next)
	}
	if lines := k.until("A003 "); strings.Join(slices.Delete(lines, 1, 3), "\n") != fmt.Sprintf("* 2 EXISTS\nA003 OK [APPENDUID %d 1:2] APPEND completed", validity) {
		t.Fatalf("got %q", lines)
	}
	k.expect("FETCH 1:2 (FLAGS RFC822.SIZE)", fmt.Sprintf(`* 1 FETCH (FLAGS (\Seen) RFC822.SIZE %d)`, len(mail1)),
		fmt.Sprintf(`* 2 FETCH (FLAGS (\Flagged $Work) RFC822.SIZE %d)`, len(mail2)), "OK")
	k.expect("FETCH 2 INTERNALDATE", `* 2 FETCH (INTERNALDATE " 1-Feb-2024 10:00:00 +0000")`, "OK")
	// All or none: what is wrong with a later one keeps the first from being stored, and the next command is found.
	for _, c := range []struct{ rest, want string }{
		{" {0+}\r\n", "NO [CANNOT] an empty message is none"},
		{" (\\Nonsense) {5+}\r\nhello", "BAD unknown system flag"},
		{" {2000000+}\r\n" + strings.Repeat("x", 2_000_000), "NO [TOOBIG]"},
		{" {9999+}\r\n" + strings.Repeat("x", 9_999), "NO [OVERQUOTA]"}, // each would fit
		{" ~{5+}\r\nhe\x00lo", "NO [UNKNOWN-CTE]"},
		{" {5+}\r\nhello {5+}\r\nhello x", "BAD "},
		{" {x", "BAD "},
	} {
		k.expect("APPEND INBOX {5+}\r\nfirst"+c.rest, c.want)
	}
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 2)", "OK")
	// A client that is refused a synchronising literal does not send it.
	k.expect("APPEND INBOX {5+}\r\nfirst {2000000}", "NO [TOOBIG]")
	many := "APPEND Sent" + strings.Repeat(` (\Seen $a $b $c) "01-Feb-2024 10:00:00 +0000" {5+}`+"\r\nhello", 900)
	k.expect(many, fmt.Sprintf("OK [APPENDUID %d 1:900] ", g.uidValidity("Sent")))
}

// TestVanishingInMultiAppend: nothing is stored unless the whole command came.
func TestVanishingInMultiAppend(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.send("a APPEND INBOX {5+}\r\nfirst {5+}\r\nhello")
	if err := k.conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-g.ended
	g.login().expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 0)", "OK")
}

// TestUnauthenticate: RFC 8437 section 2 and 4.
func TestUnauthenticate(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.AccountSessions = 1 })
	k := g.connect()
	k.expect("UNAUTHENTICATE", "BAD [CLIENTBUG] log in first")
	k.ok("LOGIN alice secret")
	k.ok("ENABLE IMAP4rev2 QRESYNC UTF8=ACCEPT")
	k.ok("SELECT INBOX")
	k.expect("UNAUTHENTICATE now", "BAD ")
	_, tagged := k.do("UNAUTHENTICATE")
	if !strings.HasPrefix(tagged, "OK [CAPABILITY ") || !strings.Contains(tagged, "AUTH=PLAIN") || strings.Contains(tagged, "CONDSTORE") {
		t.Errorf("UNAUTHENTICATE: %s", tagged)
	}
	k.expect("NOOP", "OK")
	k.expect("FETCH 1 FLAGS", "BAD [CLIENTBUG] log in first")
	g.connect().ok("LOGIN alice secret") // the session is not counted any more
	k.expect("LOGIN alice secret", "NO [LIMIT]")
	k.ok("LOGIN bob secret")
	if lines := strings.Join(k.ok("SELECT INBOX"), "\n"); !strings.Contains(lines, "* 0 RECENT") || strings.Contains(lines, "CLOSED") {
		t.Errorf("what was enabled stays:\n%s", lines)
	}
}

// TestUnauthenticatePipelined: RFC 8437 section 3. With SASL-IR another user logs in within one round trip.
func TestUnauthenticatePipelined(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	k.send("a UNAUTHENTICATE\r\nb AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\nc CREATE bobs\r\n")
	lines := k.until("c ")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "a OK [CAPABILITY ") || !strings.HasPrefix(lines[1], "b OK [CAPABILITY ") || !strings.HasPrefix(lines[2], "c OK ") {
		t.Errorf("got %q", lines)
	}
	g.login().expect("SELECT bobs", "NO [NONEXISTENT]")
}
