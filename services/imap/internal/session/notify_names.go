package session

import (
	"maps"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// tellNames tells which mailboxes have come, gone or been renamed, and which are subscribed (RFC 5465 sections 5.4 and 5.5). The parent of one that has
// come or gone is told of, too, as what it has below may have changed.
func (s *session) tellNames(all []*folder) {
	n := s.notify
	if !n.hears(eventName, eventSubscription) {
		return
	}
	byName, there := map[string]*folder{}, map[view.Key]bool{}
	affected, oldName := map[string]bool{}, map[string]string{} // the latter by the new one
	for _, f := range all {
		byName[f.name] = f
		if f.Mailbox == nil {
			continue
		}
		there[f.key()] = true
		if old, known := n.known[f.key()]; !known {
			affected[f.name], affected[parentOf(f.name)] = true, true
		} else if old.GetName() != f.name {
			oldName[f.name] = old.GetName()
		}
	}
	for k, m := range n.known {
		if !there[k] {
			affected[m.GetName()], affected[parentOf(m.GetName())] = true, true
		}
	}
	delete(affected, "") // above the first level
	for _, f := range all {
		g := s.groupOf(n, f)
		old, known := n.known[f.key()]
		renamed := oldName[f.name] != "" && !s.movedAlong(f.name, oldName, byName)
		subscribed := known && old.GetSubscribed() != f.GetSubscribed()
		if hasEvent(g, eventName) && (affected[f.name] || renamed) || hasEvent(g, eventSubscription) && subscribed {
			line := selection{showSubscribed: hasEvent(g, eventSubscription), extended: true}.line(f, false)
			line.oldName = oldName[f.name]
			s.sendList(line)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(affected)) {
		if f := (&folder{name: name}); byName[name] == nil && hasEvent(s.groupOf(n, f), eventName) {
			s.sendList(listLine{attrs: []string{`\NonExistent`}, name: name})
		}
	}
}

// movedAlong tells whether a mailbox has its new name by a rename of its parent, which the client hears of.
func (s *session) movedAlong(name string, oldName map[string]string, byName map[string]*folder) bool {
	parent := parentOf(name)
	old, renamed := oldName[parent]
	return renamed && oldName[name] == old+strings.TrimPrefix(name, parent) && hasEvent(s.groupOf(s.notify, byName[parent]), eventName)
}

// ownNames notes what the client itself does to names, which is not told (RFC 5465 section 5).
func (s *session) ownNames(change func(known map[view.Key]held)) {
	if s.notify != nil {
		change(s.notify.known)
	}
}

// nameGone is for ownNames.
func nameGone(name string) func(known map[view.Key]held) {
	return func(known map[view.Key]held) {
		maps.DeleteFunc(known, func(_ view.Key, m held) bool { return m.GetName() == name })
	}
}

// nameMoved is for ownNames. INBOX stays, though its messages go.
func nameMoved(from, to string) func(known map[view.Key]held) {
	return func(known map[view.Key]held) {
		for _, m := range known {
			if below, ok := strings.CutPrefix(m.GetName(), from); ok && from != "INBOX" && (below == "" || below[0] == delimiter) {
				m.Name = to + below
			}
		}
	}
}

// nameSubscribed is for ownNames.
func nameSubscribed(name string, subscribed bool) func(known map[view.Key]held) {
	return func(known map[view.Key]held) {
		for _, m := range known {
			if m.GetName() == name {
				m.Subscribed = subscribed
			}
		}
	}
}
