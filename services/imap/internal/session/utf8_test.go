package session

import (
	"fmt"
	"strings"
	"testing"
)

// TestUTF8Accept: RFC 6855, sections 3 and 4.
func TestUTF8Accept(t *testing.T) {
	g := newGateway(t)
	const raw = "Subject: \xe6\x97\xa5\xe6\x9c\xac\r\n\r\nbody\r\n"
	k := g.login()
	k.ok(`CREATE "&ZeVnLA-"`)
	k.expect("ENABLE UTF8=ACCEPT", "* ENABLED UTF8=ACCEPT", "OK")
	k.expect(`LIST "" "日本"`, `* LIST (\HasNoChildren) "/" "日本"`, "OK")
	k.expect(fmt.Sprintf("APPEND 日本 (\\Seen) UTF8 (~{%d+}\r\n%s)", len(raw), raw), fmt.Sprintf("OK [APPENDUID %d 1]", g.uidValidity("日本")))
	k.expect(fmt.Sprintf("APPEND 日本 UTF8 (~{%d+}\r\n%s) UTF8 (~{5+}\r\nhello)", len(raw), raw), fmt.Sprintf("OK [APPENDUID %d 2:3]", g.uidValidity("日本")))
	k.expect("APPEND 日本 UTF8 (~{5+}\r\nhello", "BAD")
	k.ok(`SELECT "日本"`)
	k.expect("FETCH 1 ENVELOPE", `* 1 FETCH (ENVELOPE (NIL "日本" NIL NIL NIL NIL NIL NIL NIL NIL))`, "OK")
	k.expect(`SEARCH SUBJECT "日本"`, "* SEARCH 1 2", "OK")
	k.expect("SEARCH CHARSET UTF-8 SUBJECT x", "BAD ")
	k.expect("SEARCH CHARSET US-ASCII ALL", "BAD ")
}

const rawHeader, plainHeader = "From: a@example.test\r\nSubject: \xe6\x97\xa5\r\n\r\nbody\r\n", "Subject: x\r\n\r\nbody \xe6\x97\xa5\r\n"

// TestStrictUTF8: RFC 9755 (and 6855) section 4, held to the letter. Whoever has enabled UTF-8 may add what others may not.
func TestStrictUTF8(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.StrictUTF8 = true })
	g.storage.deliver("Sent", rawHeader)
	adding := []struct{ command, raw, plain string }{
		{"APPEND INBOX %s", fmt.Sprintf("{%d+}\r\n%s", len(rawHeader), rawHeader), fmt.Sprintf("{%d+}\r\n%s", len(plainHeader), plainHeader)},
		{"APPEND INBOX UTF8 (~%s)", fmt.Sprintf("{%d+}\r\n%s", len(rawHeader), rawHeader), fmt.Sprintf("{%d+}\r\n%s", len(plainHeader), plainHeader)},
		{"APPEND INBOX CATENATE (TEXT {9+}\r\nX: true\r\n %s)", `URL "/Sent/;UID=1"`, `TEXT {2+}` + "\r\n\r\n " + `URL "/Sent/;UID=1"`},
		{"APPEND INBOX {6+}\r\na: b\r\n CATENATE (UTF8 (~%s))", "{8+}\r\na: \xe6\x97\xa5\r\n", "{8+}\r\na: bcd\r\n"},
		{"REPLACE 1 INBOX %s", fmt.Sprintf("{%d+}\r\n%s", len(rawHeader), rawHeader), fmt.Sprintf("{%d+}\r\n%s", len(plainHeader), plainHeader)},
	}
	const refused = "NO [CANNOT] headers beyond US-ASCII need ENABLE UTF8=ACCEPT"
	for _, enable := range []string{"", "UTF8=ACCEPT", "IMAP4rev2"} {
		k := g.login()
		if enable != "" {
			k.ok("ENABLE %s", enable)
		}
		k.ok("APPEND INBOX {5+}\r\nhello")
		k.ok("SELECT INBOX")
		for _, c := range adding {
			_, tagged := k.do(c.command, c.raw)
			if want := map[bool]string{true: refused, false: "OK "}[enable == ""]; !strings.HasPrefix(tagged, want) {
				t.Errorf("%q, "+c.command+": %s", enable, c.raw, tagged)
			}
			if _, tagged := k.do(c.command, c.plain); !strings.HasPrefix(tagged, "OK ") {
				t.Errorf("%q, "+c.command+": %s", enable, c.plain, tagged)
			}
		}
	}
	// Without the setting everybody may.
	k := newGateway(t).login()
	k.ok("APPEND INBOX {%d+}\r\n%s", len(rawHeader), rawHeader)
}

// TestCatenateUTF8: RFC 6855 section 4, cat-part.
func TestCatenateUTF8(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("ENABLE UTF8=ACCEPT")
	k.ok("APPEND INBOX CATENATE (UTF8 (~{14+}\r\nSubject: \xe6\x97\xa5\r\n) TEXT {6+}\r\n\r\nbody)")
	k.ok("SELECT INBOX")
	k.expect("FETCH 1 (ENVELOPE BODY[])", `* 1 FETCH (ENVELOPE (NIL "日" NIL NIL NIL NIL NIL NIL NIL NIL) BODY[] {20}`, "Subject: 日", "", `body FLAGS (\Seen))`, "OK")
	k.expect("APPEND INBOX CATENATE (UTF8 (~{3+}\r\na\x00b))", "NO [UNKNOWN-CTE]")
	k.expect("UID REPLACE 1 INBOX CATENATE (UTF8 (~{5+}\r\nfirst))", fmt.Sprintf("* OK [APPENDUID %d 2] replacement is stored", g.uidValidity("INBOX")), "* 2 EXISTS", "* 1 EXPUNGE", "OK")
}

// TestQuotedUTF8: RFC 9755 section 3. What is no UTF-8 is BAD in a quoted string, in any argument.
func TestQuotedUTF8(t *testing.T) {
	k := newGateway(t).login()
	for range 2 {
		k.ok(`SETMETADATA "" (/private/comment "日")`)
		k.expect("SETMETADATA \"\" (/private/comment \"\xe6\x97\")", "BAD quoted string is not UTF-8")
		k.expect("GETQUOTA \"\xff\"", "BAD quoted string is not UTF-8")
		k.expect("CREATE \"\xc0\xaf\"", "BAD ")
		k.ok("NOOP")
		k.ok("ENABLE UTF8=ACCEPT")
	}
	k = newGateway(t).selected("INBOX")
	k.ok("SEARCH CHARSET ISO-8859-1 SUBJECT \"\xe9\"") // whose octets say what they are
	k.expect("SEARCH SUBJECT \"\xe9\"", "BAD ")
}
