// Package imapmodel plays random sequences of IMAP commands, from several sessions, against a running system and against a model of an
// account that is simple enough to be obviously right, and compares every answer. A sequence that fails is made shorter before it is shown.
package imapmodel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const inbox = "INBOX"

// flagSet is a set of flags: in lower case, sorted, with spaces between.
type flagSet string

func flagsOf(names ...string) flagSet {
	for i, n := range names {
		names[i] = strings.ToLower(n)
	}
	slices.Sort(names)
	return flagSet(strings.Join(slices.Compact(names), " "))
}

func (f flagSet) names() []string        { return strings.Fields(string(f)) }
func (f flagSet) has(name string) bool   { return slices.Contains(f.names(), strings.ToLower(name)) }
func (f flagSet) with(o flagSet) flagSet { return flagsOf(append(f.names(), o.names()...)...) }
func (f flagSet) without(o flagSet) flagSet {
	return flagsOf(slices.DeleteFunc(f.names(), o.has)...)
}

// apply is what STORE does: op is "+", "-" or "".
func (f flagSet) apply(op string, flags flagSet) flagSet {
	switch op {
	case "+":
		return f.with(flags)
	case "-":
		return f.without(flags)
	}
	return flags
}

// version is how a message is from a modification sequence on.
type version struct {
	modseq uint64
	flags  flagSet
}

// message is one in a mailbox, or one that was.
type message struct {
	content
	uid      uint32
	versions []version // the latest at the end
	gone     uint64    // the modification sequence of its expunge; 0: it is there
}

func (m *message) last() version  { return m.versions[len(m.versions)-1] }
func (m *message) flags() flagSet { return m.last().flags }

// mailbox has all messages that it ever had, in order of their UIDs.
type mailbox struct {
	name     string
	validity uint32
	next     uint32
	modseq   uint64
	all      []*message
	notes    notes
	history  []count
	deleted  bool
}

// now gives the messages that are there: what a session sees that knows everything.
func (b *mailbox) now() []*message {
	return slices.DeleteFunc(slices.Clone(b.all), func(m *message) bool { return m.gone > 0 })
}

func (b *mailbox) find(uid uint32) *message {
	for _, m := range b.all {
		if m.uid == uid {
			return m
		}
	}
	return nil
}

// count tells how many messages match, and their octets.
func (b *mailbox) count(match func(m *message) bool) (n, octets int) {
	for _, m := range b.now() {
		if match(m) {
			n++
			octets += m.size
		}
	}
	return n, octets
}

// add appends messages with their flags, at one modification sequence, and gives them.
func (b *mailbox) add(contents []content, flags []flagSet) []*message {
	if len(contents) == 0 {
		return nil
	}
	b.modseq++
	for i, c := range contents {
		b.all = append(b.all, &message{content: c, uid: b.next, versions: []version{{b.modseq, flags[i]}}})
		b.next++
	}
	b.note()
	return b.all[len(b.all)-len(contents):]
}

// store changes flags, and gives the messages that it has changed. Those with the flags already keep their modification sequence.
func (b *mailbox) store(messages []*message, op string, flags flagSet) []*message {
	var changed []*message
	for _, m := range messages {
		if next := m.flags().apply(op, flags); m.gone == 0 && next != m.flags() {
			m.versions = append(m.versions, version{b.modseq + 1, next})
			changed = append(changed, m)
		}
	}
	if len(changed) > 0 {
		b.modseq++
		b.note()
	}
	return changed
}

// expunge removes those of the messages that are there.
func (b *mailbox) expunge(messages []*message) []*message {
	var gone []*message
	for _, m := range messages {
		if m.gone == 0 {
			m.gone = b.modseq + 1
			gone = append(gone, m)
		}
	}
	if len(gone) > 0 {
		b.modseq++
		b.note()
	}
	return gone
}

