package session

import (
	"context"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// SELECT and EXAMINE: RFC 9051 section 6.3.2 and 6.3.3.
func init() {
	register(extension{commands: []command{
		{name: "SELECT", states: loggedIn, run: func(ctx context.Context, s *session) (reply, error) { return runSelect(ctx, s, false) }},
		{name: "EXAMINE", states: loggedIn, run: func(ctx context.Context, s *session) (reply, error) { return runSelect(ctx, s, true) }},
	}})
}

func runSelect(ctx context.Context, s *session, readOnly bool) (reply, error) {
	args, err := s.dec.SelectArgs()
	if err != nil {
		return reply{}, err
	}
	resync, resyncs := wire.Arg[resyncParam](args.Params, "QRESYNC")
	if resyncs && !s.qresync {
		return reply{}, bad("ENABLE QRESYNC comes first") // RFC 7162 section 3.2.5
	}
	if resync.numbered && s.uidOnly {
		return reply{}, errUIDRequired
	}
	if s.box != nil {
		s.unselect()
		s.enc.Untagged(wire.StatusOK, "CLOSED", "previous mailbox is closed")
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	info, err := s.mailboxNamed(ctx, args.Mailbox)
	if err != nil {
		return reply{}, err
	}
	handle, err := s.Views.Open(ctx, info.account, info.GetMailboxId())
	if err != nil {
		return reply{}, err
	}
	box := &mailbox{
		holder: info.holder, id: info.GetMailboxId(), rights: info.GetRights(), access: info.GetAccessModseq(),
		readOnly: readOnly, view: handle, told: handle.Snapshot(),
	}
	box.settled, box.met = box.told.ModSeq, box.told.LastUID()
	resyncs = resyncs && resync.uidValidity == box.told.UIDValidity
	var vanished []wire.Range
	if resyncs {
		if vanished, err = s.vanishedSince(ctx, box, resync.modseq, resync.known(box.told)); err != nil {
			handle.Close()
			return reply{}, err
		}
	}
	s.box = box
	s.to(selectedState)
	s.condstore = s.condstore || wire.Has(args.Params, "CONDSTORE")
	s.describe(info, canonical(args.Mailbox))
	if resyncs {
		s.resync(resync, vanished)
	}
	if readOnly || !box.writable() {
		return reply{code: "READ-ONLY"}, nil
	}
	return reply{code: "READ-WRITE"}, nil
}

// describe sends what a client learns on SELECT of a mailbox by a name.
func (s *session) describe(info held, name string) {
	told := s.box.told
	s.enc.Star().Num(uint64(told.Len())).Raw(" EXISTS").CRLF()
	if !s.rev2 {
		s.enc.Star().Raw("0 RECENT").CRLF() // RFC 3501 section 7.3.2; \Recent is not kept
	}
	var firstUnseen uint32
	s.box.flags, firstUnseen = survey(told)
	s.sendFlagList()
	if firstUnseen > 0 && !s.rev2 && !s.uidOnly {
		s.enc.Untagged(wire.StatusOK, "UNSEEN "+itoa(uint64(firstUnseen)), "first unseen message")
	}
	s.enc.Untagged(wire.StatusOK, "UIDVALIDITY "+itoa(uint64(told.UIDValidity)), "UIDs are valid")
	s.enc.Untagged(wire.StatusOK, "UIDNEXT "+itoa(uint64(told.UIDNext)), "next UID")
	s.sendHighestModSeq()                                               // RFC 7162 section 3.1.2.1
	s.enc.Untagged(wire.StatusOK, mailboxIDCode(info), "mailbox's own") // RFC 8474 section 4.2
	if s.rev2 {
		line := listLine{attrs: specialUseAttrs(info.Mailbox), name: info.GetName()}
		if name != line.name {
			line.oldName = name // RFC 9051 section 6.3.2: the name was not normalised
		}
		s.sendList(line)
	}
}

// sendFlagList tells which flags there are, and which can be changed.
func (s *session) sendFlagList() {
	s.enc.Star().Raw("FLAGS ").Flags(s.box.flags).CRLF()
	s.enc.Untagged(wire.StatusOK, "PERMANENTFLAGS "+s.box.permanentFlags(), "flags that are kept")
}

// announce tells of keywords that came into use since the mailbox was selected (RFC 9051 section 7.3.5).
func (s *session) announce(keywords []string) {
	known := len(s.box.flags)
	for _, k := range keywords {
		if !slices.Contains(s.box.flags, k) {
			s.box.flags = append(s.box.flags, k)
		}
	}
	if len(s.box.flags) > known {
		s.sendFlagList()
	}
}

// announceNew tells of keywords that came into use with new messages: those from an index on.
func (s *session) announceNew(told *view.Snapshot, from int) {
	var keywords []string
	last := ""
	for _, m := range told.Range(from, told.Len()) {
		if set := m.KeywordSet(); set != last {
			last = set
			keywords = append(keywords, m.Keywords()...)
		}
	}
	s.announce(keywords)
}

// survey finds all flags in use and the sequence number of the first message without \Seen, 0 if there is none.
func survey(snapshot *view.Snapshot) (flags []string, firstUnseen uint32) {
	for _, f := range flagBits {
		flags = append(flags, f.name)
	}
	known := map[string]bool{}
	last := ""
	for i, m := range snapshot.All() {
		if firstUnseen == 0 && !m.Has(storagev1.Flag_FLAG_SEEN) {
			firstUnseen = uint32(i + 1)
		}
		if set := m.KeywordSet(); set != last {
			last = set
			for _, k := range m.Keywords() {
				known[k] = true
			}
		}
	}
	keywords := make([]string, 0, len(known))
	for k := range known {
		keywords = append(keywords, k)
	}
	slices.Sort(keywords)
	return append(flags, keywords...), firstUnseen
}

// mailboxNamed asks storage for a mailbox that the session may read.
func (s *session) mailboxNamed(ctx context.Context, name string) (held, error) {
	p, err := s.locate(ctx, name)
	if err != nil {
		return held{}, err
	}
	m, err := s.mailboxAt(ctx, p)
	if err == nil {
		err = m.need(rightRead)
	}
	return m, err
}

// mailboxAt asks storage for a mailbox.
func (s *session) mailboxAt(ctx context.Context, p place) (held, error) {
	answer, err := s.Storage.GetMailbox(ctx, &storagev1.GetMailboxRequest{
		AccountId: p.asked(), Key: &storagev1.GetMailboxRequest_Name{Name: p.name}, Actor: p.actor,
	})
	if p.actor != nil && fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
		err = errUnknownOwner // it was removed, which the directory's answer is too old to know
	}
	if err != nil {
		return held{}, err
	}
	return p.holds(answer.GetMailbox()), nil
}

// canonical gives a mailbox name as it is known here: INBOX in upper case in whatever case it came (RFC 9051 section 5.1), the owner of a mailbox of others
// as the directory writes addresses.
func canonical(name string) string {
	if owner, mailbox, foreign := cutForeign(name); foreign && owner != "" {
		return foreignPrefix(owner) + canonicalInbox(mailbox)
	}
	return canonicalInbox(name)
}

func canonicalInbox(name string) string {
	const inbox = "INBOX"
	if len(name) >= len(inbox) && strings.EqualFold(name[:len(inbox)], inbox) &&
		(len(name) == len(inbox) || name[len(inbox)] == '/') {
		return inbox + name[len(inbox):]
	}
	return name
}
