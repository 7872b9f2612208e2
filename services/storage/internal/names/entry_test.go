package names

import (
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// TestParseEntry: RFC 5464 section 3.2.
func TestParseEntry(t *testing.T) {
	for name, want := range map[string]struct {
		entry             Entry
		settable, private bool
	}{
		"/private/comment":                          {"/private/comment", true, true},
		"/SHARED/Comment":                           {"/shared/comment", true, false},
		"/private":                                  {"/private", false, true},
		"/shared/vendor/x":                          {"/shared/vendor/x", false, false},
		"/shared/vendor/x/y":                        {"/shared/vendor/x/y", true, false},
		"/shared/vendors":                           {"/shared/vendors", true, false},
		"/private/a b":                              {"/private/a b", true, true},
		"/private/" + strings.Repeat("x", 512-9):    {Entry("/private/" + strings.Repeat("x", 512-9)), true, true},
		"/private/filters/values/small and medium":  {"/private/filters/values/small and medium", true, true},
		"/shared/vendor/cmu/cyrus-imapd/color/more": {"/shared/vendor/cmu/cyrus-imapd/color/more", true, false},
	} {
		e, err := ParseEntry(name)
		if err != nil || e != want.entry || e.Settable() != want.settable || e.Private() != want.private {
			t.Errorf("%q: got %q, %v, settable %v, private %v", name, e, err, e.Settable(), e.Private())
		}
	}
	for _, name := range []string{
		"", "/", "private/comment", "/public/comment", "/privates/x", "/private/", "/private//x", "/private/*", "/shared/%", "/shared/é", "/shared/\x00",
		"/shared/a\r\nb", "/shared/\x7f", "//private/x", "/private/" + strings.Repeat("x", 512-8),
	} {
		if _, err := ParseEntry(name); !fault.Is(err, rpcv1.Reason_REASON_INVALID) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// TestEntriesBelow: the depths of RFC 5464 section 4.2.2.
func TestEntriesBelow(t *testing.T) {
	for _, c := range []struct {
		entry         Entry
		child, within bool
	}{
		{"/private/a", true, true},
		{"/private/a/b", true, true},
		{"/private/a/b/c", false, true},
		{"/private/ab", false, false},
		{"/private", false, false},
		{"/shared/a", false, false},
	} {
		if c.entry.Child("/private/a") != c.child || c.entry.Within("/private/a") != c.within {
			t.Errorf("%s: child %v, within %v", c.entry, c.entry.Child("/private/a"), c.entry.Within("/private/a"))
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, seed := range []string{"/private/comment", "/SHARED/vendor/x/y", "//", "/private/\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		e, err := ParseEntry(name)
		if err != nil {
			return
		}
		if again, err := ParseEntry(string(e)); err != nil || again != e {
			t.Errorf("%q is %q, which is %q, %v", name, e, again, err)
		}
		if !e.Child(e) || !e.Within(e) || e.Private() == e.Within(SharedScope) {
			t.Errorf("%q is not where it is", e)
		}
		e.Settable()
	})
}
