package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// othersLevel is the first level of what others share (RFC 2342 section 4): "Other Users/<address of the owner>/<mailbox>".
const othersLevel = "Other Users"

// holder is the account whose mailboxes are asked about.
type holder struct {
	account string
	// actor is on whose behalf storage is asked; nil: the account asks for itself.
	actor *storagev1.Actor
	// prefix is what a client knows before the names of the account's mailboxes; "" before one's own.
	prefix string
	// address of the account.
	address string
}

func (h holder) key(mailboxID uint64) view.Key {
	return view.Key{Account: h.account, Mailbox: mailboxID}
}

// asked is what requests say of the account beside the actor: nothing if there is one, who says it himself. Storage refuses a request with both, and
// one that knows no actors refuses it without.
func (h holder) asked() string {
	if h.actor != nil {
		return ""
	}
	return h.account
}

// holds makes of an answer of storage what a client sees of a mailbox. A special use is the owner's only: a client must not take somebody
// else's drafts for its own.
func (h holder) holds(m *storagev1.Mailbox) held {
	if h.actor != nil {
		m.Name = h.prefix + m.GetName()
		m.SpecialUse = storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED
	}
	return held{m, h}
}

// place is a mailbox by its name, whether it exists or not.
type place struct {
	holder
	// name as its owner knows it.
	name string
	// blind: messages may go there, but not be seen there, so that their UIDs are not told (RFC 9051 sections 6.3.12 and 6.4.7). Known of the targets of
	// messages only.
	blind bool
}

// shown is the name as a client knows it.
func (p place) shown() string { return p.prefix + p.name }

// held is a mailbox, under the name that the client knows, and whose it is.
type held struct {
	*storagev1.Mailbox
	holder
}

func (m held) key() view.Key { return m.holder.key(m.GetMailboxId()) }

// own is who asks about his own mailboxes.
func (s *session) own() holder {
	return holder{account: s.accountID(), address: s.account.GetAddress()}
}

// actor is the session's account, where it asks about mailboxes of an owner.
func (s *session) actor(owner string) *storagev1.Actor {
	return &storagev1.Actor{AccountId: s.accountID(), Domain: domainOf(s.account.GetAddress()), OwnerAccountId: owner}
}

// reaching is how one account is asked about what concerns another, too: one's own is asked about with an actor if the other is not.
func (s *session) reaching(one, other holder) holder {
	if one.actor == nil && other.actor != nil {
		one.actor = s.actor(one.account)
	}
	return one
}

func domainOf(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[i+1:]
	}
	return ""
}

// errUnknownOwner is what storage says of a mailbox that is not there, so that nobody can tell whether an account exists.
var errUnknownOwner = fault.New(codes.NotFound, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "mailbox does not exist")

// locate finds out whose mailbox a client's name is of. An owner that there is not is REASON_MAILBOX_NOT_FOUND.
func (s *session) locate(ctx context.Context, name string) (place, error) {
	owner, mailbox, foreign := cutForeign(name)
	if !foreign {
		return place{holder: s.own(), name: canonical(name)}, nil
	}
	if owner == "" {
		return place{}, errUnknownOwner
	}
	p, err := s.sharerAt(ctx, owner)
	if err != nil {
		return place{}, err
	}
	if p.id == "" || p.id == s.accountID() { // one's own have one name only
		return place{}, errUnknownOwner
	}
	return place{holder: s.other(p), name: canonicalInbox(mailbox)}, nil
}

// other is the holder of what an account shares.
func (s *session) other(p sharer) holder {
	return holder{account: p.id, actor: s.actor(p.id), prefix: foreignPrefix(p.address), address: p.address}
}

