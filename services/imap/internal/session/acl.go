package session

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/xdg-go/stringprep"

	"github.com/yubin-mail/yubin/pkg/address"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// ACL: RFC 4314; LIST-MYRIGHTS: RFC 8440. An identifier is the address of an account of the owner's domain, or "anyone", which is all of them.
func init() {
	register(extension{
		capabilities: []capability{
			{name: "ACL", when: whenLoggedIn},
			{name: "RIGHTS", when: whenLoggedIn, value: func(*session) string { return "texk" }},
			{name: "LIST-MYRIGHTS", when: whenLoggedIn},
		},
		commands: []command{
			{name: "SETACL", states: loggedIn, run: runSetACL},
			{name: "DELETEACL", states: loggedIn, run: runDeleteACL},
			{name: "GETACL", states: loggedIn, read: readGetACL},
			{name: "LISTRIGHTS", states: loggedIn, read: readListRights},
			{name: "MYRIGHTS", states: loggedIn, read: readMyRights},
		},
		grammar: func(g *wire.Grammar) { g.Register(wire.ListReturns, "MYRIGHTS", nil) },
	})
}

// anyone is the identifier of everybody (RFC 4314 section 2).
const anyone = "anyone"

var (
	errNegative   = no("CANNOT", "negative rights are not possible")
	errNoGrantee  = no("CANNOT", "mailboxes are shared with accounts of the owner's domain only, and there is none of that address")
	errOwnerHas   = no("CANNOT", "the owner has all rights, always")
	errIdentifier = bad("that is no identifier")
)

var rightsOps = map[byte]storagev1.SetAclRequest_Operation{
	'=': storagev1.SetAclRequest_OPERATION_SET,
	'+': storagev1.SetAclRequest_OPERATION_ADD,
	'-': storagev1.SetAclRequest_OPERATION_REMOVE,
}

func runSetACL(ctx context.Context, s *session) (reply, error) {
	mailbox, identifier, change, err := s.dec.SetACLArgs()
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.setACL(ctx, mailbox, identifier, change)
}

func runDeleteACL(ctx context.Context, s *session) (reply, error) {
	mailbox, identifier, err := s.dec.ACLArgs()
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.setACL(ctx, mailbox, identifier, wire.RightsChange{Op: '='})
}

func (s *session) setACL(ctx context.Context, mailbox, identifier string, change wire.RightsChange) error {
	p, err := s.administered(ctx, mailbox)
	if err != nil {
		return err
	}
	grantee, err := s.grantee(ctx, p.holder, identifier)
	switch {
	case err != nil:
		return err
	case grantee == p.account:
		return errOwnerHas
	case change.Rights == "" && change.Op != '=':
		return nil // nothing more, and nothing less
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	_, err = s.Storage.SetAcl(ctx, &storagev1.SetAclRequest{
		AccountId: p.asked(), Actor: p.actor, Mailbox: p.name, Operation: rightsOps[change.Op],
		Entry: &storagev1.AclEntry{Grantee: grantee, Rights: change.Rights},
	})
	if err != nil {
		return err
	}
	s.Log.Info("rights given or taken", "session", s.id, "by", s.accountID(), "account_id", p.account, "to", grantee, "op", string(change.Op), "rights", change.Rights)
	s.Views.TouchAccount(grantee) // who sees other names now
	return nil
}

// administered finds a mailbox whose list the session may see and change. That comes first: only who may do so hears what is wrong with an identifier.
func (s *session) administered(ctx context.Context, name string) (place, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.locate(ctx, name)
	if err != nil {
		return p, err
	}
	m, err := s.mailboxAt(ctx, p)
	if err == nil {
		err = m.need(rightAdminister)
	}
	return p, err
}

// grantee gives what an identifier stands for in the lists of an owner's mailboxes.
func (s *session) grantee(ctx context.Context, of holder, identifier string) (string, error) {
	identifier, err := stringprep.SASLprep.Prepare(identifier) // RFC 4314 section 3
	domain := domainOf(of.address)
	switch {
	case err != nil || identifier == "":
		return "", errIdentifier
	case strings.EqualFold(identifier, anyone):
		return "@" + domain, nil
	case identifier[0] == '-':
		return "", errNegative
	case !strings.Contains(identifier, "@"):
		identifier += "@" + domain
	}
	a, err := address.Parse(identifier)
	if err != nil || a.Domain != domain {
		return "", errNoGrantee
	}
	// Not from memory: the address may have become somebody else's.
	p, err := s.lookUp(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: a.String()}})
	if err == nil && p.id == "" {
		err = errNoGrantee
	}
	return p.id, err
}

