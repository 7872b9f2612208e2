package wire

import (
	"io"
	"testing"
)

// TestCatenateParts: RFC 4469 section 5, with the parts of RFC 6855 section 4.
func TestCatenateParts(t *testing.T) {
	d := newDecoder("a APPEND x CATENATE (utf8 (~{5+}\r\nfirst) URL \"/INBOX/;UID=1\" TEXT {4+}\r\nlast UTF8 (~{2+}\r\n\xc3\xa9))\r\nb NOOP\r\n")
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	d.AppendMailbox()
	if m, err := d.AppendMessage(); err != nil || !m.Catenate {
		t.Fatal(m, err)
	}
	for _, want := range []struct {
		CatenatePart
		text string
	}{
		{CatenatePart{Size: 5, Binary: true}, "first"}, {CatenatePart{URL: "/INBOX/;UID=1"}, ""}, {CatenatePart{Size: 4}, "last"}, {CatenatePart{Size: 2, Binary: true}, "é"},
	} {
		part, more, err := d.CatenatePart()
		if part != want.CatenatePart || !more || err != nil {
			t.Fatalf("%+v, %v, %v; want %+v", part, more, err, want.CatenatePart)
		}
		if part.URL != "" {
			continue
		}
		r, err := d.Literal()
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r); string(text) != want.text || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	if _, more, err := d.CatenatePart(); more || err != nil {
		t.Fatal(more, err)
	}
	if d.AppendMore() || d.End() != nil {
		t.Error(d.Err())
	}
	for _, in := range []string{"UTF8 ({5+}\r\nfirst)", "UTF8 (~{5+}\r\nfirst", "UTF8 ~{5+}\r\nfirst", "UTF8 (~\"first\")", "TEXT ~{5+}\r\nfirst"} {
		d := newDecoder("a APPEND x CATENATE (" + in + " TEXT {1+}\r\nx)\r\nb NOOP\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		d.AppendMailbox()
		_, err := d.AppendMessage()
		for more := true; more && err == nil; {
			if _, more, err = d.CatenatePart(); err == nil && more {
				_, err = d.Literal()
			}
		}
		wantSyntax(t, in, err)
	}
}
