package session

import (
	"fmt"
	"strings"
	"testing"
)

// draft is a message of two parts.
const draft = "Subject: trip\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"------------030308070208000400050907\"\r\n\r\n" +
	"preamble\r\n--------------030308070208000400050907\r\nContent-Type: text/plain\r\n\r\nold text\r\n" +
	"--------------030308070208000400050907\r\nContent-Type: image/gif\r\n\r\nGIF89a\r\n--------------030308070208000400050907--\r\n"

// TestCatenate: RFC 4469 section 5, its first example: a draft gets another message as an attachment.
func TestCatenate(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	if lines := k.ok("CAPABILITY"); !strings.Contains(lines[0], " CATENATE ") || !strings.Contains(lines[0], " URL-PARTIAL ") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	k.ok("CREATE Drafts")
	g.storage.deliver("Drafts", draft)
	g.storage.deliver("Drafts", mail1)
	validity := g.uidValidity("Drafts")
	url := fmt.Sprintf(`URL "/Drafts;UIDVALIDITY=%d/;UID=`, validity)
	const boundary = "\r\n--------------030308070208000400050907\r\n"
	k.send("%s", `A003 APPEND Drafts (\Seen \Draft $MDNSent) CATENATE (`+url+`1/;section=HEADER" TEXT {42}`+"\r\n")
	for _, next := range []string{
		boundary + " " + url + `1/;section=1.MIME" ` + url + `1/;section=1" TEXT {42}` + "\r\n",
		boundary + " " + url + `2" TEXT {44}` + "\r\n",
		boundary[:len(boundary)-2] + "--\r\n)\r\n",
	} {
		if line := k.line(); line != "+ OK" {
			t.Fatalf("got %q", line)
		}
		k.send("%s", next)
	}
	if line := k.line(); line != fmt.Sprintf("A003 OK [APPENDUID %d 3] APPEND completed", validity) {
		t.Fatalf("got %q", line)
	}
	header, _, _ := strings.Cut(draft, "preamble")
	want := header + boundary + "Content-Type: text/plain\r\n\r\nold text" + boundary + mail1 + boundary[:len(boundary)-2] + "--\r\n"
	k.ok("SELECT Drafts")
	untagged := k.ok("FETCH 3 (FLAGS BODY.PEEK[])")
	if got := strings.Join(untagged, "\r\n"); got != fmt.Sprintf("* 3 FETCH (FLAGS (\\Seen \\Draft $MDNSent) BODY[] {%d}\r\n%s)", len(want), want) {
		t.Errorf("got %q", got)
	}
}

// TestCatenateParts: what URLs may name, and MULTIAPPEND with it.
func TestCatenateParts(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("CREATE &ZeVnLA-")
	g.storage.deliver("日本", draft)
	validity := g.uidValidity("日本")
	const at = "/%E6%97%A5%E6%9C%AC"
	for _, c := range []struct{ parts, want string }{
		{`URL "` + at + `/;UID=1/;SECTION=2"`, "GIF89a"},
		{`URL "` + at + `;uid=1;section=2;partial=0.3" TEXT {2+}` + "\r\nab", "GIFab"},
		{`URL "` + at + `/;UID=1/;SECTION=2/;PARTIAL=3"`, "89a"},
		{`URL "` + at + `/;UID=1/;PARTIAL=0.13"`, "Subject: trip"},
		{`TEXT {2+}` + "\r\nab TEXT {0+}\r\n TEXT {2+}\r\ncd", "abcd"},
		{`URL "` + at + `/;UID=1/;SECTION=HEADER.FIELDS%20(Subject)"`, "Subject: trip\r\n\r\n"},
		{fmt.Sprintf(`URL "%s;UIDVALIDITY=%d/;UID=1/;SECTION=1.MIME"`, at, validity), "Content-Type: text/plain\r\n\r\n"},
	} {
		k.ok("SELECT Sent")
		k.ok("APPEND Sent CATENATE (%s)", c.parts)
		got := strings.Join(k.ok("FETCH * BODY.PEEK[]"), "\r\n")
		if !strings.HasSuffix(got, fmt.Sprintf("{%d}\r\n%s)", len(c.want), c.want)) {
			t.Errorf("%s: got %q", c.parts, got)
		}
	}
	k.ok("APPEND Trash {5+}\r\nfirst (\\Seen) CATENATE (TEXT {6+}\r\nsecond) CATENATE (URL \"%s/;UID=1/;SECTION=2\") {4+}\r\nlast", at)
	k.ok("SELECT Trash")
	k.expect("FETCH 1:4 (FLAGS RFC822.SIZE)", "* 1 FETCH (FLAGS () RFC822.SIZE 5)", `* 2 FETCH (FLAGS (\Seen) RFC822.SIZE 6)`,
		"* 3 FETCH (FLAGS () RFC822.SIZE 6)", "* 4 FETCH (FLAGS () RFC822.SIZE 4)", "OK")
}

