package login

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/oauth"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// Tokens checks access tokens; nil if logins by them are not possible.
func (l *Login) Tokens() *oauth.Verifier { return l.o.Tokens }

// What a gateway is told.
var (
	errToken   = fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "the access token does not open this account")
	errExpired = fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_CREDENTIALS_EXPIRED, "the access token has expired")
)

// TokenError is the failure of a login by a token that another token could mend.
type TokenError struct {
	// Code is one of package oauth's.
	Code string
	// told is what a gateway is told; nil: no more than that the token does not open the account.
	told *fault.Error
}

// Error implements error.
func (e *TokenError) Error() string { return e.Unwrap().Error() + ": " + e.Code }

// Unwrap gives what a gateway is told.
func (e *TokenError) Unwrap() error { return cmp.Or(e.told, errToken) }

// Token checks an access token, and gives the account that it is for. name is who the client says it is; it may be empty. It fails with a *TokenError,
// or as Password does.
func (l *Login) Token(ctx context.Context, client Client, name, token string) (store.Account, error) {
	said, err := l.find(ctx, name, client)
	if err != nil {
		return store.Account{}, err
	}
	if name == "" {
		said.key = nameless(client.IP)
	}
	if err := l.allow(said); err != nil {
		return store.Account{}, err
	}
	address, err := l.o.Tokens.Check(ctx, token)
	if refused, ok := errors.AsType[*oauth.RefusedError](err); ok {
		told := errToken
		if refused.Expired {
			told = errExpired
		}
		return store.Account{}, l.refused(said, token, &TokenError{refused.Code, told})
	}
	if err != nil {
		return store.Account{}, fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the sign-in service cannot be asked, try again later")
	}
	s := said
	if name == "" {
		if s, err = l.find(ctx, address.String(), client); err != nil {
			return store.Account{}, err
		}
		if err := l.allow(s); err != nil {
			return store.Account{}, err
		}
	}
	if s.name != address.String() {
		return store.Account{}, l.refused(said, token, &TokenError{oauth.InvalidToken, ErrForeign})
	}
	if s.account.ID == "" { // an address that the issuer knows need not be one
		return store.Account{}, l.refused(said, token, &TokenError{Code: oauth.InvalidToken})
	}
	return l.admit(s)
}

// nameless stands for the account where there is none yet. Each host (IPv4 address, IPv6 /64) has its own: if all had one, failures elsewhere would slow
// down everybody who gives no name.
func nameless(ip netip.Addr) throttle.Account {
	bits := 32
	if ip = ip.Unmap(); ip.Is6() {
		bits = 64
	}
	host, _ := ip.Prefix(bits) // the zero value if the address is not known
	return sha256.Sum256([]byte("no name\x00" + host.String()))
}

// refused counts a token that opens nothing, once: the same again is no guess, but comes from a program that has not noticed that it is too old.
func (l *Login) refused(s *subject, token string, err *TokenError) error {
	tag := l.cache.tag(s.key[:], "token", token)
	if now := l.o.Now(); l.cache.get(tag, now) == unknown {
		l.cache.put(tag, false, now)
		l.o.Throttle.Fail(s.key, s.client.IP)
	}
	return err
}
