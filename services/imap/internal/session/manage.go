package session

import (
	"context"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE: RFC 9051 section 6.3.4 to 6.3.8; CREATE-SPECIAL-USE: RFC 6154.
func init() {
	register(extension{
		capabilities: []capability{{name: "CREATE-SPECIAL-USE", when: whenLoggedIn}},
		commands: []command{
			{name: "CREATE", states: loggedIn, run: runCreate},
			{name: "DELETE", states: loggedIn, run: runDelete},
			{name: "RENAME", states: loggedIn, run: runRename},
			{name: "SUBSCRIBE", states: loggedIn, run: func(ctx context.Context, s *session) (reply, error) { return setSubscribed(ctx, s, true) }},
			{name: "UNSUBSCRIBE", states: loggedIn, run: func(ctx context.Context, s *session) (reply, error) { return setSubscribed(ctx, s, false) }},
		},
	})
}

var specialUses = []struct {
	use  storagev1.SpecialUse
	attr string
}{
	{storagev1.SpecialUse_SPECIAL_USE_ALL, `\All`},
	{storagev1.SpecialUse_SPECIAL_USE_ARCHIVE, `\Archive`},
	{storagev1.SpecialUse_SPECIAL_USE_DRAFTS, `\Drafts`},
	{storagev1.SpecialUse_SPECIAL_USE_FLAGGED, `\Flagged`},
	{storagev1.SpecialUse_SPECIAL_USE_JUNK, `\Junk`},
	{storagev1.SpecialUse_SPECIAL_USE_SENT, `\Sent`},
	{storagev1.SpecialUse_SPECIAL_USE_TRASH, `\Trash`},
}

func specialUseAttrs(m *storagev1.Mailbox) []string {
	for _, u := range specialUses {
		if u.use == m.GetSpecialUse() {
			return []string{u.attr}
		}
	}
	return nil
}

// specialUseOf reads the USE parameter. A mailbox has one use at most; \All and \Flagged are views of
// others in their standard meaning, which storage does not make (RFC 6154 section 3).
func specialUseOf(attrs []string) (storagev1.SpecialUse, error) {
	if len(attrs) == 0 {
		return storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED, nil
	}
	if len(attrs) > 1 {
		return 0, no("USEATTR", "a mailbox has one special use at most")
	}
	for _, u := range specialUses {
		virtual := u.use == storagev1.SpecialUse_SPECIAL_USE_ALL || u.use == storagev1.SpecialUse_SPECIAL_USE_FLAGGED
		if strings.EqualFold(u.attr, attrs[0]) && !virtual {
			return u.use, nil
		}
	}
	return 0, no("USEATTR", "special use is not supported")
}

func runCreate(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.CreateArgs()
	if err != nil {
		return reply{}, err
	}
	attrs, _ := wire.Arg[[]string](args.Params, "USE")
	use, err := specialUseOf(attrs)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	// A separator at the end announces that children will follow (RFC 9051 section 6.3.4).
	name := strings.TrimSuffix(canonical(args.Mailbox), "/")
	p, err := s.placeFor(ctx, name)
	if err != nil {
		return reply{}, err
	}
	if p.actor != nil && len(attrs) > 0 {
		return reply{}, no("USEATTR", "special uses are the owner's")
	}
	answer, err := s.Storage.CreateMailbox(ctx, &storagev1.CreateMailboxRequest{AccountId: p.asked(), Name: p.name, SpecialUse: use, Actor: p.actor})
	if p.actor != nil && fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) {
		return reply{}, errNotPermitted // as placeFor says it
	}
	if len(attrs) > 0 && fault.Is(err, rpcv1.Reason_REASON_INVALID) {
		return reply{}, no("USEATTR", fault.Text(err)) // RFC 6154 section 3
	}
	if err != nil {
		return reply{}, err
	}
	m := p.holds(answer.GetMailbox())
	s.ownNames(func(known map[view.Key]held) { known[m.key()] = m })
	s.namesChanged(p)
	if s.rev2 && m.GetName() != name {
		// RFC 9051 section 6.3.4: the client learns what became of its name.
		s.sendList(listLine{attrs: specialUseAttrs(m.Mailbox), name: m.GetName(), oldName: name})
	}
	return reply{code: mailboxIDCode(m)}, nil // RFC 8474 section 4.1
}

