package names

import (
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// MaxEntryBytes bounds the name of an annotation.
const MaxEntryBytes = 512

// The scopes of annotations: what their names begin with (RFC 5464 section 3.2).
const (
	PrivateScope = "/private"
	SharedScope  = "/shared"
)

// Entry is the name of an annotation, in lower case: names compare without case.
type Entry string

// ParseEntry checks a name by RFC 5464 section 3.2, or answers REASON_INVALID. A scope alone is one, too: others are below it.
func ParseEntry(name string) (Entry, error) {
	if len(name) > MaxEntryBytes {
		return "", invalidEntry("the name of the annotation is too long")
	}
	for i := range len(name) {
		// Of control characters the section names those up to 0x19; the others are as little use.
		if c := name[i]; c < ' ' || c > '~' || c == '*' || c == '%' {
			return "", invalidEntry("the name of the annotation has a character that cannot be")
		}
	}
	e := Entry(strings.ToLower(name))
	switch {
	case strings.Contains(name, "//") || strings.HasSuffix(name, "/"):
		return "", invalidEntry("the name of the annotation has an empty level")
	case !e.Within(PrivateScope) && !e.Within(SharedScope):
		return "", invalidEntry("the name of an annotation begins with /private/ or /shared/")
	}
	return e, nil
}

// Settable tells whether an annotation can have the name: two levels at least, and four in a vendor's own tree.
func (e Entry) Settable() bool {
	levels := strings.Split(string(e)[1:], "/")
	return len(levels) > 1 && (levels[1] != "vendor" || len(levels) > 3)
}

// Private tells whether each user of a mailbox has a value of their own.
func (e Entry) Private() bool { return e.Within(PrivateScope) }

// Within tells whether the entry is another one or below it.
func (e Entry) Within(other Entry) bool { return e.below(other) >= 0 }

// Child tells whether the entry is another one or a level below it.
func (e Entry) Child(other Entry) bool {
	n := e.below(other)
	return n == 0 || n == 1
}

// below gives how many levels an entry is below another, -1 if it is elsewhere.
func (e Entry) below(other Entry) int {
	rest, ok := strings.CutPrefix(string(e), string(other))
	if !ok || rest != "" && rest[0] != '/' {
		return -1
	}
	return strings.Count(rest, "/")
}

func invalidEntry(text string) error {
	return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, text)
}
