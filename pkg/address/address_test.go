package address

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", MaxLocal)
	for _, tt := range []struct{ in, local, domain, out string }{
		{"alice@example.test", "alice", "example.test", "alice@example.test"},
		{"Alice.Liddell+Books@EXAMPLE.Test", "alice.liddell+books", "example.test", "alice.liddell+books@example.test"},
		{"PostMaster", "postmaster", "", "postmaster"},
		{"postmaster@localhost", "postmaster", "localhost", "postmaster@localhost"},
		{`"alice"@example.test`, "alice", "example.test", "alice@example.test"},
		{`"John Doe"@example.test`, "john doe", "example.test", `"john doe"@example.test`},
		{`"a\"b\\c@d"@example.test`, `a"b\c@d`, "example.test", `"a\"b\\c@d"@example.test`},
		{`"a..b"@example.test`, "a..b", "example.test", `"a..b"@example.test`},
		{"user@münchen.example", "user", "xn--mnchen-3ya.example", "user@xn--mnchen-3ya.example"},
		{"user@XN--MNCHEN-3YA.example", "user", "xn--mnchen-3ya.example", "user@xn--mnchen-3ya.example"},
		{"user@日本語。jp", "user", "xn--wgv71a119e.jp", "user@xn--wgv71a119e.jp"},
		{"ＡＢ@example.test", "ａｂ", "example.test", "ａｂ@example.test"},
		{"E\u0301MILE@example.test", "\u00e9mile", "example.test", "\u00e9mile@example.test"},
		{long + "@example.test", long, "example.test", long + "@example.test"},
		{"a@[192.0.2.1]", "a", "[192.0.2.1]", "a@[192.0.2.1]"},
		{"a@[IPv6:2001:DB8:0::1]", "a", "[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"},
	} {
		got, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if want := (Address{tt.local, tt.domain}); got != want {
			t.Errorf("Parse(%q) = %+v, want %+v", tt.in, got, want)
		}
		if got.String() != tt.out {
			t.Errorf("Parse(%q).String() = %q, want %q", tt.in, got, tt.out)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "alice", "@example.test", "alice@", "a b@example.test", "a..b@example.test", ".a@example.test", "a.@example.test",
		"a@b@example.test", `"a@example.test`, `a"b@example.test`, `"a"b"@example.test`, `"a\"@example.test`, `""@example.test`, `"`, `"@x`,
		"a\x00@example.test", "\"a\nb\"@example.test", "a\xff@example.test", "a\u0085b@example.test", "a\u3000b@example.test",
		"a@exa mple.test", "a@exam_ple.test", "a@.test", "a@example..test", "a@example.test.", "a@xn--zz.test",
		"a@-x.test", "a@" + strings.Repeat("a", 64) + ".test", "a@" + strings.Repeat("abcdefg.", 40) + "test",
		strings.Repeat("a", MaxLocal+1) + "@example.test", strings.Repeat("a", 5000) + "@example.test",
		strings.Repeat("a", MaxLocal) + "@" + strings.Repeat("abcdefg.", 24) + "test",
		"a@[192.0.2.1", "a@[192.0.2]", "a@[2001:db8::1]", "a@[ipv6:192.0.2.1]", "a@[ipv6:fe80::1%eth0]", "<a@example.test>",
	} {
		if got, err := Parse(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("Parse(%q) = %+v, %v, want ErrInvalid", in, got, err)
		}
	}
}

func TestSplitDetail(t *testing.T) {
	for _, tt := range []struct{ in, base, detail string }{
		{"user@x.test", "user@x.test", ""},
		{"user+tag@x.test", "user@x.test", "tag"},
		{"user+a+b@x.test", "user@x.test", "a+b"},
		{"user+@x.test", "user@x.test", ""},
		{"+tag@x.test", "+tag@x.test", ""},
	} {
		a, err := Parse(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if base, detail := a.SplitDetail(); base.String() != tt.base || detail != tt.detail {
			t.Errorf("%q splits to %q and %q, want %q and %q", tt.in, base, detail, tt.base, tt.detail)
		}
	}
}

// FuzzParse checks that what Parse gives is within the limits, and that its text parses to the same address again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"alice@example.test", "Postmaster", `"a b"@x.test`, "user+tag@münchen.example", "a@[IPv6:::1]", "\u0130@x.test", "ǅ@faß.de", `"\""@x`, "a@xn--mnchen-3ya",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v does not wrap ErrInvalid", err)
			}
			return
		}
		text := a.String()
		if len(a.Local) > MaxLocal || len(a.Domain) > MaxDomain || len(text) > MaxAddress {
			t.Fatalf("%q is longer than allowed", text)
		}
		if again, err := Parse(text); err != nil || again != a {
			t.Fatalf("%q gives %+v, whose text %q gives %+v, %v", s, a, text, again, err)
		}
		if base, _ := a.SplitDetail(); len(base.Local) == 0 {
			t.Fatalf("%q has an empty base", text)
		}
	})
}
