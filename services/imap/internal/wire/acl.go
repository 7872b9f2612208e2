package wire

import "strings"

// Rights are those of RFC 4314 section 2.1, in the order in which they are told.
const Rights = "lrswipkxtea"

// obsoleteRights stand for others (RFC 4314 section 2.1.1).
var obsoleteRights = []struct{ right, members string }{{"c", "kx"}, {"d", "te"}}

// WithObsoleteRights adds to rights those of RFC 2086 that older clients look for.
func WithObsoleteRights(rights string) string {
	for _, o := range obsoleteRights {
		if strings.ContainsAny(rights, o.members) {
			rights += o.right
		}
	}
	return rights
}

// RightsChange is the third argument of SETACL (RFC 4314 section 3.1).
type RightsChange struct {
	// Op is '+', '-', or '=' for exactly these.
	Op byte
	// Rights are in order, each once, without obsolete ones.
	Rights string
}

// SetACLArgs reads the arguments of SETACL to the end of the command.
func (d *Decoder) SetACLArgs() (mailbox, identifier string, change RightsChange, err error) {
	d.SP()
	mailbox = d.Mailbox()
	d.SP()
	identifier = d.AString()
	d.SP()
	change = d.rightsChange()
	err = d.End()
	return mailbox, identifier, change, err
}

// ACLArgs reads the arguments of DELETEACL and LISTRIGHTS to the end of the command.
func (d *Decoder) ACLArgs() (mailbox, identifier string, err error) {
	d.SP()
	mailbox = d.Mailbox()
	d.SP()
	identifier = d.AString()
	err = d.End()
	return mailbox, identifier, err
}

func (d *Decoder) rightsChange() RightsChange {
	change := RightsChange{Op: '='}
	given := d.AString()
	if given != "" && (given[0] == '+' || given[0] == '-') {
		change.Op, given = given[0], given[1:]
	}
	for _, o := range obsoleteRights {
		given = strings.ReplaceAll(given, o.right, o.members)
	}
	for i := range len(given) {
		switch c := given[i]; {
		case 'A' <= c && c <= 'Z':
			d.Fail("rights are lower-case letters")
		case strings.IndexByte(Rights, c) < 0:
			d.Fail("the right %q is not known", c)
		}
	}
	change.Rights = strings.Map(func(r rune) rune {
		if strings.ContainsRune(given, r) {
			return r
		}
		return -1
	}, Rights)
	return change
}
