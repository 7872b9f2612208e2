package render

import (
	"testing"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

func address(name, mailbox, host string) *mailv1.Address {
	a := &mailv1.Address{Mailbox: []byte(mailbox), Host: []byte(host)}
	if name != "" {
		a.Name = []byte(name)
	}
	return a
}

func TestEnvelope(t *testing.T) {
	gray := []*mailv1.Address{address("Terry Gray", "gray", "cac.washington.edu")}
	// RFC 3501 section 8
	example := &mailv1.Envelope{
		Date:    []byte("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)"),
		Subject: []byte("IMAP4rev1 WG mtg summary and minutes"),
		From:    gray,
		To:      []*mailv1.Address{address("", "imap", "cac.washington.edu")},
		Cc: []*mailv1.Address{
			address("", "minutes", "CNRI.Reston.VA.US"),
			address("John Klensin", "KLENSIN", "MIT.EDU"),
		},
		MessageId: []byte("<B27397-0100000@cac.washington.edu>"),
	}
	group := &mailv1.Envelope{To: []*mailv1.Address{
		{Mailbox: []byte("A Group")},
		address("Ed Jones", "c", "a.test"),
		{},
	}}
	empty := &mailv1.Envelope{
		From: []*mailv1.Address{{Name: []byte{}, Mailbox: []byte("root"), Host: []byte{}}},
		To:   []*mailv1.Address{{Adl: []byte("@a,@b"), Mailbox: []byte(`a"b`), Host: []byte("x")}},
	}
	for _, tt := range []struct {
		name string
		e    *mailv1.Envelope
		want string
	}{
		{
			"RFC 3501", example,
			`("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" ` +
				`(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) ` +
				`(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) ` +
				`((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL ` +
				`"<B27397-0100000@cac.washington.edu>")`,
		},
		{"nothing", nil, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{
			"group", group,
			`(NIL NIL NIL NIL NIL ((NIL NIL "A Group" NIL)("Ed Jones" NIL "c" "a.test")(NIL NIL NIL NIL)) NIL NIL NIL NIL)`,
		},
		{
			"empty is not absent", empty,
			`(NIL NIL (("" NIL "root" "")) (("" NIL "root" "")) (("" NIL "root" "")) ((NIL "@a,@b" "a\"b" "x")) NIL NIL NIL NIL)`,
		},
	} {
		if got := string(AppendEnvelope(nil, tt.e, false)); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestRawOctets(t *testing.T) {
	for _, tt := range []struct{ raw, plain, utf8 string }{
		{"hello", `"hello"`, `"hello"`},
		{"café", `"=?utf-8?b?Y2Fmw6k=?="`, `"café"`},
		{"caf\xe9 au lait", `"=?utf-8?b?Y2Fmw6k=?= au lait"`, `"café au lait"`},
		{"Z\xfcrichbergstrasse 1", `"=?utf-8?q?Z=C3=BCrichbergstrasse?= 1"`, `"Zürichbergstrasse 1"`},
		{"日本語", `"=?utf-8?b?5pel5pys6Kqe?="`, `"日本語"`},
		{"Re: 日本 語 x", `"Re: =?utf-8?b?5pel5pysIOiqng==?= x"`, `"Re: 日本 語 x"`},
		{"\x1b$BF|K\\\x1b(B", `"=?utf-8?b?5pel5pys?="`, `"日本"`},
		{"=?utf-8?q?a?= é", `"=?utf-8?q?a?= =?utf-8?b?IMOp?="`, `"=?utf-8?q?a?= é"`},
		{"é =?utf-8?q?a?=", `"=?utf-8?b?w6kg?= =?utf-8?q?a?="`, `"é =?utf-8?q?a?="`},
		{"a\x00b\tc", `"a b c"`, `"a b c"`},
		{"a\r\nb", `"a b"`, `"a b"`},
	} {
		e := &mailv1.Envelope{Subject: []byte(tt.raw)}
		const tail = " NIL NIL NIL NIL NIL NIL NIL NIL)"
		if got, want := string(AppendEnvelope(nil, e, false)), "(NIL "+tt.plain+tail; got != want {
			t.Errorf("%q: %s, want %s", tt.raw, got, want)
		}
		if got, want := string(AppendEnvelope(nil, e, true)), "(NIL "+tt.utf8+tail; got != want {
			t.Errorf("%q with UTF8=ACCEPT: %s, want %s", tt.raw, got, want)
		}
	}
}

func TestInternationalDomain(t *testing.T) {
	e := &mailv1.Envelope{To: []*mailv1.Address{address("", "info", "例え.jp")}}
	if got, want := string(AppendEnvelope(nil, e, false)), `(NIL NIL NIL NIL NIL ((NIL NIL "info" "xn--r8jz45g.jp")) NIL NIL NIL NIL)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := string(AppendEnvelope(nil, e, true)), `(NIL NIL NIL NIL NIL ((NIL NIL "info" "例え.jp")) NIL NIL NIL NIL)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func param(name, value string) *mailv1.Param { return &mailv1.Param{Name: name, Value: []byte(value)} }

func textPart(subtype string, size, lines uint64) *mailv1.Part {
	return &mailv1.Part{
		Type: "TEXT", Subtype: subtype, Params: []*mailv1.Param{param("CHARSET", "US-ASCII")},
		Encoding: "7BIT", BodySize: size, Lines: lines,
	}
}

func TestBody(t *testing.T) {
	// RFC 9051 section 7.5.2
	diff := textPart("PLAIN", 4554, 73)
	diff.Params = append(diff.Params, param("NAME", "cc.diff"))
	diff.Id = []byte("<960723163407.20117h@cac.washington.edu>")
	diff.Description = []byte("Compiler diff")
	diff.Encoding = "BASE64"
	mixed := &mailv1.Part{
		Type: "multipart", Subtype: "MIXED", Params: []*mailv1.Param{param("BOUNDARY", "x")},
		Children: []*mailv1.Part{textPart("PLAIN", 1152, 23), diff},
	}
	full := &mailv1.Part{
		Type: "image", Subtype: "png", Encoding: "base64", BodySize: 9, Md5: []byte("Q=="),
		Disposition: "attachment", DispositionParams: []*mailv1.Param{param("filename", "naïve.png"), param("", "lost")},
		Languages: []string{"en", "ja"}, Location: []byte("http://a.test/b"),
	}
	message := &mailv1.Part{
		Type: "message", Subtype: "rfc822", Encoding: "7bit", BodySize: 342, Lines: 12,
		Envelope: &mailv1.Envelope{Subject: []byte("x")}, Children: []*mailv1.Part{textPart("HTML", 10, 1)},
	}
	const envelope = `(NIL "x" NIL NIL NIL NIL NIL NIL NIL NIL)`
	for _, tt := range []struct {
		name           string
		p              *mailv1.Part
		body, extended string
	}{
		{
			"text", textPart("PLAIN", 3028, 92),
			`("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)`,
			`("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92 NIL NIL NIL NIL)`,
		},
		{
			"multipart", mixed,
			`(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)` +
				`("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler diff" ` +
				`"BASE64" 4554 73) "MIXED")`,
			`(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23 NIL NIL NIL NIL)` +
				`("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler diff" ` +
				`"BASE64" 4554 73 NIL NIL NIL NIL) "MIXED" ("BOUNDARY" "x") NIL NIL NIL)`,
		},
		{
			"all of the extension data", full,
			`("image" "png" NIL NIL NIL "base64" 9)`,
			`("image" "png" NIL NIL NIL "base64" 9 "Q==" ("attachment" ("filename" "=?utf-8?b?bmHDr3ZlLnBuZw==?=")) ("en" "ja") "http://a.test/b")`,
		},
		{
			"message", message,
			`("message" "rfc822" NIL NIL NIL "7bit" 342 ` + envelope + ` ("TEXT" "HTML" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 1) 12)`,
			`("message" "rfc822" NIL NIL NIL "7bit" 342 ` + envelope +
				` ("TEXT" "HTML" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 1 NIL NIL NIL NIL) 12 NIL NIL NIL NIL)`,
		},
		{
			"message that could not be parsed", &mailv1.Part{Type: "message", Subtype: "rfc822", Encoding: "base64", BodySize: 5},
			`("application" "octet-stream" NIL NIL NIL "base64" 5)`,
			`("application" "octet-stream" NIL NIL NIL "base64" 5 NIL NIL NIL NIL)`,
		},
		{
			"multipart without parts", &mailv1.Part{Type: "multipart", Subtype: "alternative", BodySize: 5},
			`(("text" "plain" NIL NIL NIL "7BIT" 5 0) "alternative")`,
			`(("text" "plain" NIL NIL NIL "7BIT" 5 0 NIL NIL NIL NIL) "alternative" NIL NIL NIL NIL)`,
		},
		{
			"nothing known", &mailv1.Part{},
			`("text" "plain" NIL NIL NIL "7BIT" 0 0)`,
			`("text" "plain" NIL NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)`,
		},
		{
			"disposition without parameters", &mailv1.Part{Type: "a", Subtype: "b", Disposition: "inline"},
			`("a" "b" NIL NIL NIL "7BIT" 0)`,
			`("a" "b" NIL NIL NIL "7BIT" 0 NIL ("inline" NIL) NIL NIL)`,
		},
	} {
		if got := string(AppendBody(nil, tt.p, false, false)); got != tt.body {
			t.Errorf("%s: BODY\n%s\nwant\n%s", tt.name, got, tt.body)
		}
		if got := string(AppendBody(nil, tt.p, true, false)); got != tt.extended {
			t.Errorf("%s: BODYSTRUCTURE\n%s\nwant\n%s", tt.name, got, tt.extended)
		}
	}
}
