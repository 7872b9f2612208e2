package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// crlf makes CRLF of the line ends of a literal.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func parse(t *testing.T, msg string, limits Limits) *mailv1.Structure {
	t.Helper()
	s, err := Parse(strings.NewReader(msg), int64(len(msg)), limits)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	if err := checkTree(s.GetRoot(), uint64(len(msg)), limits.withDefaults()); err != nil {
		t.Fatalf("%v in:\n%s", err, dump(msg, s.GetRoot()))
	}
	return s
}

// dump writes each part as "type/subtype lines header|body", indented by its depth.
func dump(msg string, root *mailv1.Part) string {
	var out strings.Builder
	var walk func(p *mailv1.Part, indent string)
	walk = func(p *mailv1.Part, indent string) {
		fmt.Fprintf(&out, "%s%s/%s %d", indent, p.GetType(), p.GetSubtype(), p.GetLines())
		if len(p.GetChildren()) == 0 {
			fmt.Fprintf(&out, " %q", msg[p.GetBodyOffset():p.GetBodyOffset()+p.GetBodySize()])
		}
		out.WriteByte('\n')
		for _, c := range p.GetChildren() {
			walk(c, indent+" ")
		}
	}
	walk(root, "")
	return out.String()
}

// checkTree holds what Parse promises of every message.
func checkTree(root *mailv1.Part, size uint64, limits Limits) error {
	parts := 0
	var walk func(p *mailv1.Part, from, to uint64, depth int) error
	walk = func(p *mailv1.Part, from, to uint64, depth int) error {
		parts++
		end := p.GetBodyOffset() + p.GetBodySize()
		switch {
		case depth > limits.Depth:
			return fmt.Errorf("depth %d", depth)
		case p.GetHeaderOffset() < from || end > to:
			return fmt.Errorf("%s/%s [%d,%d) outside [%d,%d)", p.GetType(), p.GetSubtype(), p.GetHeaderOffset(), end, from, to)
		case p.GetHeaderOffset()+p.GetHeaderSize() != p.GetBodyOffset():
			return fmt.Errorf("body at %d, header ends at %d", p.GetBodyOffset(), p.GetHeaderOffset()+p.GetHeaderSize())
		case isMultipart(p) && len(p.GetChildren()) == 0, isMessage(p) && len(p.GetChildren()) != 1,
			!isMultipart(p) && !isMessage(p) && len(p.GetChildren()) > 0:
			return fmt.Errorf("%s/%s with %d children", p.GetType(), p.GetSubtype(), len(p.GetChildren()))
		case isMessage(p) != (p.GetEnvelope() != nil):
			return fmt.Errorf("%s/%s: envelope %v", p.GetType(), p.GetSubtype(), p.GetEnvelope())
		case p.GetEncoding() == "":
			return errors.New("no encoding")
		}
		at := p.GetBodyOffset()
		for _, c := range p.GetChildren() {
			if err := walk(c, at, end, depth+1); err != nil {
				return err
			}
			at = c.GetBodyOffset() + c.GetBodySize()
		}
		return nil
	}
	if err := walk(root, 0, size, 1); err != nil {
		return err
	}
	if root.GetHeaderOffset() != 0 || root.GetBodyOffset()+root.GetBodySize() != size {
		return errors.New("the root is not the message")
	}
	if parts > limits.Parts {
		return fmt.Errorf("%d parts", parts)
	}
	return nil
}

