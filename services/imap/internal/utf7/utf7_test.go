package utf7

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEncodeDecode(t *testing.T) {
	for _, tt := range []struct{ text, coded string }{
		{"", ""},
		{"INBOX", "INBOX"},
		{"&", "&-"},
		{"A & B", "A &- B"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, // RFC 3501 section 5.1.3
		{"Entwürfe", "Entw&APw-rfe"},
		{"下書き", "&Tgtm+DBN-"},
		{"😀", "&2D3eAA-"},
		{"é&é", "&AOk-&-&AOk-"},
		{"a\tb", "a&AAk-b"},
	} {
		if got := Encode(tt.text); got != tt.coded {
			t.Errorf("Encode(%q) = %q, want %q", tt.text, got, tt.coded)
		}
		got, err := Decode(tt.coded)
		if err != nil || got != tt.text {
			t.Errorf("Decode(%q) = %q, %v, want %q", tt.coded, got, err, tt.text)
		}
		if got := DecodeTolerant(tt.coded); got != tt.text {
			t.Errorf("DecodeTolerant(%q) = %q, want %q", tt.coded, got, tt.text)
		}
	}
}

func TestDecodeInvalid(t *testing.T) {
	for _, tt := range []struct{ coded, tolerant string }{
		{"&", "&"},
		{"a&b", "a&b"},
		{"&AOk", "&AOk"},
		{"&AGE-", "&AGE-"},       // "a" must not be shifted
		{"&ACY-", "&ACY-"},       // nor "&"
		{"&AOk-&AOk-", "éé"},     // superfluous shift: RFC 3501 section 5.1.3
		{"&2D0-", "&2D0-"},       // lone surrogate
		{"&3gDYPQ-", "&3gDYPQ-"}, // surrogates swapped
		{"&AOl-", "&AOl-"},       // bits after the end
		{"&A-", "&A-"},           // half a unit
		{"&AOk=-", "&AOk=-"},     // padding
		{"&AO/-", "&AO/-"},       // "/" is "," here
		{"日本", "日本"},             // raw UTF-8
		{"A & B &AOk-", "A & B é"},
		{"x & y", "x & y"},
	} {
		if got, err := Decode(tt.coded); !errors.Is(err, ErrInvalid) {
			t.Errorf("Decode(%q) = %q, %v, want ErrInvalid", tt.coded, got, err)
		}
		if got := DecodeTolerant(tt.coded); got != tt.tolerant {
			t.Errorf("DecodeTolerant(%q) = %q, want %q", tt.coded, got, tt.tolerant)
		}
	}
}

// A name full of shifts that never end does not cost a decode for each.
func TestDecodeTolerantIsLinear(t *testing.T) {
	name := strings.Repeat("&", 60000) + "-"
	if got := testing.AllocsPerRun(1, func() { DecodeTolerant(name) }); got > 10 {
		t.Errorf("%v allocations", got)
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"INBOX", "&", "日本語/メール", "&AOk-", "a&-b", "😀é&", "\xff", "&AOk-&AOk-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		coded := Encode(s)
		for i := range len(coded) {
			if coded[i] < 0x20 || coded[i] > 0x7e {
				t.Fatalf("Encode(%q) = %q is not printable US-ASCII", s, coded)
			}
		}
		if utf8.ValidString(s) {
			if got, err := Decode(coded); err != nil || got != s {
				t.Fatalf("Decode(%q) = %q, %v, want %q", coded, got, err, s)
			}
			if got := DecodeTolerant(coded); got != s {
				t.Fatalf("DecodeTolerant(%q) = %q, want %q", coded, got, s)
			}
		}
		// Decode takes the canonical form only.
		if text, err := Decode(s); err == nil {
			if again := Encode(text); again != s {
				t.Fatalf("Encode(Decode(%q)) = %q", s, again)
			}
			if got := DecodeTolerant(s); got != text {
				t.Fatalf("DecodeTolerant(%q) = %q, Decode %q", s, got, text)
			}
		}
		DecodeTolerant(s)
	})
}
