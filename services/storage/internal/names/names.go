// Package names checks mailbox names: UTF-8 in NFC, levels separated by '/', the inbox exactly "INBOX".
package names

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// Inbox is the name of the inbox (RFC 9051 section 5.1).
const Inbox = "INBOX"

// Separator of the levels.
const Separator = "/"

// Limits of a name.
const (
	MaxLevelBytes = 255
	MaxBytes      = 1000
	MaxDepth      = 32
)

// Normalise gives the stored form of a name, or REASON_MAILBOX_NAME_INVALID.
func Normalise(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", invalid("the mailbox name is not UTF-8")
	}
	if len(name) > 4*MaxBytes { // bounds the work of normalisation
		return "", invalid("the mailbox name is too long")
	}
	// A trailing separator only declares that children will come (RFC 9051 section 6.3.4).
	name = norm.NFC.String(strings.TrimSuffix(name, Separator))
	if name == "" {
		return "", invalid("the mailbox name is empty")
	}
	if len(name) > MaxBytes {
		return "", invalid("the mailbox name is too long")
	}
	levels := strings.Split(name, Separator)
	if len(levels) > MaxDepth {
		return "", invalid("the mailbox name has too many levels")
	}
	for _, level := range levels {
		switch {
		case level == "":
			return "", invalid("the mailbox name has an empty level")
		case len(level) > MaxLevelBytes:
			return "", invalid("a level of the mailbox name is too long")
		}
	}
	for _, r := range name {
		// U+2028 and U+2029 are forbidden as controls are (RFC 9051 section 5.1, Net-Unicode).
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return "", invalid("the mailbox name has a control character")
		}
	}
	if strings.EqualFold(levels[0], Inbox) {
		levels[0] = Inbox
	}
	return strings.Join(levels, Separator), nil
}

// Parents gives the names of the levels above, the highest first.
func Parents(name string) []string {
	var out []string
	for i := range len(name) {
		if name[i] == Separator[0] {
			out = append(out, name[:i])
		}
	}
	return out
}

func invalid(text string) error {
	return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_MAILBOX_NAME_INVALID, text)
}