func TestParseStructure(t *testing.T) {
	tests := []struct {
		name string
		msg  string
		want string
	}{
		{"empty", "", "text/plain 0 \"\"\n"},
		{"blank line alone", "\n", "text/plain 0 \"\"\n"},
		{"header alone", "Subject: x\n", "text/plain 0 \"\"\n"},
		{"plain", "Subject: x\n\none\ntwo\n", "text/plain 2 \"one\\r\\ntwo\\r\\n\"\n"},
		{"no final line end", "Subject: x\n\none\ntwo", "text/plain 1 \"one\\r\\ntwo\"\n"},
		{"no header", "Hello,\nthis is text\n", "text/plain 2 \"Hello,\\r\\nthis is text\\r\\n\"\n"},
		{"missing blank line", "Subject: x\nHello,\nthis is text\n", "text/plain 2 \"Hello,\\r\\nthis is text\\r\\n\"\n"},
		{"torn line between fields", "Subject: x\ntorn off\nContent-Type: text/html\n\nbody\n", "text/html 1 \"body\\r\\n\"\n"},
		{"mbox line", "From a@example.org Fri Feb 22 17:06:23 2008\nContent-Type: text/html\n\nbody\n", "text/html 1 \"body\\r\\n\"\n"},
		{"folded with white space alone", "Subject: x\n \n\t\nContent-Type: text/html\n\nbody\n", "text/html 1 \"body\\r\\n\"\n"},
		{"duplicate content type", "Content-Type: text/html\nContent-Type: image/png\n\nb", "text/html 0 \"b\"\n"},
		{"unusable content type", "Content-Type: text\n\nb", "text/plain 0 \"b\"\n"},
		{"space before colon", "Content-Type : text/html\n\nb", "text/html 0 \"b\"\n"},
		{
			"multipart",
			"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: image/png\n\ntwo\n\n--b--\nepilogue\n--b\n",
			"multipart/mixed 12\n text/plain 0 \"one\"\n image/png 1 \"two\\r\\n\"\n",
		},
		{
			"white space after the boundary",
			"Content-Type: multipart/mixed; boundary=\"b \"\n\n--b \t\n\none\n--b-- \n",
			"multipart/mixed 4\n text/plain 0 \"one\"\n",
		},
		{
			"no final boundary",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo",
			"multipart/mixed 5\n text/plain 0 \"one\"\n text/plain 0 \"two\"\n",
		},
		{
			"boundary that begins another",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\none\n--bb--\n--b\n\n--bbb\n--b--\n",
			"multipart/mixed 11\n multipart/alternative 3\n  text/plain 0 \"one\"\n text/plain 0 \"--bbb\"\n",
		},
		{
			"outer boundary ends the inner multipart",
			"Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n--in\n\none\n--out\n\ntwo\n--in\n--out--\n",
			"multipart/mixed 11\n multipart/mixed 2\n  text/plain 0 \"one\"\n text/plain 1 \"two\\r\\n--in\"\n",
		},
		{
			"one boundary for two levels",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
			"multipart/mixed 11\n multipart/mixed 3\n  text/plain 0 \"one\"\n text/plain 0 \"two\"\n",
		},
		{
			"header cut by a boundary",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n",
			"multipart/mixed 6\n text/html 0 \"\"\n text/plain 0 \"two\"\n",
		},
		{
			"part without header and blank line",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nhello\n--b--\n",
			"multipart/mixed 3\n text/plain 0 \"hello\"\n",
		},
		{
			"boundary without a blank line before it",
			"Content-Type: multipart/mixed; boundary=b\n--b\nContent-Type: text/html\n\none\n--b--\n",
			"multipart/mixed 5\n text/html 0 \"one\"\n",
		},
		{"no boundary parameter", "Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n", "text/plain 4 \"--b\\r\\n\\r\\none\\r\\n--b--\\r\\n\"\n"},
		{"empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\none\n----\n", "text/plain 4 \"--\\r\\n\\r\\none\\r\\n----\\r\\n\"\n"},
		{"boundary that never comes", "Content-Type: multipart/mixed; boundary=b\n\none\n", "text/plain 1 \"one\\r\\n\"\n"},
		{
			"digest",
			"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\none\n--b\nContent-Type: text/plain\n\ntwo\n--b--\n",
			"multipart/digest 10\n message/rfc822 2\n  text/plain 0 \"one\"\n text/plain 0 \"two\"\n",
		},
		{
			"embedded message",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--c--\n--b--\n",
			"multipart/mixed 11\n message/rfc822 6\n  multipart/mixed 3\n   text/plain 0 \"one\"\n",
		},
		{"embedded message of nothing", "Content-Type: message/rfc822\n\n", "message/rfc822 0\n text/plain 0 \"\"\n"},
		{"embedded message without header", "Content-Type: message/global\n\nhello\nworld\n", "message/global 2\n text/plain 2 \"hello\\r\\nworld\\r\\n\"\n"},
		{
			"embedded message in base64",
			"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0K\n",
			"application/octet-stream 1 \"U3ViamVjdDogeA0K\\r\\n\"\n",
		},
		{"bare CR is no line end", "Subject: x\n\na\rb\n", "text/plain 1 \"a\\rb\\r\\n\"\n"},
		{"NUL", "Subject: a\x00b\n\n\x00\n", "text/plain 1 \"\\x00\\r\\n\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			msg := crlf(tt.msg)
			s := parse(t, msg, Limits{})
			if got := dump(msg, s.GetRoot()); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if s.GetDegraded() {
				t.Error("degraded without a limit")
			}
			// The same with LF gives the same tree over the same text.
			want := strings.ReplaceAll(tt.want, `\r\n`, `\n`)
			if got := dump(tt.msg, parse(t, tt.msg, Limits{}).GetRoot()); got != want {
				t.Errorf("with LF: got\n%swant\n%s", got, want)
			}
		})
	}
}