// TestCatenateRefused: nothing is stored of a message that cannot be put together, and the next command is found.
func TestCatenateRefused(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	g.storage.deliver("INBOX", draft)
	big := strings.Repeat("x", 600_000)
	for _, c := range []struct{ parts, want string }{
		{`URL "/INBOX;UIDVALIDITY=785799047/;UID=1;section=1.5.9"`, `NO [BADURL "/INBOX;UIDVALIDITY=785799047/;UID=1;section=1.5.9"] `},
		{`TEXT {5+}` + "\r\nhello URL \"/INBOX/;UID=1/;section=1.5.9\" TEXT {5+}\r\nhello", `NO [BADURL "/INBOX/;UID=1/;section=1.5.9"] `},
		{`URL "/INBOX/;UID=2"`, `NO [BADURL `},
		{`URL "/nowhere/;UID=1"`, `NO [BADURL `},
		{`URL "imap://example.test/INBOX/;UID=1"`, `NO [BADURL `},
		{`URL "//example.test/INBOX/;UID=1"`, `NO [BADURL `},
		{`URL ";UID=1"`, `NO [BADURL `},
		{`URL "/INBOX"`, `NO [BADURL "/INBOX"]`},
		{`URL "/INBOX/;UID=1/;UID=1"`, `NO [BADURL `},
		{`URL "/INBOX/;UID=1/;section=NONSENSE"`, `NO [BADURL `},
		{`URL "/INBOX/;UID=1/;section=1]%0d%0a"`, `NO [BADURL "/INBOX/;UID=1/;section=1%5D%0d%0a"] `},
		{`URL "/INBOX/;UID=1/;partial=x"`, `NO [BADURL `},
		{`URL "/INBOX/;UID=1;urlauth=anonymous:internal:91354a473744909de610943775f92038"`, `NO [BADURL `},
		{`TEXT {600000+}` + "\r\n" + big + " TEXT {600000+}\r\n" + big, "NO [TOOBIG]"},
		{`TEXT {0+}` + "\r\n", "NO [CANNOT] an empty message"},
		{``, "BAD "},
		{`FROB "x"`, "BAD "},
		{`URL ""`, "BAD "},
		{`TEXT "x"`, "BAD "},
	} {
		k.expect("APPEND INBOX CATENATE ("+c.parts+")", c.want)
		k.ok("NOOP")
	}
	k.expect("APPEND nowhere CATENATE (TEXT {5+}\r\nhello)", "NO [TRYCREATE]")
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 1)", "OK")
}

// FuzzMessageURL: a URL is understood or not.
func FuzzMessageURL(f *testing.F) {
	f.Add("/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9/;partial=1.2")
	f.Add("/%E6%97%A5;uid=1;section=HEADER.FIELDS%20(A%20B)")
	f.Fuzz(func(t *testing.T, s string) {
		u, ok := parseMessageURL(s)
		if ok && (u.mailbox == "" || u.uid == 0 || u.section == nil) {
			t.Errorf("%q: %+v", s, u)
		}
		if strings.ContainsAny(quoted(s), "\r\n") {
			t.Errorf("%q is not quoted", s)
		}
	})
}