func (b *mailbox) copyTo(to *mailbox, messages []*message) (sources, copies []*message) {
	var contents []content
	var flags []flagSet
	for _, m := range messages {
		if m.gone == 0 {
			sources, contents, flags = append(sources, m), append(contents, m.content), append(flags, m.flags())
		}
	}
	return sources, to.add(contents, flags)
}

// account is the model of an account.
type account struct {
	boxes      map[string]*mailbox
	subscribed map[string]bool
	ever       map[uint32]*mailbox // by their UIDVALIDITY, also those that are gone
	notes      notes
}

func newAccount() *account {
	return &account{boxes: map[string]*mailbox{}, subscribed: map[string]bool{}, ever: map[uint32]*mailbox{}, notes: notes{}}
}

// canonical gives INBOX its name, in whatever case it comes.
func canonical(name string) string {
	first, rest, below := strings.Cut(strings.TrimSuffix(name, "/"), "/")
	if strings.EqualFold(first, inbox) {
		first = inbox
	}
	if below {
		return first + "/" + rest
	}
	return first
}

func parents(name string) []string {
	var out []string
	for i, c := range name {
		if c == '/' {
			out = append(out, name[:i])
		}
	}
	return out
}

func (a *account) hasChildren(name string) bool {
	for other := range a.boxes {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

// make adds a mailbox and those that are missing above it. Their UIDVALIDITY is learned later.
func (a *account) make(name string) {
	for _, n := range append(parents(name), name) {
		if a.boxes[n] == nil {
			a.boxes[n] = &mailbox{name: n, next: 1, modseq: 1, notes: notes{}, history: []count{{next: 1}}}
		}
	}
}

// create gives the response code of a refusal, "" if the mailbox was made.
func (a *account) create(name string) (code string) {
	if a.boxes[name] != nil {
		return "ALREADYEXISTS"
	}
	a.make(name)
	return ""
}

func (a *account) remove(name string) (code string) {
	b := a.boxes[name]
	switch {
	case b == nil:
		return "NONEXISTENT"
	case name == inbox:
		return "CANNOT"
	case a.hasChildren(name):
		return "HASCHILDREN"
	}
	b.deleted = true
	delete(a.boxes, name)
	return ""
}

// rename is RFC 9051 section 6.3.6: of INBOX only the messages get another place.
func (a *account) rename(from, to string) (code string) {
	source := a.boxes[from]
	switch {
	case source == nil:
		return "NONEXISTENT"
	case strings.HasPrefix(to, from+"/"):
		return "CANNOT"
	case a.boxes[to] != nil:
		return "ALREADYEXISTS"
	}
	if from == inbox {
		a.make(to)
		moved, _ := source.copyTo(a.boxes[to], source.now())
		source.expunge(moved)
		a.boxes[to].notes = maps.Clone(source.notes) // RFC 5464 section 4.1
		return ""
	}
	above := parents(to)
	if len(above) > 0 {
		a.make(above[len(above)-1])
	}
	tree := slices.DeleteFunc(slices.Collect(maps.Keys(a.boxes)), func(name string) bool {
		return name != from && !strings.HasPrefix(name, from+"/")
	})
	for _, name := range tree {
		b := a.boxes[name]
		delete(a.boxes, name)
		b.name = to + strings.TrimPrefix(name, from)
		b.modseq++
		a.boxes[b.name] = b
	}
	return ""
}

// learnValidity notes a mailbox's UIDVALIDITY, which no other one may have had (RFC 9051 section 2.3.1.1), and which never changes.
func (a *account) learnValidity(b *mailbox, validity uint32) error {
	switch {
	case b.validity == validity:
		return nil
	case b.validity != 0:
		return fmt.Errorf("UIDVALIDITY %d of %s was %d", validity, b.name, b.validity)
	case a.ever[validity] != nil:
		return fmt.Errorf("UIDVALIDITY %d of %s was another mailbox's", validity, b.name)
	}
	b.validity = validity
	a.ever[validity] = b
	return nil
}
