package wire

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "a/b/c", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"%/%", "a/b", true},
		{"%/%", "a/b/c", false},
		{"%%", "a/b", false},
		{"%*", "a/b", true},
		{"*%", "a/b", true},
		{"a*c", "a/b/c", true},
		{"a%c", "a/b/c", false},
		{"a%c", "abc", true},
		{"a%c", "ac", true},
		{"*b", "a/b", true},
		{"*a%", "xa/b", false},
		{"*a%", "xa/ab", true},
		{"foo/%", "foo", false},
		{"foo/%", "foo/", true},
		{"", "", true},
		{"", "a", false},
		{"INBOX", "INBOX", true},
		{"inbox", "INBOX", true},
		{"in*", "INBOX", true},
		{"%BoX", "INBOX", true},
		{"inbox/*", "INBOX/a", true},
		{"inbox/A", "INBOX/a", false},
		{"inbox", "INBOX2", false},
		{"inbox2", "INBOX2", false},
		{"a", "A", false},
		{"日本*", "日本語", true},
		{"日%語", "日本語", true},
		{strings.Repeat("a", 63), strings.Repeat("a", 63), true},
		{strings.Repeat("a", 64), strings.Repeat("a", 64), true},
		{strings.Repeat("a", 65), strings.Repeat("a", 65), true},
		{strings.Repeat("a", 63) + "*", strings.Repeat("a", 63), true},
		{strings.Repeat("a", 63) + "*b", strings.Repeat("a", 63) + "xxb", true},
		{strings.Repeat("a", 64) + "%b", strings.Repeat("a", 64) + "x/b", false},
		{strings.Repeat("a*", 500) + "b", strings.Repeat("a", 1000), false}, // exponential for who tries
	} {
		if got := NewPattern(tt.pattern, '/').Match(tt.name); got != tt.want {
			t.Errorf("%.80q matches %.80q: %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}

// slowMatch is RFC 9051's words as a recursion, for short inputs.
func slowMatch(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if c := pattern[0]; isWildcard(c) {
		if slowMatch(pattern[1:], name) {
			return true
		}
		return name != "" && (c == '*' || name[0] != '/') && slowMatch(pattern, name[1:])
	}
	return name != "" && pattern[0] == name[0] && slowMatch(pattern[1:], name[1:])
}

func FuzzPattern(f *testing.F) {
	f.Add("*a%b/*", "xa/b/c")
	f.Add("%%*%a", "b/a")
	f.Add(strings.Repeat("ab*", 40), strings.Repeat("ab", 80))
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := NewPattern(pattern, '/').Match(name)
		if len(pattern) > 12 || len(name) > 12 || strings.HasPrefix(name, inbox) {
			return
		}
		if want := slowMatch(pattern, name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}