func readGetACL(s *session) (job, error) {
	mailbox, err := s.dec.MailboxArg()
	return aboutRights(func(ctx context.Context, s *session) (reply, error) { return runGetACL(ctx, s, mailbox) }), err
}

// aboutRights is a question that may be asked beside others.
func aboutRights(run func(ctx context.Context, s *session) (reply, error)) job {
	return job{claim: claim{answers: answersRights}, run: run}
}

func runGetACL(ctx context.Context, s *session, mailbox string) (reply, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.locate(ctx, mailbox)
	if err != nil {
		return reply{}, err
	}
	answer, err := s.Storage.GetAcl(ctx, &storagev1.GetAclRequest{AccountId: p.asked(), Actor: p.actor, Mailbox: p.name})
	if err != nil {
		return reply{}, err
	}
	list, err := s.identified(ctx, p.holder, answer.GetEntries())
	if err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw("ACL ").Mailbox(p.shown())
	for _, e := range list {
		s.enc.SP().AString(e.identifier).SP().Raw(wire.WithObsoleteRights(e.rights))
	}
	s.enc.CRLF()
	return reply{}, nil
}

// identified is an entry of a list as clients see it.
type identified struct{ identifier, rights string }

// identified gives a list in order of identifiers, but the owner first. Accounts that the directory does not know any more are left out.
func (s *session) identified(ctx context.Context, of holder, entries []*storagev1.AclEntry) ([]identified, error) {
	out := []identified{{of.address, wire.Rights}}
	for _, e := range entries {
		id := e.GetGrantee()
		if id == "@"+domainOf(of.address) {
			id = anyone
		} else if id != "" && id[0] != '@' {
			p, err := s.sharerWith(ctx, id)
			if err != nil {
				return nil, err
			}
			id = p.address
		}
		if id != "" {
			out = append(out, identified{id, e.GetRights()})
		}
	}
	slices.SortFunc(out[1:], func(a, b identified) int { return cmp.Compare(a.identifier, b.identifier) })
	return out, nil
}

func readListRights(s *session) (job, error) {
	mailbox, identifier, err := s.dec.ACLArgs()
	return aboutRights(func(ctx context.Context, s *session) (reply, error) {
		return runListRights(ctx, s, mailbox, identifier)
	}), err
}

func runListRights(ctx context.Context, s *session, mailbox, identifier string) (reply, error) {
	p, err := s.administered(ctx, mailbox)
	if err != nil {
		return reply{}, err
	}
	grantee, err := s.grantee(ctx, p.holder, identifier)
	if err != nil {
		return reply{}, err
	}
	// RFC 4314 section 3.4: the identifier is as the client wrote it.
	s.enc.Star().Raw("LISTRIGHTS ").Mailbox(p.shown()).SP().AString(identifier)
	all := wire.WithObsoleteRights(wire.Rights)
	if grantee == p.account {
		s.enc.SP().Raw(all).CRLF()
		return reply{}, nil
	}
	s.enc.Raw(` ""`)
	for i := range len(all) { // none is tied to another
		s.enc.SP().Raw(all[i : i+1])
	}
	s.enc.CRLF()
	return reply{}, nil
}

func readMyRights(s *session) (job, error) {
	mailbox, err := s.dec.MailboxArg()
	return aboutRights(func(ctx context.Context, s *session) (reply, error) { return runMyRights(ctx, s, mailbox) }), err
}

func runMyRights(ctx context.Context, s *session, mailbox string) (reply, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.locate(ctx, mailbox)
	if err != nil {
		return reply{}, err
	}
	m, err := s.mailboxAt(ctx, p)
	if err != nil {
		return reply{}, err
	}
	if m.actor != nil && !strings.ContainsAny(m.GetRights(), "lrikxa") { // RFC 4314 section 4
		return reply{}, errUnknownOwner
	}
	s.sendRights(m)
	return reply{}, nil
}

// sendRights tells what the session may do with a mailbox.
func (s *session) sendRights(m held) {
	rights := m.GetRights()
	if m.actor == nil {
		rights = wire.Rights
	}
	s.enc.Star().Raw("MYRIGHTS ").Mailbox(m.GetName()).SP().AString(wire.WithObsoleteRights(rights)).CRLF()
}
