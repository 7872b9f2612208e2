package session

import (
	"context"
	"slices"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// NOTIFY: RFC 5465. A session hears of other mailboxes, too, and while no command is in progress.
func init() {
	register(extension{
		capabilities: []capability{{name: "NOTIFY", when: whenLoggedIn}},
		commands:     []command{{name: "NOTIFY", states: loggedIn, run: runNotify}},
	})
}

const (
	// maxNotified is how many mailboxes one session may hear of.
	maxNotified = 1000
	// notifyPause is between two looks at the mailboxes of an account: what happens meanwhile is told at once.
	notifyPause = 200 * time.Millisecond
	// notifyRetry is until the next look when storage could not be asked.
	notifyRetry = time.Second
)

// The events of RFC 5465 section 5.
const (
	eventNew            = "MESSAGENEW"
	eventExpunge        = "MESSAGEEXPUNGE"
	eventFlags          = "FLAGCHANGE"
	eventName           = "MAILBOXNAME"
	eventSubscription   = "SUBSCRIPTIONCHANGE"
	eventMetadata       = "MAILBOXMETADATACHANGE"
	eventServerMetadata = "SERVERMETADATACHANGE"
)

var (
	errBadEvent = no("BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)",
		"these are the events that can be told")
	errOverflow = no("NOTIFICATIONOVERFLOW", "these are too many mailboxes")
)

// notification is what a session wants to hear of.
type notification struct {
	selected *wire.NotifyGroup // nil: nothing of the selected mailbox, until a command ends
	others   []wire.NotifyGroup
	follow   *view.Follow
	// known are the mailboxes as the client knows them.
	known map[view.Key]held
	notes notes
	next  time.Time // of the next look, at the earliest
}

func runNotify(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.NotifyArgs()
	if err != nil {
		return reply{}, err
	}
	if args.Groups == nil {
		s.unnotify()
		return reply{}, nil
	}
	n, err := newNotification(args.Groups)
	if err != nil {
		return reply{}, err
	}
	all, err := s.folders(ctx, n.hearsOthers())
	if err != nil {
		return reply{}, err
	}
	if s.followed(n, all) > maxNotified {
		return reply{}, errOverflow
	}
	follow := s.Views.Follow(s.accountID(), n.names()) // what changes from now on is seen
	if err := s.readNotes(ctx, n, follow.Touches()); err != nil {
		follow.Close()
		return reply{}, err
	}
	s.unnotify()
	if s.box != nil { // all that has happened so far (RFC 5465 section 3.1)
		if err := s.tell(true, false); err != nil {
			follow.Close()
			return reply{}, err
		}
		s.box.met = s.box.told.LastUID() // what is new is so from now on
	}
	s.notify, n.follow = n, follow
	s.remember(all)
	for _, f := range all {
		s.tellAccess(f, true)
		if args.Status && s.hearsOf(n, f) && !s.isSelected(f.key()) {
			s.sendChanged(f.held, hasEvent(s.groupOf(n, f), eventFlags))
		}
	}
	return reply{}, nil
}

// newNotification checks what a client asks for (RFC 5465 section 5 and section 6).
func newNotification(groups []wire.NotifyGroup) (*notification, error) {
	n := &notification{}
	for i, g := range groups {
		ofSelected := g.Mailboxes.Kind == "selected" || g.Mailboxes.Kind == "selected-delayed"
		if err := checkEvents(g, ofSelected); err != nil {
			return nil, err
		}
		switch {
		case ofSelected && n.selected != nil:
			return nil, bad("the selected mailbox comes once")
		case ofSelected:
			n.selected = &groups[i]
		default:
			n.others = append(n.others, g)
		}
	}
	return n, nil
}

func checkEvents(g wire.NotifyGroup, ofSelected bool) error {
	for _, e := range g.Events {
		switch e.Name {
		case eventNew, eventExpunge, eventFlags:
		case eventName, eventSubscription, eventMetadata, eventServerMetadata:
			if ofSelected {
				return bad("the selected mailbox has message events only")
			}
		default:
			return errBadEvent
		}
		if e.Fetch != nil && !ofSelected {
			return bad("items are fetched of the selected mailbox only")
		}
	}
	switch {
	case hasEvent(&g, eventNew) != hasEvent(&g, eventExpunge):
		return bad("MessageNew and MessageExpunge go together")
	case hasEvent(&g, eventFlags) && !hasEvent(&g, eventNew):
		return bad("FlagChange needs MessageNew and MessageExpunge")
	}
	return nil
}

func hasEvent(g *wire.NotifyGroup, name string) bool {
	return g != nil && slices.ContainsFunc(g.Events, func(e wire.NotifyEvent) bool { return e.Name == name })
}

// hears tells whether some group has one of the events.
func (n *notification) hears(events ...string) bool {
	return slices.ContainsFunc(n.others, func(g wire.NotifyGroup) bool {
		return slices.ContainsFunc(events, func(e string) bool { return hasEvent(&g, e) })
	})
}

// names tells whether it is about what storage gives no notice of. Which mailboxes most groups are about may change, too (RFC 5465 sections 5.9 and 6.4).
func (n *notification) names() bool {
	return slices.ContainsFunc(n.others, func(g wire.NotifyGroup) bool { return g.Events != nil && g.Mailboxes.Kind != "inboxes" }) ||
		n.hears(eventName, eventSubscription, eventMetadata, eventServerMetadata)
}

// hearsOthers tells whether it may be about what others share.
func (n *notification) hearsOthers() bool {
	return slices.ContainsFunc(n.others, func(g wire.NotifyGroup) bool { return namesOthers(g.Mailboxes) })
}

// unnotify ends NOTIFY.
func (s *session) unnotify() {
	if s.notify != nil {
		s.notify.follow.Close()
		s.notify = nil
	}
}

// groupOf gives what is wanted of a mailbox: the events of all groups that it is in (RFC 5465 section 6), up to one that wants none.
func (s *session) groupOf(n *notification, f *folder) *wire.NotifyGroup {
	var all wire.NotifyGroup
	for _, g := range n.others {
		if !s.matchesFilter(g.Mailboxes, f) {
			continue
		}
		if g.Events == nil {
			break
		}
		all.Events = append(all.Events, g.Events...)
	}
	return &all
}

// hearsOf tells whether the client wants to hear of the messages in a mailbox, and may.
func (s *session) hearsOf(n *notification, f *folder) bool {
	return f.Mailbox != nil && f.may(rightRead) && hasEvent(s.groupOf(n, f), eventNew)
}

// followed counts the mailboxes of whose messages the client wants to hear.
func (s *session) followed(n *notification, all []*folder) (total int) {
	for _, f := range all {
		if s.hearsOf(n, f) {
			total++
		}
	}
	return total
}

// remember notes how the mailboxes are, and follows those that are wanted.
func (s *session) remember(all []*folder) {
	n := s.notify
	n.known = map[view.Key]held{}
	modseqs := map[view.Key]uint64{}
	for _, f := range all {
		if f.Mailbox == nil {
			continue
		}
		n.known[f.key()] = f.held
		if s.hearsOf(n, f) {
			modseqs[f.key()] = f.GetHighestModseq()
		}
	}
	n.follow.Set(modseqs)
}

// look tells what has changed outside the selected mailbox.
func (s *session) look(ctx context.Context) {
	n := s.notify
	now := s.Now()
	if now.Before(n.next) {
		n.follow.Later(n.next.Sub(now))
		return
	}
	n.next = now.Add(notifyPause)
	all, err := s.folders(ctx, n.hearsOthers())
	if err != nil {
		s.Log.Warn("changes are told later", "session", s.id, "error", err)
		n.follow.Later(notifyRetry)
		return
	}
	if s.followed(n, all) > maxNotified {
		s.unnotify()
		s.enc.Untagged(wire.StatusOK, "NOTIFICATIONOVERFLOW", errOverflow.Error())
		return
	}
	s.tellNames(all)
	for _, f := range all {
		if f.Mailbox == nil {
			continue
		}
		old, known := n.known[f.key()]
		if known {
			s.tellAccess(f, old.may(rightRead))
		}
		s.tellMessages(f, old.Mailbox)
	}
	s.remember(all)
	if err := s.tellNotes(ctx, all); err != nil {
		s.Log.Warn("annotations are told later", "session", s.id, "error", err)
		n.follow.Later(notifyRetry)
	}
}

// tellAccess tells that the messages of a mailbox cannot be read any more, or again (RFC 5465 sections 3.1 and 5.9).
func (s *session) tellAccess(f *folder, could bool) {
	if f.Mailbox == nil || f.may(rightRead) == could || len(s.groupOf(s.notify, f).Events) == 0 {
		return
	}
	line := selection{}.line(f, false)
	if could {
		line.attrs = append(line.attrs, `\NoAccess`)
	}
	s.sendList(line)
}

// tellMessages tells that messages have changed in a mailbox that was as old, or is new. Who hears of flags hears of each UIDVALIDITY that is new under a
// name (RFC 5465 section 5.1).
func (s *session) tellMessages(f *folder, old *storagev1.Mailbox) {
	g := s.groupOf(s.notify, f)
	now := f.Mailbox
	another := hasEvent(g, eventFlags) && (old == nil || old.GetName() != f.name && !hasEvent(g, eventName))
	same := !another && (old.GetHighestModseq() == now.GetHighestModseq() || old == nil && now.GetUidNext() == 1)
	if same || s.isSelected(f.key()) || !f.may(rightRead) {
		return
	}
	flagsOnly := old.GetUidNext() == now.GetUidNext() && old.GetMessages() == now.GetMessages()
	if hasEvent(g, eventFlags) || hasEvent(g, eventNew) && !flagsOnly {
		s.sendChanged(f.held, false)
	}
}

// sendChanged tells how a mailbox is that is not selected (RFC 5465 section 3.1, section 5.1 to 5.3).
func (s *session) sendChanged(m held, modseq bool) {
	items := []wire.Item{{Name: "MESSAGES"}, {Name: "UIDNEXT"}, {Name: "UIDVALIDITY"}, {Name: "UNSEEN"}}
	if s.condstore || modseq {
		items = append(items, wire.Item{Name: "HIGHESTMODSEQ"})
	}
	s.sendStatus(items, m)
}

// quiet tells whether changes of flags are not to be told.
func (s *session) quiet() bool {
	return s.notify != nil && !hasEvent(s.notify.selected, eventFlags)
}

// tellWith is tell, and then what the client wants to know of each new message.
func (s *session) tellWith(ctx context.Context, expunge, uid bool) error {
	if s.lanes.busy() {
		return nil
	}
	if err := s.checkAccess(ctx); err != nil {
		if fatal(err) {
			return err
		}
		s.Log.Warn("changes are told later", "session", s.id, "error", err)
		return nil
	}
	if err := s.tell(expunge, uid); err != nil {
		return err
	}
	news := s.box.newcomers()
	if err := s.tellContexts(ctx); err != nil || s.notify == nil || s.notify.selected == nil {
		return err
	}
	for _, e := range s.notify.selected.Events {
		if e.Fetch == nil || len(news) == 0 {
			continue
		}
		f := newFetcher(s, e.Fetch, false) // which sets no \Seen: nobody has read it
		if err := f.run(ctx, news); err != nil {
			if fatal(err) {
				return err
			}
			s.Log.Warn("new messages are told without what was asked for", "session", s.id, "error", err)
		}
	}
	return nil
}

// newcomers are the messages of which the client has only been told that they are there, but those that it has added itself: of them it asks for nothing
// (RFC 5465 section 5.2).
func (b *mailbox) newcomers() []span {
	met, added := b.met, b.added
	b.met, b.added = max(b.met, b.told.LastUID()), nil
	if b.met == met {
		return nil
	}
	return b.uidSpans(without([]wire.Range{{Start: met + 1, Stop: b.met}}, added))
}

// noteAdded notes what the client itself adds to the selected mailbox. The UIDs are in ascending order.
func (s *session) noteAdded(uids []uint32) {
	if s.notify != nil {
		s.box.added = append(s.box.added, uids...)
	}
}
