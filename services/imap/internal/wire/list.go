package wire

import (
	"slices"
	"unicode/utf8"
)

const (
	// maxPatterns and maxPattern, which is with the reference, bound what one LIST costs for each mailbox.
	maxPatterns = 100
	maxPattern  = 1024
)

// ListArgs are the arguments of LIST (RFC 9051 section 6.3.9) and LSUB.
type ListArgs struct {
	Reference string
	// Patterns are those that a mailbox can match, maybe none.
	Patterns []string
	// Select are selection options: SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL-USE.
	Select []Item
	// Return are return options: SUBSCRIBED, CHILDREN, SPECIAL-USE, and STATUS with []Item.
	Return []Item
	// Extended: the client used the extended syntax.
	Extended bool
}

func registerList(g *Grammar) {
	g.registerAll(ListSelections, "SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE")
	g.registerAll(ListReturns, "SUBSCRIBED", "CHILDREN", "SPECIAL-USE")
	g.Register(ListReturns, "STATUS", func(d *Decoder) any {
		d.SP()
		return d.statusItems()
	})
	// DELETED and DELETED-STORAGE: RFC 9208 section 4.1.4; APPENDLIMIT: RFC 7889.
	g.registerAll(StatusItems, "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE",
		"DELETED", "DELETED-STORAGE", "APPENDLIMIT")
}

// ListArgs reads the arguments of LIST and LSUB to the end of the command.
func (d *Decoder) ListArgs() (ListArgs, error) {
	var a ListArgs
	d.SP()
	if d.Peek() == '(' {
		a.Extended = true
		a.Select = d.ItemList(ListSelections)
		d.checkSelections(a.Select)
		d.SP()
	}
	a.Reference = d.decodeName(d.AString())
	d.SP()
	if d.Peek() == '(' {
		a.Extended = true
		n := 0
		d.List(func() {
			a.pattern(d.decodeName(d.ListMailbox()))
			n++
		})
		if n == 0 {
			d.Fail("no mailbox patterns")
		}
		if len(a.Patterns) > maxPatterns {
			d.Refuse("LIMIT", "too many mailbox patterns")
		}
	} else {
		a.pattern(d.decodeName(d.ListMailbox()))
	}
	if d.TrySP() {
		a.Extended = true
		if d.Keyword() != "RETURN" {
			d.Fail("expected RETURN")
		}
		d.SP()
		a.Return = d.ItemList(ListReturns)
	}
	if a.Extended { // empty patterns ask for nothing (RFC 9051 section 6.3.9)
		a.Patterns = slices.DeleteFunc(a.Patterns, func(p string) bool { return p == "" })
	}
	err := d.End()
	return a, err
}

// pattern adds one. What no mailbox can match is ignored in silence (RFC 9051 section 6.3.9).
func (a *ListArgs) pattern(p string) {
	if whole := a.Reference + p; len(whole) <= maxPattern && utf8.ValidString(whole) {
		a.Patterns = append(a.Patterns, p)
	}
}

// checkSelections refuses RECURSIVEMATCH without an option that it could modify (RFC 9051 section 6.3.9.1).
func (d *Decoder) checkSelections(items []Item) {
	if !Has(items, "RECURSIVEMATCH") {
		return
	}
	for _, it := range items {
		if it.Name != "RECURSIVEMATCH" && it.Name != "REMOTE" {
			return
		}
	}
	d.Fail("RECURSIVEMATCH needs another selection option")
}

// StatusArgs are the arguments of STATUS.
type StatusArgs struct {
	Mailbox string
	// Items are not empty.
	Items []Item
}

// StatusArgs reads the arguments of STATUS to the end of the command.
func (d *Decoder) StatusArgs() (StatusArgs, error) {
	var a StatusArgs
	d.SP()
	a.Mailbox = d.Mailbox()
	d.SP()
	a.Items = d.statusItems()
	err := d.End()
	return a, err
}

func (d *Decoder) statusItems() []Item { return d.ItemList(StatusItems) }
