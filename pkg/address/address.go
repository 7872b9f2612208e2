// Package address parses and normalises mail addresses (RFC 5321 section 4.1.2, RFC 6531 for those beyond ASCII), so that
// two spellings of one address compare equal.
package address

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Longest parts in octets (RFC 5321 section 4.5.3.1; a path of 256 octets has an address of 254 within its brackets).
const (
	MaxLocal   = 64
	MaxDomain  = 255
	MaxAddress = 254
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("invalid address")

// Address is a normalised address. It is comparable.
type Address struct {
	// Local is the local part in lower case and NFC, without quotes and backslashes.
	Local string
	// Domain is in lower-case A-labels, or an address literal such as [192.0.2.1]. It is empty only for
	// "postmaster" without a domain (RFC 5321 section 4.1.1.3).
	Domain string
}

// Postmaster is the local part that every domain must accept (RFC 5321 section 4.5.1).
const Postmaster = "postmaster"

// Parse parses local@domain, without angle brackets, comments or display name.
func Parse(s string) (Address, error) {
	if strings.EqualFold(s, Postmaster) {
		return Address{Local: Postmaster}, nil
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Address{}, invalid("there is no @ in it")
	}
	local, err := parseLocal(s[:at])
	if err != nil {
		return Address{}, err
	}
	domain, err := parseHost(s[at+1:])
	if err != nil {
		return Address{}, err
	}
	a := Address{Local: local, Domain: domain}
	if len(a.String()) > MaxAddress {
		return Address{}, invalid("it is longer than %d octets", MaxAddress)
	}
	return a, nil
}

// String gives the address as it stands in SMTP commands, with the local part quoted where that is needed.
func (a Address) String() string {
	local := a.Local
	if !isDotString(local) {
		local = `"` + quoter.Replace(local) + `"`
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// SplitDetail splits the subaddress from user+detail@domain (RFC 5233). Without one the detail is empty
// and base is the address itself.
func (a Address) SplitDetail() (base Address, detail string) {
	local, detail, found := strings.Cut(a.Local, "+")
	if !found || local == "" {
		return a, ""
	}
	return Address{Local: local, Domain: a.Domain}, detail
}

// ParseDomain normalises the name of a domain to lower-case A-labels (RFC 5890).
func ParseDomain(s string) (string, error) {
	if s == "" {
		return "", invalid("the domain is empty")
	}
	if len(s) > 4*MaxDomain { // U-labels may be longer than their A-labels, but not without bound
		return "", invalid("the domain is longer than %d octets", MaxDomain)
	}
	domain, err := domains.ToASCII(s)
	if err != nil || slices.ContainsFunc(strings.Split(domain, "."), badLabel) {
		return "", invalid("%q is not a domain", s)
	}
	// Mapping lets a few characters through that its own outcome may not have.
	if again, err := domains.ToASCII(domain); err != nil || again != domain {
		return "", invalid("%q is not a domain", s)
	}
	return domain, nil
}

// badLabel is for what the profile below lets through: the root, and labels that RFC 1123 section 2.1 forbids.
func badLabel(label string) bool {
	return label == "" || label[0] == '-' || label[len(label)-1] == '-'
}

// domains is UTS 46 as mail uses it: strict host names, and A-labels that are really some.
var domains = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
	idna.VerifyDNSLength(true),
	idna.BidiRule(),
	idna.ValidateLabels(true),
	idna.CheckHyphens(false), // r3---sn.example exists
)

// parseHost takes a domain or an address literal (RFC 5321 section 4.1.3).
func parseHost(s string) (string, error) {
	if !strings.HasPrefix(s, "[") {
		return ParseDomain(s)
	}
	literal, closed := strings.CutSuffix(s[1:], "]")
	tag, v6 := strings.ToLower(literal), false
	if rest, ok := strings.CutPrefix(tag, "ipv6:"); ok {
		tag, v6 = rest, true
	}
	ip, err := netip.ParseAddr(tag)
	if !closed || err != nil || ip.Is6() != v6 || ip.Zone() != "" {
		return "", invalid("%q is not an address literal", s)
	}
	if v6 {
		return "[ipv6:" + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}

func parseLocal(s string) (string, error) {
	if len(s) > 4*MaxLocal { // quoting makes it longer, but not without bound
		return "", invalid("the part before @ is longer than %d octets", MaxLocal)
	}
	if !utf8.ValidString(s) {
		return "", invalid("it is not UTF-8")
	}
	if strings.HasPrefix(s, `"`) {
		unquoted, err := unquote(s)
		if err != nil {
			return "", err
		}
		s = unquoted
	} else if !isDotString(s) {
		return "", invalid("the part before @ has characters that need quotes, or misplaced dots")
	}
	s = fold(s)
	switch {
	case s == "":
		return "", invalid("the part before @ is empty")
	case len(s) > MaxLocal:
		return "", invalid("the part before @ is longer than %d octets", MaxLocal)
	}
	return s, nil
}

// fold gives lower case in NFC, and the same for what it gave.
func fold(s string) string {
	s = norm.NFC.String(s)
	for {
		lower := norm.NFC.String(strings.ToLower(s))
		if lower == s {
			return s
		}
		s = lower
	}
}

// unquote takes a Quoted-string (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
func unquote(s string) (string, error) {
	body, closed := strings.CutSuffix(s[1:], `"`)
	if len(s) < 2 || !closed {
		return "", invalid("a quote is not closed")
	}
	var out strings.Builder
	escaped := false
	for _, r := range body {
		switch {
		case r < ' ', unicode.IsControl(r):
			return "", invalid("it has a control character")
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
			continue
		case r == '"':
			return "", invalid("a quote is not closed")
		}
		out.WriteRune(r)
	}
	if escaped {
		return "", invalid("a quote is not closed")
	}
	return out.String(), nil
}

// isDotString tells whether a local part needs no quotes (Dot-string of RFC 5321 section 4.1.2).
func isDotString(s string) bool {
	dot := true // a dot may not come first, nor after a dot
	for _, r := range s {
		switch {
		case r == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case !isAtext(r):
			return false
		}
		dot = false
	}
	return !dot
}

// isAtext is atext of RFC 5322 section 3.2.3 and UTF8-non-ascii of RFC 6531 section 3.3.
func isAtext(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return r != utf8.RuneError && !unicode.IsControl(r) && !unicode.IsSpace(r)
	case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z':
		return true
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
