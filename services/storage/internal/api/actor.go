package api

import (
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// maxDomain bounds the domain of an actor or a grantee.
const maxDomain = 255

// metaAs gives the metadata on behalf of who asks for an account's mailboxes, once both have been checked.
func (s *Service) metaAs(r interface {
	GetAccountId() string
	GetActor() *storagev1.Actor
}) (*meta.Store, error) {
	actor, err := actorOf(r)
	return s.Meta.As(actor), err
}

// actorOf checks the account of a request, and the actor if there is one.
func actorOf(r interface {
	GetAccountId() string
	GetActor() *storagev1.Actor
}) (meta.Actor, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return meta.Actor{}, err
	}
	if r.GetActor() == nil {
		return meta.Actor{}, nil
	}
	return checkActor(r.GetActor())
}

// otherAccount gives the account where messages go: the same one if none is named. Nobody's own mailboxes are those of two accounts.
func otherAccount(r interface {
	GetAccountId() string
	GetActor() *storagev1.Actor
	GetToAccountId() string
}) (string, error) {
	to := r.GetToAccountId()
	if to == "" || to == r.GetAccountId() {
		return r.GetAccountId(), nil
	}
	if r.GetActor() == nil {
		return "", invalid("who moves messages between accounts is not named")
	}
	return to, checkAccount(to)
}

// checkActor never gives the zero Actor, who may do everything.
func checkActor(a *storagev1.Actor) (meta.Actor, error) {
	actor := meta.Actor{AccountID: a.GetAccountId(), Domain: a.GetDomain()}
	if err := checkAccount(actor.AccountID); err != nil {
		return actor, err
	}
	if strings.HasPrefix(actor.AccountID, "@") || len(actor.Domain) > maxDomain {
		return actor, invalid("that is no account, or no domain, on whose behalf one can ask")
	}
	return actor, nil
}