// TestParseLookAhead moves the line that ends a header over the end of the read buffer.
func TestParseLookAhead(t *testing.T) {
	for fill := bufferBytes - 120; fill < bufferBytes; fill++ {
		msg := "Content-Type: multipart/mixed; boundary=b\r\nX: " + strings.Repeat("x", fill-60) +
			"\r\n--b\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("y", bufferBytes) + "\r\n--b--\r\n"
		if n := countParts(parse(t, msg, Limits{}).GetRoot()); n != 2 {
			t.Fatalf("%d parts with %d octets before", n, fill)
		}
	}
}

func TestParseLimits(t *testing.T) {
	nested := crlf("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--a\n\ntwo\n--a--\n")
	forward := crlf("Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: x\n\none\n")
	tests := []struct {
		name   string
		msg    string
		limits Limits
		want   string
	}{
		{
			"depth of multiparts", nested, Limits{Depth: 2},
			"multipart/mixed 11\n application/octet-stream 3 \"--b\\r\\n\\r\\none\\r\\n--b--\"\n text/plain 0 \"two\"\n",
		},
		{
			"parts", nested, Limits{Parts: 3},
			"multipart/mixed 11\n multipart/mixed 8\n  text/plain 0 \"one\"\n",
		},
		{
			"one part", nested, Limits{Parts: 1},
			"application/octet-stream 11 " + fmt.Sprintf("%q", nested[strings.Index(nested, "\r\n\r\n")+4:]) + "\n",
		},
		{
			"depth of messages", forward, Limits{Depth: 2},
			"message/rfc822 5\n application/octet-stream 3 \"Subject: x\\r\\n\\r\\none\\r\\n\"\n",
		},
		{
			"header bytes", "Subject: " + strings.Repeat("x", 100) + "\r\nContent-Type: text/html\r\n\r\nb", Limits{HeaderBytes: 50},
			"text/plain 0 \"b\"\n",
		},
		{
			"total header bytes", nested, Limits{TotalHeaderBytes: 50},
			"multipart/mixed 11\n text/plain 3 \"--b\\r\\n\\r\\none\\r\\n--b--\"\n text/plain 0 \"two\"\n",
		},
		{"params", "Content-Type: text/html; a=1; b=2; c=3\r\n\r\nb", Limits{Params: 2}, "text/html 0 \"b\"\n"},
		{"addresses", "To: a@example.org, b@example.org\r\n\r\nb", Limits{Addresses: 1}, "text/plain 0 \"b\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.msg, tt.limits)
			if got := dump(tt.msg, s.GetRoot()); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if !s.GetDegraded() {
				t.Error("not degraded")
			}
		})
	}
}

