package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"

	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Scram is a login by SCRAM-SHA-256 whose proof is awaited.
type Scram struct {
	// Keys are of the account's own password, then of its app passwords: the client may prove to know any. Salt and iterations are the same.
	Keys []scram.StoredCredentials

	login   *Login
	subject *subject
	apps    []store.AppPassword // of Keys[1:]
}

// OffersScram tells whether logins by SCRAM are possible.
func (l *Login) OffersScram() bool { return l.o.Keys.scram }

// OffersBinding tells whether logins may be bound to their TLS connection.
func (l *Login) OffersBinding() bool { return l.o.Bind && l.OffersScram() }

// Scram finds the keys of a name. An unknown name, and an account that has none, get a key that nobody has.
func (l *Login) Scram(ctx context.Context, client Client, name string) (*Scram, error) {
	s, err := l.find(ctx, name, client)
	if err != nil {
		return nil, err
	}
	if err := l.allow(s); err != nil {
		return nil, err
	}
	apps, err := l.o.Store.AppPasswords(ctx, s.account.ID)
	if err != nil {
		return nil, err
	}
	factors := l.o.Keys.factors(s.name)
	out := &Scram{Keys: []scram.StoredCredentials{nobodys(factors)}, login: l, subject: s}
	if own, ok := stored(s.account.Scram, factors); ok {
		out.Keys[0] = own
	}
	for _, p := range apps {
		if keys, ok := stored(p.Scram, factors); ok && usable(p, client) {
			out.Keys = append(out.Keys, keys)
			out.apps = append(out.apps, p)
		}
	}
	return out, nil
}

// nobodys makes keys that no password has.
func nobodys(factors scram.KeyFactors) scram.StoredCredentials {
	keys := scram.StoredCredentials{KeyFactors: factors, StoredKey: make([]byte, sha256.Size), ServerKey: make([]byte, sha256.Size)}
	_, _ = rand.Read(keys.StoredKey) // never fails: it ends the program instead
	return keys
}

// stored reads keys that may be used in an exchange which tells the client these factors.
func stored(text string, factors scram.KeyFactors) (scram.StoredCredentials, bool) {
	keys, err := password.ParseScram(text)
	return keys, err == nil && keys.KeyFactors == factors
}

// Finish ends the login. proven is the index of the key that the client has proven to have, or -1. It fails as Password does.
func (s *Scram) Finish(ctx context.Context, proven int) (store.Account, error) {
	l := s.login
	// Many exchanges may have been begun before the first has failed.
	if err := l.allow(s.subject); err != nil {
		return store.Account{}, err
	}
	if proven < 0 {
		l.o.Throttle.Fail(s.subject.key, s.subject.client.IP)
		return store.Account{}, ErrFailed
	}
	if proven > 0 {
		l.touch(ctx, s.apps[proven-1])
	}
	return l.admit(s.subject)
}