// placeFor finds the place of a mailbox that shall be made. Where nothing is known of an owner the answer is the same as where an owner shares nothing.
func (s *session) placeFor(ctx context.Context, name string) (place, error) {
	p, err := s.locate(ctx, name)
	switch {
	case fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND):
		return p, errNotPermitted
	case err == nil && p.actor == nil && reserved(p.name):
		return p, no("CANNOT", "the names that begin so are of what others share")
	}
	return p, err
}

// namesChanged has those look who follow the names of an account's mailboxes.
func (s *session) namesChanged(p place) {
	s.Views.TouchAccount(p.account)
	if p.actor != nil {
		s.Views.TouchAccount(s.accountID())
	}
}

func runDelete(ctx context.Context, s *session) (reply, error) {
	name, err := s.dec.MailboxArg()
	if err != nil {
		return reply{}, err
	}
	call, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.locate(call, name)
	if err != nil {
		return reply{}, err
	}
	var selected bool
	if s.box != nil && s.box.account == p.account {
		info, err := s.mailboxAt(call, p)
		if err != nil {
			return reply{}, err
		}
		selected = s.isSelected(info.key())
	}
	_, err = s.Storage.DeleteMailbox(call, &storagev1.DeleteMailboxRequest{AccountId: p.asked(), Name: p.name, Actor: p.actor})
	if fault.Is(err, rpcv1.Reason_REASON_MAILBOX_PROTECTED) && p.name != "INBOX" {
		return reply{}, no("HASCHILDREN", fault.Text(err)) // RFC 9051 section 7.1
	}
	if err != nil {
		return reply{}, err
	}
	s.ownNames(nameGone(p.shown()))
	s.namesChanged(p)
	s.sendOldName(name, `\NonExistent`) // RFC 9051 section 6.3.5
	if selected {
		s.Views.Touch(p.account, s.box.id)
		s.unselect()
		s.enc.Untagged(wire.StatusOK, "CLOSED", "the selected mailbox was deleted")
	}
	return reply{}, nil
}

func runRename(ctx context.Context, s *session) (reply, error) {
	from, to, err := s.dec.RenameArgs()
	if err != nil {
		return reply{}, err
	}
	to = strings.TrimSuffix(canonical(to), "/")
	call, cancel := s.rpc(ctx)
	defer cancel()
	oldOwner, _, _ := cutForeign(from)
	if newOwner, _, _ := cutForeign(to); newOwner != oldOwner {
		return reply{}, no("CANNOT", "a mailbox stays its owner's")
	}
	source, err := s.locate(call, from)
	if err != nil {
		return reply{}, err
	}
	target, err := s.placeFor(call, to)
	if err != nil {
		return reply{}, err
	}
	_, err = s.Storage.RenameMailbox(call, &storagev1.RenameMailboxRequest{
		AccountId: source.asked(), From: source.name, To: target.name, Actor: source.actor,
	})
	if err == nil {
		s.ownNames(nameMoved(source.shown(), target.shown()))
	}
	s.namesChanged(source)
	if err == nil && s.box != nil {
		s.refresh(ctx) // renaming INBOX moves its messages away (RFC 9051 section 6.3.6)
	}
	if err == nil && s.rev2 && (!norm.NFC.IsNormalString(from) || !norm.NFC.IsNormalString(to)) {
		s.sendList(listLine{name: norm.NFC.String(to), oldName: canonical(from)})
	}
	return reply{}, err
}

func setSubscribed(ctx context.Context, s *session, subscribed bool) (reply, error) {
	name, err := s.dec.MailboxArg()
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	// The list of subscriptions is one's own, also for the names of what others share.
	_, err = s.Storage.SetSubscribed(ctx, &storagev1.SetSubscribedRequest{AccountId: s.accountID(), Name: canonical(name), Subscribed: subscribed})
	if err == nil {
		s.ownNames(nameSubscribed(canonical(name), subscribed))
	}
	s.Views.TouchAccount(s.accountID())
	return reply{}, err
}
