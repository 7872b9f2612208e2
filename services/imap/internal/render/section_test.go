package render

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/message"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// rfcMessage has the shape of the example of RFC 3501 section 6.4.5 (RFC 9051 section 6.4.5.1).
var rfcMessage = strings.ReplaceAll(`Subject: root
Content-Type: multipart/mixed; boundary=A

--A
Content-Type: text/plain

part 1
--A
Content-Type: application/octet-stream

part 2
--A
Content-Type: message/rfc822

Subject: three
Content-Type: multipart/mixed; boundary=B

--B
Content-Type: text/plain

part 3.1
--B
Content-Type: application/octet-stream

part 3.2
--B--
--A
Content-Type: multipart/mixed; boundary=C

--C
Content-Type: image/gif

part 4.1
--C
Content-Type: message/rfc822

Subject: four two
Content-Type: multipart/mixed; boundary=D

--D
Content-Type: text/plain

part 4.2.1
--D
Content-Type: multipart/alternative; boundary=E

--E
Content-Type: text/plain

part 4.2.2.1
--E
Content-Type: text/richtext

part 4.2.2.2
--E--
--D--
--C--
--A--
`, "\n", "\r\n")

const rootHeader = "Subject: root\r\nContent-Type: multipart/mixed; boundary=A\r\n\r\n"

func parse(t *testing.T, msg string) *mailv1.Part {
	t.Helper()
	s, err := message.Parse(strings.NewReader(msg), int64(len(msg)), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s.GetRoot()
}

func octets(msg string, e Extent) string { return msg[e.Offset : e.Offset+e.Size] }

func TestLocate(t *testing.T) {
	plain := "Subject: plain\r\nMIME-Version: 1.0\r\n\r\njust text\r\n"
	embedded := "Subject: outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n"
	for _, tt := range []struct {
		msg  string
		path []int
		spec string
		want string
		ok   bool
	}{
		{rfcMessage, nil, "", rfcMessage, true},
		{rfcMessage, nil, "HEADER", rootHeader, true},
		{rfcMessage, nil, "TEXT", strings.TrimPrefix(rfcMessage, rootHeader), true},
		{rfcMessage, []int{1}, "", "part 1", true},
		{rfcMessage, []int{1}, "MIME", "Content-Type: text/plain\r\n\r\n", true},
		{rfcMessage, []int{2}, "", "part 2", true},
		{rfcMessage, []int{3}, "HEADER", "Subject: three\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n", true},
		{rfcMessage, []int{3}, "MIME", "Content-Type: message/rfc822\r\n\r\n", true},
		{rfcMessage, []int{3, 1}, "", "part 3.1", true},
		{rfcMessage, []int{3, 2}, "MIME", "Content-Type: application/octet-stream\r\n\r\n", true},
		{rfcMessage, []int{4, 1}, "", "part 4.1", true},
		{rfcMessage, []int{4, 1}, "MIME", "Content-Type: image/gif\r\n\r\n", true},
		{rfcMessage, []int{4, 2}, "HEADER.FIELDS", "Subject: four two\r\nContent-Type: multipart/mixed; boundary=D\r\n\r\n", true},
		{rfcMessage, []int{4, 2, 1}, "", "part 4.2.1", true},
		{rfcMessage, []int{4, 2, 2, 1}, "", "part 4.2.2.1", true},
		{rfcMessage, []int{4, 2, 2, 2}, "", "part 4.2.2.2", true},
		{rfcMessage, []int{5}, "", "", false},
		{rfcMessage, []int{0}, "", "", false},
		{rfcMessage, []int{-1}, "", "", false},
		{rfcMessage, []int{1, 1}, "", "", false},
		{rfcMessage, []int{1}, "HEADER", "", false},
		{rfcMessage, []int{4}, "TEXT", "", false},
		{rfcMessage, []int{4, 2, 2, 3}, "", "", false},

		// A message that is no multipart has part 1, its body.
		{plain, []int{1}, "", "just text\r\n", true},
		{plain, []int{1}, "MIME", "Subject: plain\r\nMIME-Version: 1.0\r\n\r\n", true},
		{plain, []int{1, 1}, "", "", false},
		{plain, []int{2}, "", "", false},
		{plain, []int{1}, "TEXT", "", false},

		{embedded, []int{1}, "", "Subject: inner\r\n\r\ninner text\r\n", true},
		{embedded, []int{1}, "HEADER", "Subject: inner\r\n\r\n", true},
		{embedded, []int{1}, "TEXT", "inner text\r\n", true},
		{embedded, []int{1, 1}, "", "inner text\r\n", true},
		{embedded, []int{1, 1, 1}, "", "", false},
	} {
		e, ok := Locate(parse(t, tt.msg), &wire.Section{Path: tt.path, Specifier: tt.spec})
		if ok != tt.ok {
			t.Errorf("%v %s: found %v", tt.path, tt.spec, ok)
		} else if got := octets(tt.msg, e); got != tt.want {
			t.Errorf("%v %s: %q, want %q", tt.path, tt.spec, got, tt.want)
		}
	}
	if _, ok := FindPart(nil, nil); ok {
		t.Error("a part of nothing")
	}
}

// The part that BODYSTRUCTURE shows of an empty multipart can be fetched.
func TestEmptyMultipart(t *testing.T) {
	root := &mailv1.Part{Type: "multipart", Subtype: "mixed", HeaderSize: 10, BodyOffset: 10, BodySize: 7}
	if e, ok := Locate(root, &wire.Section{Path: []int{1}}); !ok || e != (Extent{10, 7}) {
		t.Errorf("%v, %v", e, ok)
	}
	if e, ok := Locate(root, &wire.Section{Path: []int{1}, Specifier: "MIME"}); !ok || e != (Extent{10, 0}) {
		t.Errorf("MIME: %v, %v", e, ok)
	}
	if _, ok := FindPart(root, []int{2}); ok {
		t.Error("a second part")
	}
}

func TestFilterHeader(t *testing.T) {
	const header = "From: a\r\nX-Long: one\r\n\ttwo\r\nfrom : b\r\nno field\r\nTo: c\r\n\r\n"
	for _, tt := range []struct {
		header string
		fields []string
		not    bool
		want   string
	}{
		{header, []string{"FROM"}, false, "From: a\r\nfrom : b\r\n\r\n"},
		{header, []string{"x-long", "to"}, false, "X-Long: one\r\n\ttwo\r\nTo: c\r\n\r\n"},
		{header, []string{"from"}, true, "X-Long: one\r\n\ttwo\r\nTo: c\r\n\r\n"},
		{header, []string{"Fro", "Fromm", "Absent"}, false, "\r\n"},
		{"A: b\n\n", []string{"a"}, false, "A: b\n\n"},
		{"A: b\r\nC: d", []string{"c"}, false, "C: d"}, // no blank line, none is made up
		{"A: b\r\nC: d\r\n", []string{"a"}, false, "A: b\r\n"},
		{"\r\n", []string{"a"}, false, "\r\n"},
		{"", []string{"a"}, true, ""},
	} {
		if got := string(FilterHeader([]byte(tt.header), tt.fields, tt.not)); got != tt.want {
			t.Errorf("%q %q not %v: %q, want %q", tt.header, tt.fields, tt.not, got, tt.want)
		}
	}
}

func TestClip(t *testing.T) {
	const body = "0123456789"
	for _, tt := range []struct {
		p    *wire.Partial
		want string
	}{
		{nil, body},
		{&wire.Partial{Offset: 0, Length: 3}, "012"},
		{&wire.Partial{Offset: 8, Length: 3}, "89"},
		{&wire.Partial{Offset: 10, Length: 3}, ""},
		{&wire.Partial{Offset: 1 << 62, Length: 3}, ""},
		{&wire.Partial{Offset: 1, Length: 1<<63 - 1}, "123456789"},
	} {
		if got := string(ClipBytes([]byte(body), tt.p)); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.p, got, tt.want)
		}
		if e := Clip(Extent{100, 10}, tt.p); e.Size != uint64(len(tt.want)) || e.Size > 0 && body[e.Offset-100] != tt.want[0] {
			t.Errorf("%v: %v", tt.p, e)
		}
	}
}