// TestCatenateExamples: RFC 4469 appendix A, examples 2 to 4: a draft's text is replaced, an attachment stripped, and a digest fails as a message is gone.
func TestCatenateExamples(t *testing.T) {
	const boundary = "------------030308070208000400050907"
	g := newGateway(t)
	k := g.login()
	k.ok("CREATE Drafts")
	g.storage.deliver("Drafts", draft)
	url := fmt.Sprintf("/Drafts;UIDVALIDITY=%d/;UID=1/;", g.uidValidity("Drafts"))
	say := func(first string, rest ...string) string {
		k.t.Helper()
		k.send("%s", first)
		for _, next := range rest {
			if line := k.line(); line != "+ OK" {
				t.Fatalf("got %q", line)
			}
			k.send("%s", next)
		}
		return k.line()
	}
	head := "Subject: About our holiday trip\r\nContent-Type: multipart/mixed;\r\n              boundary=\"" + boundary + "\"\r\n\r\n--" + boundary +
		"\r\nContent-Type: text/plain\r\n\r\nOur travel agent has sent the updated schedule.\r\n--" + boundary + "\r\n"
	end := "\r\n--" + boundary + "--\r\n"
	answer := say(fmt.Sprintf("A003 APPEND Drafts (\\Seen \\Draft $MDNSent) CATENATE (TEXT {%d}\r\n", len(head)),
		head+fmt.Sprintf(` URL "%sSection=2.MIME" URL "%sSection=2" TEXT {%d}`+"\r\n", url, url, len(end)), end+")\r\n")
	if answer != fmt.Sprintf("A003 OK [APPENDUID %d 2] APPEND completed", g.uidValidity("Drafts")) {
		t.Errorf("got %q", answer)
	}
	k.ok("SELECT Drafts")
	k.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
	k.expect("FETCH 2 (BODYSTRUCTURE BODY.PEEK[2])", `* 2 FETCH (BODYSTRUCTURE (("text" "plain" NIL NIL NIL "7BIT" 47 0 NIL NIL NIL NIL)`+
		`("image" "gif" NIL NIL NIL "7BIT" 6 NIL NIL NIL NIL) "mixed" ("boundary" "`+boundary+`") NIL NIL NIL) BODY[2] {6}`, "GIF89a)", "OK")

	text := "\r\n--" + boundary + "\r\nContent-type: text/plain\r\n\r\nThis part was deleted upon your request." + end
	between := "\r\n--" + boundary + "\r\n"
	answer = say(fmt.Sprintf(`A004 APPEND Drafts (\Seen \Draft $MDNSent) CATENATE (URL "%ssection=HEADER" TEXT {%d}`+"\r\n", url, len(between)),
		between+fmt.Sprintf(` URL "%ssection=1.MIME" URL "%ssection=1" TEXT {%d}`+"\r\n", url, url, len(text)), text+")\r\n")
	if answer == "* 3 EXISTS" {
		answer = k.line()
	}
	if !strings.HasPrefix(answer, "A004 OK [APPENDUID ") {
		t.Errorf("got %q", answer)
	}
	k.expect("FETCH 3 BODY.PEEK[1]", "* 3 FETCH (BODY[1] {8}", "old text)", "OK")
	k.expect("FETCH 3 BODY.PEEK[2]", "* 3 FETCH (BODY[2] {40}", "This part was deleted upon your request.)", "OK")

	// The URL that leads nowhere is told, where it comes in the command: the client does not send what follows it.
	gone := strings.Replace(url, "UID=1", "UID=113330", 1) + "section=1.5.9"
	answer = say(fmt.Sprintf("A005 APPEND Sent (\\Seen $MDNSent) CATENATE (TEXT {%d}\r\n", len(head)), head+fmt.Sprintf(` URL "%ssection=TEXT" TEXT {%d}`+"\r\n", url, len(between)),
		between+fmt.Sprintf(` URL "%s" TEXT {%d}`+"\r\n", gone, len(end)))
	if !strings.HasPrefix(answer, `A005 NO [BADURL "`+gone+`"] `) {
		t.Errorf("got %q", answer)
	}
	k.expect("STATUS Sent (MESSAGES)", "* STATUS Sent (MESSAGES 0)", "OK")
}

// TestMessageURLs: RFC 5092 section 11 (imessagepart), and what stays of a URL in an answer.
func TestMessageURLs(t *testing.T) {
	for text, want := range map[string]string{
		"/gray-council;UIDVALIDITY=385759045/;UID=20/;PARTIAL=0.1024": "gray-council 385759045 20 <0.1024>",
		"/gray-council/;uid=20/;section=1.2":                          "gray-council 0 20",
		"/~peter/%E6%97%A5%E6%9C%AC%E8%AA%9E/%E5%8F%B0;UID=1":         "~peter/日本語/台 0 1",
		"/gray%20council%3b/;UID=4294967295":                          "gray council; 0 4294967295",
		"/foo/./;UID=20":                                              "foo 0 20",
		"/bar/../foo/;UID=20":                                         "foo 0 20",
		"/..;UIDVALIDITY=385759045/;UID=20":                           ".. 385759045 20", // not a dot segment: section 9.1
		"/%2e%2e/;UID=20":                                             ".. 0 20",
		"/foo/;UID=20/..":                                             "", // the mailbox
		"/foo/;UID=20/;SECTION=1/../../..":                            "",
		"/foo/;UID=0":                                                 "",
		"/foo/;UID=4294967296":                                        "",
		"/foo/;UID=+1":                                                "",
		"/foo/;UID=*":                                                 "",
		"/foo/;UID=20/;PARTIAL=0.0":                                   "",
		"/foo/;SECTION=1/;UID=20":                                     "",
		"/foo bar/;UID=20":                                            "",
		"/föö/;UID=20":                                                "",
		"/foo/;UID=20?SUBJECT%20x":                                    "",
		"/foo/;UID=20#x":                                              "",
		"/foo%2/;UID=20":                                              "",
		"foo/;UID=20":                                                 "",
		"":                                                            "",
		"/":                                                           "",
	} {
		u, ok := parseMessageURL(text)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %d %d", u.mailbox, u.uidValidity, u.uid)
			if p := u.section.Partial; p != nil {
				got += fmt.Sprintf(" <%d.%d>", p.Offset, p.Length)
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if got := quoted("/a b]\"\\\r\nOK é"); got != `"/a%20b%5D%22%5C%0D%0AOK%20%C3%A9"` {
		t.Errorf("got %s", got)
	}
}
