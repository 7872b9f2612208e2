package session

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// What follows is enough of access control for conversations. How storage really holds it is tested there, and end to end.

var errDenied = fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_NOT_PERMITTED, "that is not permitted")

// whose is the account that a request is about; none that there is if both the request and its actor say it.
func whose(r interface {
	GetAccountId() string
	GetActor() *storagev1.Actor
}) string {
	switch {
	case r.GetActor() == nil:
		return r.GetAccountId()
	case r.GetAccountId() == "" && r.GetActor().GetOwnerAccountId() != "":
		return r.GetActor().GetOwnerAccountId()
	}
	return "nobody's"
}

// rightsOf gives what an actor may do, in order.
func (b *memoryBox) rightsOf(actor *storagev1.Actor) string {
	if actor == nil || actor.GetAccountId() == b.account {
		return wire.Rights
	}
	given := b.acl[actor.GetAccountId()] + b.acl["@"+actor.GetDomain()]
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(given, r) {
			return r
		}
		return -1
	}, wire.Rights)
}

func (b *memoryBox) allows(actor *storagev1.Actor, right rune) error {
	switch rights := b.rightsOf(actor); {
	case strings.ContainsRune(rights, right):
		return nil
	case strings.ContainsRune(rights, 'l'):
		return errDenied
	}
	return errNoMailbox
}

// permitted leaves of a STORE what the actor may change. It does not know SET.
func (b *memoryBox) permitted(req *storagev1.StoreFlagsRequest) (*storagev1.StoreFlagsRequest, error) {
	rights := b.rightsOf(req.GetActor())
	if rights == wire.Rights {
		return req, nil
	}
	out := proto.CloneOf(req)
	for _, f := range flagBits {
		if !strings.ContainsRune(rights, rune(flagRight(f.name))) {
			out.Flags &^= uint32(f.bit)
		}
	}
	if !strings.ContainsRune(rights, 'w') {
		out.Keywords = nil
	}
	if out.GetFlags() == 0 && len(out.GetKeywords()) == 0 {
		return nil, errDenied
	}
	return out, nil
}

// sharedWith gives what others let an actor know of.
func (s *memory) sharedWith(actor *storagev1.Actor) (out []*storagev1.SharedMailboxes) {
	if actor == nil {
		return nil
	}
	byAccount := map[string][]*storagev1.Mailbox{}
	for _, b := range s.boxes {
		if rights := b.rightsOf(actor); b.account != actor.GetAccountId() && strings.Contains(rights, "l") {
			m := s.describe(b)
			m.Rights, m.Subscribed = rights, false
			byAccount[b.account] = append(byAccount[b.account], m)
		}
	}
	for _, account := range slices.Sorted(maps.Keys(byAccount)) {
		slices.SortFunc(byAccount[account], func(a, b *storagev1.Mailbox) int { return strings.Compare(a.GetName(), b.GetName()) })
		out = append(out, &storagev1.SharedMailboxes{AccountId: account, Mailboxes: byAccount[account]})
	}
	return out
}

func (s *memory) GetAcl(_ context.Context, req *storagev1.GetAclRequest) (*storagev1.GetAclResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.at(whose(req), req.GetMailbox())
	if err == nil {
		err = b.allows(req.GetActor(), 'a')
	}
	if err != nil {
		return nil, err
	}
	out := &storagev1.GetAclResponse{}
	for _, grantee := range slices.Sorted(maps.Keys(b.acl)) {
		out.Entries = append(out.Entries, &storagev1.AclEntry{Grantee: grantee, Rights: b.acl[grantee]})
	}
	return out, nil
}

func (s *memory) SetAcl(_ context.Context, req *storagev1.SetAclRequest) (*storagev1.SetAclResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.at(whose(req), req.GetMailbox())
	if err == nil {
		err = b.allows(req.GetActor(), 'a')
	}
	if err != nil {
		return nil, err
	}
	given, old := req.GetEntry().GetRights(), b.acl[req.GetEntry().GetGrantee()]
	next := strings.Map(func(r rune) rune {
		had, has := strings.ContainsRune(old, r), strings.ContainsRune(given, r)
		switch req.GetOperation() {
		case storagev1.SetAclRequest_OPERATION_ADD:
			has = has || had
		case storagev1.SetAclRequest_OPERATION_REMOVE:
			has = had && !has
		}
		if has {
			return r
		}
		return -1
	}, wire.Rights)
	b.acl[req.GetEntry().GetGrantee()] = next
	if next == "" {
		delete(b.acl, req.GetEntry().GetGrantee())
	}
	b.info.AccessModseq = b.change()
	s.notify(b, false)
	return &storagev1.SetAclResponse{}, nil
}
