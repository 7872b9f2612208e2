// Package text turns what mail carries into UTF-8: encoded words and raw octets of
// headers, transfer encodings and charsets of bodies, and the text of HTML. Nothing
// here fails on content: what cannot be decoded comes out as it is or as U+FFFD.
package text

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold prepares strings for comparison by i;unicode-casemap (RFC 5051 section 2): of the titlecase of each character the full decomposition,
// so that letters are found without their marks. Beyond that, strings are taken for the same that full case folding or NFKC takes for the same (ß and ss,
// marks in another order), and syllables of Hangul are whole, as in RFC 5051, also where they come as letters. Octets that are not UTF-8 become U+FFFD.
func Fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	s = strings.ToTitle(norm.NFKD.String(strings.ToValidUTF8(s, "\uFFFD")))
	return composeHangul(norm.NFKD.String(cases.Fold().String(s)))
}

// The numbers of The Unicode Standard, section 3.12.
const (
	hangulS, hangulL, hangulV, hangulT = 0xac00, 0x1100, 0x1161, 0x11a7
	hangulLs, hangulVs, hangulTs       = 19, 21, 28
)

// composeHangul makes syllables of conjoining letters.
func composeHangul(s string) string {
	at := strings.IndexFunc(s, func(r rune) bool { return r >= hangulL && r < hangulL+hangulLs })
	if at < 0 {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	out.WriteString(s[:at])
	last := rune(-1) // what was not written yet
	for _, r := range s[at:] {
		switch l, v, t := last-hangulL, r-hangulV, r-hangulT; {
		case l >= 0 && l < hangulLs && v >= 0 && v < hangulVs:
			last = hangulS + (l*hangulVs+v)*hangulTs
			continue
		case last >= hangulS && last < hangulS+hangulLs*hangulVs*hangulTs && (last-hangulS)%hangulTs == 0 && t > 0 && t < hangulTs:
			last += t
			continue
		}
		if last >= 0 {
			out.WriteRune(last)
		}
		last = r
	}
	out.WriteRune(last)
	return out.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
