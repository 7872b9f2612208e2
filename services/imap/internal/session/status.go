package session

import (
	"context"
	"slices"
	"strconv"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// statusItem is a STATUS data item.
type statusItem struct {
	name   string
	number func(s *session, m *storagev1.Mailbox) uint64
	// text is the value of an item that is no number; then number is nil.
	text func(m held) string
	// asked is called before a response in which the item is; nil: nothing is to do.
	asked func(s *session)
}

// STATUS: RFC 9051 section 6.3.11, STATUS=SIZE: RFC 8438; DELETED-STORAGE (in octets): RFC 9208 section 4.1.4.
func init() {
	register(extension{
		capabilities: []capability{{name: "STATUS=SIZE", when: whenLoggedIn}},
		commands:     []command{{name: "STATUS", states: loggedIn, read: readStatus}},
		statusItems: []statusItem{
			{name: "MESSAGES", number: func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetMessages()) }},
			{name: "RECENT", number: func(*session, *storagev1.Mailbox) uint64 { return 0 }},
			{name: "UIDNEXT", number: func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetUidNext()) }},
			{name: "UIDVALIDITY", number: func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetUidValidity()) }},
			{name: "UNSEEN", number: func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetUnseen()) }},
			{name: "SIZE", number: func(_ *session, m *storagev1.Mailbox) uint64 { return m.GetBytes() }},
			{name: "DELETED", number: func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetDeleted()) }},
			{name: "DELETED-STORAGE", number: func(_ *session, m *storagev1.Mailbox) uint64 { return m.GetDeletedBytes() }},
		},
	})
}

func readStatus(s *session) (job, error) {
	args, err := s.dec.StatusArgs()
	return job{
		alone: s.asks(args.Items),
		claim: claim{status: canonical(args.Mailbox), looks: true},
		run:   func(ctx context.Context, s *session) (reply, error) { return runStatus(ctx, s, args) },
	}, err
}

// asks tells whether a response with the items changes the session.
func (s *session) asks(items []wire.Item) bool {
	return !s.condstore && slices.ContainsFunc(items, func(item wire.Item) bool {
		i, ok := registered.statusItems[item.Name]
		return ok && i.asked != nil
	})
}

func runStatus(ctx context.Context, s *session, args wire.StatusArgs) (reply, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	info, err := s.mailboxNamed(ctx, args.Mailbox)
	if err != nil {
		return reply{}, err
	}
	s.statusAsked(args.Items)
	s.sendStatus(args.Items, info)
	if s.isSelected(info.key()) {
		return reply{code: codeClientBug}, nil // which knows that already, and is told of changes (RFC 9051 section 6.3.11)
	}
	return reply{}, nil
}

// statusAsked does what a client asks for by asking for the items.
func (s *session) statusAsked(items []wire.Item) {
	for _, item := range items {
		if i, ok := registered.statusItems[item.Name]; ok && i.asked != nil {
			i.asked(s)
		}
	}
}

func (s *session) sendStatus(items []wire.Item, m held) {
	s.enc.Star().Raw("STATUS ").Mailbox(m.GetName()).SP().Open()
	first := true
	for _, item := range items {
		i, ok := registered.statusItems[item.Name]
		if !ok {
			continue // the grammar has no others
		}
		if !first {
			s.enc.SP()
		}
		first = false
		s.enc.Raw(i.name).SP()
		if i.text != nil {
			s.enc.Raw(i.text(m))
			continue
		}
		s.enc.Num(i.number(s, m.Mailbox))
	}
	s.enc.Close().CRLF()
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
