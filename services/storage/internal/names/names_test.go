package names

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"Work":       "Work",
		"inbox":      "INBOX",
		"InBox/Sub":  "INBOX/Sub",
		"Sub/inbox":  "Sub/inbox",
		"INBOXES":    "INBOXES",
		"a/b/":       "a/b",
		"Cafe\u0301": "Caf\u00e9",
		"受信トレイ":      "受信トレイ",
		"two words":  "two words",
	} {
		if got, err := Normalise(in); err != nil || got != want {
			t.Errorf("Normalise(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParents(t *testing.T) {
	if got := Parents("a/b/c"); !slices.Equal(got, []string{"a", "a/b"}) {
		t.Errorf("got %q", got)
	}
	if got := Parents("a"); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"INBOX", "a/b", "Cafe\u0301", "//", "\xff", "a\x00b", strings.Repeat("x/", 40), "\u2028", "ﬃ/Å"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := Normalise(s)
		if err != nil {
			return
		}
		if again, err := Normalise(name); err != nil || again != name {
			t.Fatalf("%q became %q and then %q, %v", s, name, again, err)
		}
		if !utf8.ValidString(name) || !norm.NFC.IsNormalString(name) || len(name) > MaxBytes || name == "" {
			t.Fatalf("%q became %q", s, name)
		}
		for _, parent := range Parents(name) {
			if p, err := Normalise(parent); err != nil || p != parent {
				t.Fatalf("the parent %q of %q is no name: %v", parent, name, err)
			}
		}
	})
}