// A section is named in the answer as it was in the question.
func TestAppendSection(t *testing.T) {
	for _, s := range []string{
		"[]", "[1.2]", "[HEADER]", "[1.MIME]", "[4.2.TEXT]<7.100>", "[]<0.5>", "[HEADER.FIELDS (Date From)]", "[1.HEADER.FIELDS.NOT (a {1+}\r\n()]",
	} {
		d := wire.NewDecoder(strings.NewReader("a FETCH 1 BODY"+s+"\r\n"), wire.NewGrammar(), wire.Limits{})
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		a, err := d.FetchArgs()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer("<7.100>", "<7>", "<0.5>", "<0>", "{1+}\r\n(", `"("`).Replace(s)
		if got := string(AppendSection(nil, a.Items[0].Section())); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDecodePart(t *testing.T) {
	for _, tt := range []struct{ encoding, in, want string }{
		{"7BIT", "a=b", "a=b"},
		{"", "x", "x"},
		{"Base64", "aGVs\r\nbG8=\r\n", "hello"},
		{" quoted-printable", "a=3Db=\r\nc", "a=bc"},
	} {
		r, ok := DecodePart(tt.encoding, strings.NewReader(tt.in))
		if !ok {
			t.Errorf("%s is unknown", tt.encoding)
			continue
		}
		if got, err := io.ReadAll(r); string(got) != tt.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", tt.encoding, got, err, tt.want)
		}
	}
	if r, ok := DecodePart("x-uuencode", strings.NewReader("")); ok {
		t.Errorf("x-uuencode is known: %v", reflect.TypeOf(r))
	}
}
