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

// Fold maps strings that a reader takes for the same (case, width, compatibility forms)
// to one: NFKC, full case folding, NFKC again. It serves where i;unicode-casemap
// (RFC 5051) is asked for. Octets that are not UTF-8 become U+FFFD.
func Fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