// countingReader counts what is read of a message.
type countingReader struct {
	*bytes.Reader
	read int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

func TestParseReadsOnce(t *testing.T) {
	var parts strings.Builder
	parts.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for i := range 10_000 {
		fmt.Fprintf(&parts, "--b\r\nContent-Type: image/png; name=%d\r\n\r\nx\r\n", i)
	}
	var bomb strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&bomb, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	tests := []struct {
		name     string
		msg      string
		degraded bool
		parts    int
	}{
		{"10,000 parts", parts.String(), true, 10_000},
		{"10,000 levels", bomb.String(), true, 50},
		{"10,000 embedded messages", strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10_000), true, 50},
		{"1 MiB header line", "Subject: " + strings.Repeat("x", 1<<20) + "\r\n\r\nbody", true, 1},
		{"100,000 addresses", "To: " + strings.Repeat("a@b.c, ", 100_000) + "\r\n\r\nbody", true, 1},
		{"4 MiB line", "Subject: x\r\n\r\n" + strings.Repeat("x", 4<<20), false, 1},
		{"false boundaries", "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 70) + "\r\n\r\n" +
			strings.Repeat("--"+strings.Repeat("b", 69)+"\r\n", 20_000), false, 1},
		{"torn header lines", "Subject: x\r\n" + strings.Repeat("torn\r\nA: b\r\n", 50_000), false, 1},
		{"open comments and quotes", "From: " + strings.Repeat("(\"<[", 50_000) + "\r\n\r\nbody", false, 1},
		{"false encoded words", "Subject: " + strings.Repeat("=?a?q?", 50_000) + "\r\n\r\nbody", false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &countingReader{Reader: bytes.NewReader([]byte(tt.msg))}
			s, err := Parse(r, int64(len(tt.msg)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			// Once for the structure, and the beginning of one part for the preview.
			if limit := int64(len(tt.msg)) + int64(DefaultLimits().PreviewBytes); r.read > limit {
				t.Errorf("read %d octets, at most %d allowed", r.read, limit)
			}
			if err := checkTree(s.GetRoot(), uint64(len(tt.msg)), DefaultLimits()); err != nil {
				t.Error(err)
			}
			if s.GetDegraded() != tt.degraded {
				t.Errorf("degraded: %v", s.GetDegraded())
			}
			if n := countParts(s.GetRoot()); n != tt.parts {
				t.Errorf("%d parts, want %d", n, tt.parts)
			}
		})
	}
}

func countParts(p *mailv1.Part) int {
	n := 1
	for _, c := range p.GetChildren() {
		n += countParts(c)
	}
	return n
}

// failingReader fails after some octets.
type failingReader struct {
	data string
	err  error
}

func (f failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.data)) {
		return 0, f.err
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, f.err
	}
	return n, nil
}

func TestParseReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, want := range []error{broken, io.EOF} {
		_, err := Parse(failingReader{"Subject: x\r\n\r\n", want}, 100, Limits{})
		if errors.Is(want, io.EOF) {
			want = io.ErrUnexpectedEOF
		}
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestParseFields(t *testing.T) {
	msg := crlf(`Received: from example.net
Date: Thu, 1 Feb 2024 10:00:00 +0900 (JST)
From: =?iso-2022-jp?B?GyRCOzNFRBsoQg==?= <yamada@example.jp>
To: a@example.org
Subject: Re: [list] =?UTF-8?B?6YO15L6/?=
Message-ID: <3@example.jp>
In-Reply-To: <2@example.jp>
References: <1@example.jp> <2@example.jp>
To: b@example.org
Content-Type: multipart/mixed; boundary="=_b"

--=_b
Content-Type: multipart/alternative; boundary=alt

--alt
Content-Type: text/html; charset=utf-8

<p>html</p>
--alt
Content-Type: text/plain; charset=iso-2022-jp

` + "\x1b$B$3$s$K$A$O\x1b(B" + `
 world
--alt--
--=_b
Content-Type: application/pdf; name="=?UTF-8?B?6YO15L6/LnBkZg==?="
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*0*=iso-2022-jp''%1B$B; filename*1*=M9JX%1B%28B;
 filename*2=".pdf"
Content-ID: <id@example.jp>
Content-Language: ja, en-GB
Content-Location: http://example.jp/
 a.pdf
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Description: the file

JVBERi0=
--=_b--
`)
	s := parse(t, msg, Limits{})
	pdf := s.GetRoot().GetChildren()[1]
	e := s.GetEnvelope()
	for _, tt := range []struct{ name, got, want string }{
		{"preview", s.GetPreview(), "こんにちは world"},
		{"message id", s.GetMessageId(), "3@example.jp"},
		{"references", strings.Join(s.GetReferences(), " "), "1@example.jp 2@example.jp"},
		{"base subject", s.GetBaseSubject(), "郵便"},
		{"sent", fmt.Sprint(s.GetSentUnix()), "1706749200"},
		{"attachment", fmt.Sprint(s.GetHasAttachment()), "true"},
		{"subject", string(e.GetSubject()), "Re: [list] =?UTF-8?B?6YO15L6/?="},
		{"to", addresses(e.GetTo()), "a@example.org, b@example.org"},
		{"sender", addresses(e.GetSender()), "=?iso-2022-jp?B?GyRCOzNFRBsoQg==?= <yamada@example.jp>"},
		{"reply-to", addresses(e.GetReplyTo()), addresses(e.GetFrom())},
		{"date", string(e.GetDate()), "Thu, 1 Feb 2024 10:00:00 +0900 (JST)"},
		{"name", string(paramValue(pdf.GetParams(), "name")), "郵便.pdf"},
		{"filename", string(Filename(pdf)), "郵便.pdf"},
		{"disposition", pdf.GetDisposition(), "attachment"},
		{"id", string(pdf.GetId()), "<id@example.jp>"},
		{"languages", strings.Join(pdf.GetLanguages(), " "), "ja en-GB"},
		{"location", string(pdf.GetLocation()), "http://example.jp/a.pdf"},
		{"md5", string(pdf.GetMd5()), "Q2hlY2sgSW50ZWdyaXR5IQ=="},
		{"description", string(pdf.GetDescription()), "the file"},
		{"encoding", pdf.GetEncoding(), "base64"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func TestPreview(t *testing.T) {
	long := strings.Repeat("あ", 300)
	tests := []struct{ name, msg, want string }{
		{"cut at 256 characters", "Content-Type: text/plain; charset=utf-8\n\n" + long, strings.Repeat("あ", 256)},
		{"HTML without tags", "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<style>p{}</style><title>t</title><p>Caf=C3=A9 &amp;=\n  tea</p><br>now", "Café & tea now"},
		{"no text", "Content-Type: image/png\n\nxxx", ""},
		{"an attachment is no text", "Content-Type: text/plain\nContent-Disposition: attachment\n\nxxx", ""},
		{"HTML if the text is empty", "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n \n--b\nContent-Type: text/html\n\n<b>x</b>\n--b--\n", "x"},
		{"invisible characters", "Content-Type: text/html\n\na&zwnj;&nbsp;&#847;&nbsp;b", "a b"},
		{"the text of an embedded message is not ours", "Content-Type: message/rfc822\n\nSubject: x\n\ninner", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parse(t, crlf(tt.msg), Limits{}).GetPreview(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n--b\r\nA: b\n--b--"), uint8(3), uint8(4))
	f.Add([]byte("From a\nContent-Type: multipart/digest; boundary*0=a; boundary*1*=%41\n\n--aA\n\nContent-Type: text/html\n\n<a\n--aA"), uint8(9), uint8(9))
	f.Add([]byte("Subject: \xff\x00\r\n torn\r\nTo: g: \"a <b@c>;\r\r\n"), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, msg []byte, depth, parts uint8) {
		limits := Limits{Depth: int(depth), Parts: int(parts), HeaderBytes: 200, Params: 10, Addresses: 10}.withDefaults()
		r := &countingReader{Reader: bytes.NewReader(msg)}
		s, err := Parse(r, int64(len(msg)), limits)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkTree(s.GetRoot(), uint64(len(msg)), limits); err != nil {
			t.Fatalf("%v in:\n%s", err, dump(string(msg), s.GetRoot()))
		}
		if r.read > 4*int64(len(msg)) {
			t.Fatalf("read %d of %d octets", r.read, len(msg))
		}
		wire, err := proto.Marshal(s) // fails on strings that are not UTF-8
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(bytes.NewReader(msg), int64(len(msg)), limits)
		if err != nil || !proto.Equal(s, again) {
			t.Fatalf("a second parse differs: %v", err)
		}
		if n := utf8.RuneCountInString(s.GetPreview()); n > previewRunes {
			t.Fatalf("preview of %d characters", n)
		}
		if len(wire) > 20*len(msg)+1000 {
			t.Fatalf("%d octets of structure for %d of message", len(wire), len(msg))
		}
	})
}

// TestReferences: RFC 5256 section 3, what a message answers.
func TestReferences(t *testing.T) {
	for header, want := range map[string]string{
		"References: <a@x> <b@x>\n":               "a@x b@x",
		"References: <a@x>\nIn-Reply-To: <b@x>\n": "a@x",
		"In-Reply-To: <b@x>\n":                    "b@x",
		"In-Reply-To: <b@x> <c@x>\n":              "b@x",
		"In-Reply-To: <b@x> from Bob\n <bob@example.org>\nReferences: nothing here\n": "b@x",
		"In-Reply-To: your message of Monday\n":                                       "",
		"References: <a@x>\nReferences: <b@x>\n":                                      "a@x",
	} {
		s := parse(t, crlf(header+"\n"), Limits{})
		if got := strings.Join(s.GetReferences(), " "); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}
