package api

import (
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// maxDomain bounds the domain of an actor or a grantee.
const maxDomain = 255

// about is a request about the mailboxes of an account.
type about interface {
	GetAccountId() string
	GetActor() *storagev1.Actor
}

// metaAs gives the account that a request is about, and the metadata on behalf of who asks.
func (s *Service) metaAs(r about) (store *meta.Store, account string, err error) {
	account, actor, err := asked(r)
	return s.Meta.As(actor), account, err
}

// asked gives the account that a request is about, and who asks. With an actor the request itself names no account, so that a storage that
// does not know actors refuses it.
func asked(r about) (account string, actor meta.Actor, err error) {
	a := r.GetActor()
	if a == nil {
		return r.GetAccountId(), actor, checkAccount(r.GetAccountId())
	}
	if r.GetAccountId() != "" {
		return "", actor, invalid("a request with an actor names the owner's account there only")
	}
	if err := checkAccount(a.GetOwnerAccountId()); err != nil {
		return "", actor, err
	}
	actor, err = checkActor(a)
	return a.GetOwnerAccountId(), actor, err
}

// otherAccount gives the account where messages of an account go: the same one if none is named. Nobody's own mailboxes are those of two accounts.
func otherAccount(account string, r interface {
	GetActor() *storagev1.Actor
	GetToAccountId() string
}) (string, error) {
	to := r.GetToAccountId()
	if to == "" || to == account {
		return account, nil
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
