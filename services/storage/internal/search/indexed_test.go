package search

import (
	"fmt"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// indexed is a candidate of which an index knows something.
type indexed struct {
	*candidate
	answers map[string]Answer // by needle
	program *Program
	text    *Text
	fail    error
}

func (c *indexed) Lookup(needle int) Answer { return c.answers[c.program.Needles()[needle].Text] }

func (c *indexed) Text() (*Text, error) { return c.text, c.fail }

func TestIndexIsAskedBeforeAnythingIsRead(t *testing.T) {
	const message = "Subject: Hello\r\n\r\nThe body has a needle.\r\n"
	whole := &Text{Header: "subject: hello\n", Body: "the body has a needle."}
	for _, c := range []struct {
		what    string
		answers map[string]Answer
		text    *Text
		key     string
		want    bool
		read    string
	}{
		{"it has it", map[string]Answer{"word": Yes}, nil, "word", true, ""},
		{"it does not", map[string]Answer{"needle": No}, nil, "needle", false, ""},
		{"the text has it", nil, whole, "NEEDLE", true, ""},
		{"the text does not", nil, whole, "other", false, ""},
		{"in the header", nil, whole, "subject: hello", true, ""},
		{"a part of the text has it", nil, &Text{Body: "needle", Partial: true}, "needle", true, ""},
		{"a part of the text does not", nil, &Text{Partial: true}, "needle", true, "header structure body"},
		{"there is no text", nil, nil, "needle", true, "header structure body"},
	} {
		p, err := Compile(textKey(c.key))
		if err != nil {
			t.Fatal(err)
		}
		m := &indexed{candidate: newCandidate(t, message, nil), answers: c.answers, program: p, text: c.text}
		got, err := p.Match(t.Context(), m)
		if err != nil || got != c.want || strings.Join(m.read, " ") != c.read {
			t.Errorf("%s: matches is %v, %v, with %q read; want %v with %q", c.what, got, err, m.read, c.want, c.read)
		}
	}
}

func TestIndexDecidesFields(t *testing.T) {
	p, err := Compile(headerKey("Subject", "hello"))
	if err != nil {
		t.Fatal(err)
	}
	for answer, want := range map[Answer]bool{No: false, Unknown: true, Yes: true} {
		m := &indexed{candidate: newCandidate(t, "Subject: Hello\r\n\r\nx\r\n", nil), answers: map[string]Answer{"hello": answer}, program: p}
		if got, err := p.Match(t.Context(), m); err != nil || got != want || (answer == Unknown) == (len(m.read) == 0) {
			t.Errorf("answer %v: matches is %v, %v, with %q read", answer, got, err, m.read)
		}
	}
}

// What is extracted of a message is what a search looks at.
func TestExtractedTextMatchesAsTheMessageDoes(t *testing.T) {
	const message = "Subject: =?UTF-8?B?5p2x5Lqs?= tour\r\nTo: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nOne  two\r\nthree 日本\r\n語\r\n--b\r\nContent-Type: text/html\r\n" +
		"Content-Disposition: attachment; filename*=UTF-8''na%C3%AFve.html\r\n\r\n<i>Fo</i>ur\r\n--b--\r\n"
	m := newCandidate(t, message, nil)
	all, err := Extract(t.Context(), m, Limits{Header: 10_000, Body: 10_000})
	if err != nil || all.Partial {
		t.Fatalf("extracted %+v, %v", all, err)
	}
	for _, needle := range []string{"東京 tour", "5p2x5Lqs", "subject", "one two three", "日本語", "four", "naïve.html", "three 日本語 four", "語 four", "nothing", "boundary=b", "a@example.com"} {
		for _, key := range []struct {
			zone Zone
			want bool
		}{{ZoneText, match(t, textKey(needle), newCandidate(t, message, nil))}, {ZoneBody, match(t, bodyKey(needle), newCandidate(t, message, nil))}} {
			if got := all.Contains(Needle{Text: normal(needle), Zone: key.zone}); got != key.want {
				t.Errorf("%q in zone %d: the text has it: %v, the message: %v", needle, key.zone, got, key.want)
			}
		}
	}
	for _, l := range []Limits{{Header: 60, Body: 10_000}, {Header: 10_000, Body: 21}, {Header: 10_000, Body: 20}, {Header: 10_000, Body: 22}} {
		some, err := Extract(t.Context(), newCandidate(t, message, nil), l)
		if err != nil || !some.Partial || len(some.Header) > l.Header || len(some.Body) > l.Body {
			t.Errorf("with limits %+v: %+v, %v", l, some, err)
		}
		if !strings.HasPrefix(all.Body, some.Body) || !strings.HasPrefix(all.Header, some.Header) {
			t.Errorf("with limits %+v: %q is not the beginning of %q", l, some.Body, all.Body)
		}
	}
}

func TestBound(t *testing.T) {
	sets := map[string]uidset.Set{"a": uidset.Of(1, 2, 3), "b": uidset.Of(3, 4)}
	sets["to: "] = uidset.Of(5)
	for _, c := range []struct {
		what string
		got  func() (*Program, error)
		want string
	}{
		{"both", func() (*Program, error) { return Compile(allOfKeys(textKey("a"), bodyKey("b"))) }, "[{3 3}]"},
		{"either", func() (*Program, error) { return Compile(anyOfKeys(textKey("a"), headerKey("to", "b"))) }, "[{1 4}]"},
		{"a field that is there", func() (*Program, error) { return Compile(headerKey("To", "")) }, "[{5 5}]"},
		{"not", func() (*Program, error) { return Compile(notKey(textKey("a"))) }, "[{1 4294967295}]"},
		{"either of what nothing is known of", func() (*Program, error) { return Compile(anyOfKeys(textKey("a"), flagsKey(1))) }, "[{1 4294967295}]"},
		{"an empty text", func() (*Program, error) { return Compile(textKey(" ")) }, "[{1 4294967295}]"},
	} {
		p, err := c.got()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Bound(func(i int) uidset.Set { return sets[p.Needles()[i].Text] })); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}
