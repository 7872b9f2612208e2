package wire

// NotifyGroup is an event group of NOTIFY (RFC 5465 section 8).
type NotifyGroup struct {
	Mailboxes MailboxFilter
	// Events is nil for NONE.
	Events []NotifyEvent
}

// NotifyEvent is what a client wants to hear of.
type NotifyEvent struct {
	// Name is in upper case.
	Name string
	// Fetch are the items that a new message comes with.
	Fetch []Item
}

// NotifyArgs are the arguments of NOTIFY.
type NotifyArgs struct {
	// Status: the client wants to know how the mailboxes are now.
	Status bool
	// Groups is nil for NONE.
	Groups []NotifyGroup
}

// notifyKinds are the mailboxes of NOTIFY; true: names follow.
var notifyKinds = map[string]bool{
	"selected": false, "selected-delayed": false, "inboxes": false, "personal": false, "subscribed": false, "subtree": true, "mailboxes": true,
}

// NotifyArgs reads the arguments of NOTIFY to the end of the command.
func (d *Decoder) NotifyArgs() (NotifyArgs, error) {
	var a NotifyArgs
	d.SP()
	switch d.Keyword() {
	case "NONE":
		return a, d.End()
	case "SET":
	default:
		d.Fail("expected NONE or SET")
	}
	d.SP()
	if d.Peek() != '(' {
		if d.Keyword() != "STATUS" {
			d.Fail("expected event groups")
		}
		a.Status = true
		d.SP()
	}
	a.Groups = []NotifyGroup{d.notifyGroup()}
	for d.TrySP() {
		a.Groups = append(a.Groups, d.notifyGroup())
	}
	return a, d.End()
}

func (d *Decoder) notifyGroup() NotifyGroup {
	d.Special('(')
	g := NotifyGroup{Mailboxes: d.mailboxFilter(notifyKinds)}
	d.SP()
	if d.Peek() == '(' {
		d.List(func() { g.Events = append(g.Events, d.notifyEvent()) })
		if len(g.Events) == 0 {
			d.Fail("no events")
		}
	} else if d.Keyword() != "NONE" {
		d.Fail("expected events")
	}
	d.Special(')')
	return g
}

func (d *Decoder) notifyEvent() NotifyEvent {
	e := NotifyEvent{Name: d.Keyword()}
	if e.Name == "MESSAGENEW" && d.Ahead(" (") {
		d.SP()
		e.Fetch = d.ItemList(FetchItems)
	}
	return e
}
