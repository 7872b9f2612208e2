package wire

// MailboxFilter says which mailboxes a command is about (RFC 5465 section 6, RFC 7377 section 2.2).
type MailboxFilter struct {
	// Kind is in lower case: selected, selected-delayed, inboxes, personal, subscribed, subtree, subtree-one or mailboxes.
	Kind string
	// Names are of the last three.
	Names []string
}

// mailboxFilter reads one; what is known of kinds is the caller's.
func (d *Decoder) mailboxFilter(kinds map[string]bool) MailboxFilter {
	f := MailboxFilter{Kind: lowerASCII(d.Keyword())}
	named, known := kinds[f.Kind]
	if !known {
		d.Fail("unknown kind of mailboxes")
	}
	if d.err != nil || !named {
		return f
	}
	d.SP()
	if d.Peek() != '(' {
		f.Names = []string{d.Mailbox()}
		return f
	}
	d.List(func() { f.Names = append(f.Names, d.Mailbox()) })
	if len(f.Names) == 0 {
		d.Fail("no mailboxes")
	}
	return f
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// sourceKinds are the mailboxes of ESEARCH; true: names follow.
var sourceKinds = map[string]bool{
	"selected": false, "inboxes": false, "personal": false, "subscribed": false, "subtree": true, "subtree-one": true, "mailboxes": true,
}

// ESearchArgs are the arguments of ESEARCH (RFC 7377 section 2).
type ESearchArgs struct {
	SearchArgs
	// Sources are the mailboxes that are searched; nil: the selected one.
	Sources []MailboxFilter
}

// ESearchArgs reads the arguments of ESEARCH to the end of the command. With an error, Return is still what was read of it.
func (d *Decoder) ESearchArgs() (ESearchArgs, error) {
	var a ESearchArgs
	d.SP()
	word := d.searchWord()
	if word == "IN" {
		d.SP()
		d.Special('(')
		a.Sources = []MailboxFilter{d.mailboxFilter(sourceKinds)}
		for d.TrySP() {
			a.Sources = append(a.Sources, d.mailboxFilter(sourceKinds))
		}
		d.Special(')')
		d.SP()
		word = d.searchWord()
	}
	var err error
	a.SearchArgs, err = d.searchArgs(word)
	return a, err
}
