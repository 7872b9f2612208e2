// Package text turns what mail carries into UTF-8: encoded words and raw octets of
// headers, transfer encodings and charsets of bodies, and the text of HTML. Nothing here fails on
// content; what cannot be decoded comes out as it is or as U+FFFD.
package text

import (
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold maps strings that a reader takes for the same (case, width, compatibility forms) to one:
// NFKC, full case folding, NFKC again. It serves where i;unicode-casemap (RFC 5051) is asked for.
func Fold(s string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
}