// cutForeign takes the name of a mailbox of others apart; owner is an address in its normal form, "" if what stands there is none. All other names
// are one's own, so that a mailbox that was called as othersLevel is before there were others stays in reach, unless what is below it looks like
// theirs; it can be renamed.
func cutForeign(name string) (owner, mailbox string, ok bool) {
	rest, ok := strings.CutPrefix(name, othersLevel+string(delimiter))
	if !ok {
		return "", "", false
	}
	level, mailbox, ok := strings.Cut(rest, string(delimiter))
	if !ok || mailbox == "" || !strings.Contains(level, "@") {
		return "", "", false
	}
	text, ok := unescapeLevel(level)
	if !ok {
		return "", mailbox, true
	}
	a, err := address.Parse(text)
	if err != nil {
		return "", mailbox, true
	}
	return a.String(), mailbox, true
}

// reserved tells whether a name is in the place of what others share, where nobody can make mailboxes of his own.
func reserved(name string) bool {
	return name == othersLevel || strings.HasPrefix(name, othersLevel+string(delimiter))
}

func foreignPrefix(owner string) string {
	return othersLevel + string(delimiter) + escapeLevel(owner) + string(delimiter)
}

// levelEscapes are the characters of an address that a level cannot have, or LIST could not ask for, and the one that marks them.
const levelEscapes = "/%*="

func escapeLevel(s string) string {
	if !strings.ContainsAny(s, levelEscapes) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(levelEscapes, s[i]) >= 0 {
			fmt.Fprintf(&b, "=%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// unescapeLevel undoes escapeLevel, and takes nothing else.
func unescapeLevel(s string) (string, bool) {
	out := s
	for i := range len(levelEscapes) {
		c := levelEscapes[i : i+1] // "=" is the last
		out = strings.ReplaceAll(out, escapeLevel(c), c)
	}
	return out, escapeLevel(out) == s
}

// sharer is an account of the directory; the zero value is none.
type sharer struct{ id, address string }

// remembered is what the directory said.
type remembered struct {
	sharer
	until time.Time
}

const (
	// maxOwners is how many accounts are remembered, each twice.
	maxOwners = 10_000
	// sharerTime is for how long, and strangerTime how long that there is no such account, or that the directory could not say.
	sharerTime, strangerTime = 5 * time.Minute, 30 * time.Second
)

// owners are those of what is shared, by address and by id.
type owners = lru.Cache[string, remembered]

func newOwners() *owners {
	cache, err := lru.New[string, remembered](2 * maxOwners)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return cache
}

// sharerAt finds an account by its address, which is in its normal form.
func (s *session) sharerAt(ctx context.Context, address string) (sharer, error) {
	return s.recall(address, func() (sharer, error) {
		return s.lookUp(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: address}})
	})
}

// sharerWith finds an account by its id.
func (s *session) sharerWith(ctx context.Context, id string) (sharer, error) {
	return s.recall(byID(id), func() (sharer, error) {
		return s.lookUp(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_AccountId{AccountId: id}})
	})
}

func byID(id string) string { return "id " + id } // no address has a blank

// recall gives what is known, or asks. If there is no answer what was known serves on.
func (s *session) recall(key string, ask func() (sharer, error)) (sharer, error) {
	known, ok := s.owners.Get(key)
	if ok && s.Now().Before(known.until) {
		return known.sharer, nil
	}
	p, err := ask()
	if err != nil && known.id == "" {
		return p, err
	}
	keep := sharerTime
	switch {
	case err != nil: // whatever the account's address is by now: its id decides what it shares
		p, keep = known.sharer, strangerTime
	case p.id == "":
		keep = strangerTime
	default:
		s.owners.Add(p.address, remembered{p, s.Now().Add(keep)})
		s.owners.Add(byID(p.id), remembered{p, s.Now().Add(keep)})
	}
	s.owners.Add(key, remembered{p, s.Now().Add(keep)})
	return p, nil
}

// lookUp asks the directory; no account is no error.
func (s *session) lookUp(ctx context.Context, request *directoryv1.GetAccountRequest) (sharer, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	answer, err := s.Directory.GetAccount(ctx, request)
	if noAccount(err) {
		return sharer{}, nil
	}
	return sharer{answer.GetAccount().GetAccountId(), answer.GetAccount().GetAddress()}, err
}

func noAccount(err error) bool {
	return fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) || fault.Code(err) == codes.InvalidArgument
}
