package session

import (
	"context"
	"strconv"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// statusItem is a STATUS data item.
type statusItem struct {
	name  string
	value func(s *session, m *storagev1.Mailbox) uint64
}

// STATUS: RFC 9051 section 6.3.11, STATUS=SIZE: RFC 8438; DELETED-STORAGE (in octets): RFC 9208 section 4.1.4.
func init() {
	register(extension{
		capabilities: []capability{{name: "STATUS=SIZE", when: whenLoggedIn}},
		commands:     []command{{name: "STATUS", states: loggedIn, run: runStatus}},
		statusItems: []statusItem{
			{"MESSAGES", func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetMessages()) }},
			{"RECENT", func(*session, *storagev1.Mailbox) uint64 { return 0 }},
			{"UIDNEXT", func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetUidNext()) }},
			{"UIDVALIDITY", func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetUidValidity()) }},
			{"UNSEEN", func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetUnseen()) }},
			{"SIZE", func(_ *session, m *storagev1.Mailbox) uint64 { return m.GetBytes() }},
			{"DELETED", func(_ *session, m *storagev1.Mailbox) uint64 { return uint64(m.GetDeleted()) }},
			{"DELETED-STORAGE", func(_ *session, m *storagev1.Mailbox) uint64 { return m.GetDeletedBytes() }},
		},
	})
}

func runStatus(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.StatusArgs()
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	info, err := s.mailboxNamed(ctx, args.Mailbox)
	if err != nil {
		return reply{}, err
	}
	s.sendStatus(args.Items, info)
	return reply{}, nil
}

func (s *session) sendStatus(items []wire.Item, m *storagev1.Mailbox) {
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
		s.enc.Raw(i.name).SP().Num(i.value(s, m))
	}
	s.enc.Close().CRLF()
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
