package message

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// addresses writes a list for comparison: "name <@route:mailbox@host>", "group: " and ";".
func addresses(list []*mailv1.Address) string {
	var out []string
	for _, a := range list {
		switch {
		case a.Mailbox == nil:
			out = append(out, ";")
		case a.Host == nil:
			out = append(out, string(a.Mailbox)+":")
		default:
			s := string(a.Mailbox) + "@" + string(a.Host)
			if a.Adl != nil {
				s = string(a.Adl) + ":" + s
			}
			if a.Name != nil {
				s = string(a.Name) + " <" + s + ">"
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

func TestParseAddresses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{" , ,, ", ""},
		{"a@example.org", "a@example.org"},
		{"Joe <a@example.org>", "Joe <a@example.org>"},
		{"Joe  Q.\tPublic <a@example.org>, b@example.org", "Joe Q. Public <a@example.org>, b@example.org"},
		{`"Public, Joe \"Q\"" <a@example.org>`, `Public, Joe "Q" <a@example.org>`},
		{`"Joe" "Public"<a@example.org>`, "Joe Public <a@example.org>"},
		{"a@example.org (Joe (the) Public)", "Joe (the) Public <a@example.org>"},
		{"(first) Joe <a@example.org> (last)", "Joe <a@example.org>"},
		{"<@one.example,@two.example:a@example.org>", "@one.example,@two.example:a@example.org"},
		{"<a@example.org>", "a@example.org"},
		{"<>", "@"},
		{"Joe <joe>", "Joe <joe@>"},
		{"joe", "joe@"},
		{"Joe Public", "Joe Public <@>"},
		{"Joe Public a@example.org", "Joe Public <a@example.org>"},
		{`"a b"@example.org`, "a b@example.org"},
		{`<"a@b"@example.org>`, "a@b@example.org"},
		{"a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"a@[IPv6:2001:db8::1], b@example.org", "a@[IPv6:2001:db8::1], b@example.org"},
		{"a @ example.org", "a@example.org"},
		{"Team: a@example.org, Joe <b@example.org>;, c@example.org", "Team:, a@example.org, Joe <b@example.org>, ;, c@example.org"},
		{"undisclosed-recipients:;", "undisclosed-recipients:, ;"},
		{"Open: a@example.org", "Open:, a@example.org, ;"},
		{"a@example.org; b@example.org", "a@example.org, b@example.org"},
		{"=?utf-8?Q?Doe,_Joe?= <a@example.org>", "=?utf-8?Q?Doe,_Joe?= <a@example.org>"},
		{"\xe5\xb1\xb1\xe7\x94\xb0 <a@example.org>", "山田 <a@example.org>"},
		{"J\xf6rg <a@example.org>", "J\xf6rg <a@example.org>"},
		{"\x1b$B;3ED\x1b(B <a@example.org>", "\x1b$B;3ED\x1b(B <a@example.org>"},
		{"\x1b$B\"<<:\x1b(B <a@example.org>", "\x1b$B\"<<:\x1b(B <a@example.org>"},
		{`"Joe <a@example.org>`, "Joe <a@example.org>"},
		{`Joe" <a@example.org>`, "Joe <a@example.org>"},
		{"(Joe <a@example.org>", "(Joe <a@example.org>"},
		{"Joe <a@example.org", "Joe <a@example.org>"},
		{"Joe <a@example.org, b@example.org", "Joe <a@example.org>, b@example.org"},
		{"a@[broken, b@example.org", "a@[broken, b@example.org"},
		{"folded\r\n <a@example.org>", "folded <a@example.org>"},
		{"n\x00ul@example.org", "nul@example.org"},
	}
	for _, tt := range tests {
		if got := addresses(ParseAddresses([]byte(tt.in), 100)); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := addresses(ParseAddresses([]byte("g: a@b, c@d, e@f"), 2)); got != "g:, a@b, ;" {
		t.Errorf("limit: got %q", got)
	}
}

func TestParseDate(t *testing.T) {
	tests := []struct{ in, want string }{
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
		{"21 Nov 97 09:55 GMT", "1997-11-21T09:55:00Z"},
		{"21 Nov 49 09:55:06 EST", "2049-11-21T09:55:06-05:00"},
		{"21 Nov 102 09:55:06 JST", "2002-11-21T09:55:06+09:00"},
		{"21 Nov 0102 09:55:06 +0000", "2002-11-21T09:55:06Z"},
		{"Thu, 13 Feb 1969 23:32 (comment (nested)) -0330", "1969-02-13T23:32:00-03:30"},
		{"Thu,\r\n 13\r\n Feb 1969 23:32 -0330", "1969-02-13T23:32:00-03:30"},
		{"Fri Nov 21 09:55:06 1997", "1997-11-21T09:55:06Z"},
		{"Fri Nov 21 09:55:06 JST 1997", "1997-11-21T09:55:06+09:00"},
		{"21-Nov-1997 09:55:06 +0900", "1997-11-21T09:55:06+09:00"},
		{"1997-11-21T09:55:06+09:00", "1997-11-21T09:55:06+09:00"},
		{"21 November 1997 09:55:06 GMT+0900", "1997-11-21T09:55:06+09:00"},
		{"21 Nov 1997 09:55:06.123+09:00", "1997-11-21T09:55:06+09:00"},
		{"21 Nov 1997", "1997-11-21T00:00:00Z"},
		{"21 Nov 1997 23:59:60 +0000", "1997-11-22T00:00:00Z"},
		{"21 Nov 1997 09:55:06 +9900", "1997-11-21T09:55:06Z"},
		{"21 Nov 1997 09:55:06 K", "1997-11-21T09:55:06Z"},
		{"", ""},
		{"yesterday", ""},
		{"32 Nov 1997 09:55:06 +0000", ""},
		{"0 Nov 1997 09:55:06 +0000", ""},
		{"21 Nov 1997 25:00:00 +0000", ""},
		{"21 Foo 1997 09:55:06 +0000", ""},
		{"21 Nov 99999 09:55:06 +0000", ""},
		{"((((", ""},
		{"21-Nov-", ""},
	}
	for _, tt := range tests {
		d, ok := ParseDate([]byte(tt.in))
		got := ""
		if ok {
			got = d.Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestBaseSubject(t *testing.T) {
	tests := []struct {
		in, want string
		reply    bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"RE : re:  Fwd: FW: hello  world", "hello world", true},
		{"[list] Re: [other] hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"Re: [list]", "[list]", true},
		{"[list] [a]", "[a]", false},
		{"hello (fwd) (FWD) ", "hello", true},
		{"[Fwd: Re: hello]", "hello", true},
		{"[fwd: [fwd: hello (fwd)]]", "hello", true},
		{"Regarding: hello", "Regarding: hello", false},
		{"[unclosed hello", "[unclosed hello", false},
		{"Re: 郵便\t局", "郵便 局", true},
		{"Re:", "", true},
	}
	for _, tt := range tests {
		if got, reply := BaseSubject(tt.in); got != tt.want || reply != tt.reply {
			t.Errorf("%q: got %q %v, want %q %v", tt.in, got, reply, tt.want, tt.reply)
		}
	}
}

func TestReadParams(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"; charset=utf-8", "charset=utf-8"},
		{" ; Charset = \"utf-8\" ; format=flowed", "charset=utf-8|format=flowed"},
		{"; charset=us-ascii (Plain text)", "charset=us-ascii"},
		{"; (c) charset=(d) us-ascii", "charset=us-ascii"},
		{"; filename=my file (1).pdf; x=y", "filename=my file (1).pdf|x=y"},
		{`; name="a\"b;c"`, `name=a"b;c`},
		{`; name="never ends; x=y`, `name=never ends; x=y`},
		{"; a=1; A=2", "a=1"},
		{"; =1; b; c=3", "c=3"},
		{"; filename*=UTF-8'ja'%E9%83%B5.txt; filename=plain.txt", "filename=郵.txt"},
		{"; filename*=utf-8''broken%zz%4", "filename=broken%zz%4"},
		{"; filename*=no-such-charset''%E9", "filename=\xe9"},
		{"; filename*1*=%41; filename*0*=iso-8859-1''%E9; filename*2=\"%41\"", "filename=éA%41"},
		{"; filename*0=a; filename*2=c", "filename=a"},
		{"; filename*0=\"=?UTF-8?B?6YO1\"; filename*1=\"5L6/?=\"", "filename=郵便"},
		{"; filename=\"=?iso-2022-jp?B?GyRCTTlKWBsoQg==?=.pdf\"", "filename=郵便.pdf"},
		{"; filename=\"\xe9t\xe9.pdf\"", "filename=été.pdf"},
		{"; x=\"\xe9\"", "x=\xe9"},
		{"; a*b*c=1; *=2; *0=3", "a*b*c=1|*=2|*0=3"},
		{"; a*99999=1", "a*99999=1"},
	}
	for _, tt := range tests {
		b := budget{params: 100}
		var got []string
		for _, p := range readParams([]byte(tt.in), &b) {
			got = append(got, p.GetName()+"="+string(p.GetValue()))
		}
		if s := strings.Join(got, "|"); s != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, s, tt.want)
		}
	}
}

func TestEachHeader(t *testing.T) {
	header := "From x\r\nA: 1\r\n 2\r\ntorn\r\n more\r\nb : 3\nno name\r\n: empty\r\nC:\r\n\r\nD: body\r\n"
	var got []string
	for f := range EachHeader([]byte(header)) {
		got = append(got, string(f.Name)+"="+string(Unfold(f.Value)))
	}
	if want := []string{"A=1 2", "b=3", "C="}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(SelectFields([]byte(header), []string{"B", "a"}, false)); got != "A: 1\r\n 2\r\nb : 3\n" {
		t.Errorf("selected %q", got)
	}
	if got := string(SelectFields([]byte(header), []string{"B", "a"}, true)); got != "C:\r\n" {
		t.Errorf("not selected %q", got)
	}
}

func TestMessageIDs(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"<a@b>", []string{"a@b"}},
		{"a@b", []string{"a@b"}},
		{"your mail of today", nil},
		{"<a@b> (comment) < c@d ><e@f", []string{"a@b", "c@d"}},
		{"<<a@b>", []string{"a@b"}},
		{"<\xff>", []string{"\uFFFD"}},
		{"<" + strings.Repeat("x", 999) + ">", nil},
	}
	for _, tt := range tests {
		if got := messageIDs([]byte(tt.in)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
	if ids := messageIDs([]byte(strings.Repeat("<a@b>", 99) + "<z@z>")); len(ids) != 32 || ids[31] != "z@z" {
		t.Errorf("kept %d ids", len(ids))
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add([]byte(`g: "a\" <b@c>, (d) <@e:f@g> ; [h`))
	f.Add([]byte("\x1b$B\"<\x1b( =?a?q?,?= <,"))
	f.Fuzz(func(t *testing.T, in []byte) {
		open := false
		list := ParseAddresses(in, 50)
		for _, a := range list {
			switch {
			case a.Mailbox == nil && (!open || a.Host != nil):
				t.Fatalf("stray end of group in %s", addresses(list))
			case a.Mailbox == nil:
				open = false
			case a.Host == nil && open:
				t.Fatalf("group in a group in %s", addresses(list))
			case a.Host == nil:
				open = true
			}
		}
		if open || len(list) > 51 {
			t.Fatalf("%d entries, open %v", len(list), open)
		}
	})
}

func FuzzDate(f *testing.F) {
	f.Add([]byte("Fri, 21 Nov 1997 09:55:06 -0600"))
	f.Add([]byte("21-Nov-97 (x) 9:5+09:00 GMT+1"))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, ok := ParseDate(in)
		if !ok {
			return
		}
		again, ok := ParseDate([]byte(d.Format(time.RFC1123Z)))
		if !ok || !again.Equal(d.Truncate(time.Second)) {
			t.Fatalf("%v is read as %v %v", d, again, ok)
		}
	})
}

func FuzzParams(f *testing.F) {
	f.Add([]byte(`; a*0*=utf-8'en'%41; a*1="b" (c); name=d e`))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := budget{params: 50}
		for _, p := range readParams(in, &b) {
			if p.GetName() == "" || !utf8.ValidString(p.GetName()) {
				t.Fatalf("name %q", p.GetName())
			}
		}
	})
}

func FuzzBaseSubject(f *testing.F) {
	f.Add("Re: [a] [fwd: Fw[2]: x (fwd)]")
	f.Fuzz(func(t *testing.T, in string) {
		base, _ := BaseSubject(in)
		if again, reply := BaseSubject(base); again != base || reply {
			t.Fatalf("%q has the base %q", base, again)
		}
		if utf8.ValidString(in) && !utf8.ValidString(base) {
			t.Fatalf("%q is not UTF-8", base)
		}
	})
}
