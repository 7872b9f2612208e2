// Package login decides whether somebody is who they say. It holds together the stored credentials, the cache of what was
// checked lately, and the throttle.
//
// Whether a name is an account must not show before the password is right: an unknown name takes the same steps, of the same cost, as a
// known one with a wrong password. (The exception is an account whose hash has older costs, until its owner logs in.)
package login

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/oauth"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// touchEvery is how exact an app password's time of last use is: a program that logs in each minute must not cost a write each minute.
const touchEvery = time.Hour

// ErrForeign says that the credentials are right, and that nobody may act as somebody else (RFC 4422 section 3.4.1).
var ErrForeign = fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHORIZATION_FAILED, "these credentials are for another account")

// ErrFailed says that name and password do not belong together, and nothing more.
var ErrFailed = fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "wrong user name or password")

// Client is who asks.
type Client struct {
	IP       netip.Addr // the zero Addr if not known
	Protocol string     // smtp, pop3, imap
	// Tried is set to the address that was tried, if it is one: what was typed into the wrong field may be a password. It may be nil.
	Tried *string
}

// Options of New.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time
	Store      *store.Store
	Hasher     *password.Hasher
	Throttle   *throttle.Throttle
	Keys       Keys
	Tokens     *oauth.Verifier // nil: no logins by access tokens
	// Bind offers SCRAM logins that are bound to their TLS connection.
	Bind bool
	// CacheTTL is how long a checked password is remembered; CacheEntries bounds how many are.
	CacheTTL     time.Duration
	CacheEntries int
}

// Login checks credentials. It is safe for concurrent use.
type Login struct {
	o      Options
	cache  *cache
	cached *prometheus.CounterVec
}

// New makes a Login.
func New(o Options) *Login {
	return &Login{
		o:     o,
		cache: newCache(o.CacheEntries, o.CacheTTL),
		cached: telemetry.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: "directory", Name: "password_cache_total", Help: "Passwords looked up among those checked lately, by outcome.",
		}, []string{"outcome"})),
	}
}

// subject is who somebody says they are.
type subject struct {
	name    string // normalised, if it is an address
	key     throttle.Account
	client  Client
	account store.Account // the zero Account for an unknown name
}

// find looks a login name up. Only accounts' own addresses are login names.
func (l *Login) find(ctx context.Context, name string, client Client) (*subject, error) {
	addr, err := address.Parse(name)
	if err == nil {
		name = addr.String()
		if client.Tried != nil {
			*client.Tried = name
		}
	}
	s := &subject{name: name, key: sha256.Sum256([]byte(name)), client: client}
	s.account, err = l.o.Store.Account(ctx, addr)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return s, nil
}

// Password checks a name and a password, and gives the account. It fails with the reasons AUTHENTICATION_FAILED, THROTTLED,
// ACCOUNT_DISABLED (only if the password is right) and UNAVAILABLE.
func (l *Login) Password(ctx context.Context, client Client, name, typed string) (store.Account, error) {
	s, err := l.find(ctx, name, client)
	if err != nil {
		return store.Account{}, err
	}
	if err := l.allow(s); err != nil {
		return store.Account{}, err
	}
	if ok, err := l.appPassword(ctx, s, typed); err != nil {
		return store.Account{}, err
	} else if ok {
		return l.admit(s)
	}
	// The id is new where an account is made again, the version where its password changes.
	tag := l.cache.tag(s.key[:], s.account.ID, strconv.FormatInt(s.account.Version, 10), typed)
	verdict := l.cache.get(tag, l.o.Now())
	if verdict == unknown {
		if verdict, err = l.verify(ctx, s, tag, typed); err != nil {
			return store.Account{}, err
		}
	}
	l.cached.WithLabelValues(verdict.label()).Inc()
	if verdict == right || verdict == cachedRight {
		return l.admit(s)
	}
	return store.Account{}, ErrFailed
}

// verify computes what the cache does not know, and counts a failure. So a wrong password is counted once: the same again is no guess, it comes
// from a program whose owner has changed the password.
func (l *Login) verify(ctx context.Context, s *subject, tag [sha256.Size]byte, typed string) (verdict, error) {
	slot, err := l.acquire(ctx)
	if err != nil {
		return unknown, err
	}
	defer slot.Release()
	// While this login waited others may have been decided: those of the same client's other connections, or of a guesser that
	// opens many at once.
	if err := l.allow(s); err != nil {
		return unknown, err
	}
	if v := l.cache.get(tag, l.o.Now()); v != unknown {
		return v, nil
	}
	ok, outdated, err := slot.Verify(s.account.Password, typed)
	if err != nil {
		return unknown, fmt.Errorf("verify password: %w", err)
	}
	l.cache.put(tag, ok, l.o.Now())
	if !ok {
		l.o.Throttle.Fail(s.key, s.client.IP) // before the slot is given to the next
		return wrong, nil
	}
	if outdated {
		renewed := l.o.Keys.credentials(slot, s.account.Address, typed)
		renewed.Version = s.account.Version
		if err := l.o.Store.RenewPassword(ctx, s.account.Address, renewed); err != nil {
			l.o.Log.WarnContext(ctx, "password stays at its old costs", "error", err)
		}
	}
	return right, nil
}

func (l *Login) acquire(ctx context.Context) (*password.Slot, error) {
	slot, err := l.o.Hasher.Acquire(ctx)
	if errors.Is(err, password.ErrBusy) {
		return nil, fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "too many logins at the moment, try again later")
	}
	return slot, err
}

// appPassword tells whether an app password was typed that the client's protocol may use. Unknown names are looked up too.
func (l *Login) appPassword(ctx context.Context, s *subject, typed string) (bool, error) {
	id, canonical, ok := password.ParseApp(typed)
	if !ok {
		return false, nil
	}
	p, err := l.o.Store.AppPassword(ctx, s.account.ID, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !usable(p, s.client) || !password.VerifyApp(p.Digest, s.account.ID, canonical) {
		return false, nil
	}
	l.touch(ctx, p)
	return true, nil
}

func usable(p store.AppPassword, client Client) bool {
	return len(p.Protocols) == 0 || slices.Contains(p.Protocols, client.Protocol)
}

// touch records the use of an app password. A login does not fail because that fails.
func (l *Login) touch(ctx context.Context, p store.AppPassword) {
	now := l.o.Now()
	if now.Sub(time.Unix(p.LastUsed, 0)) < touchEvery {
		return
	}
	if err := l.o.Store.TouchAppPassword(ctx, p.AccountID, p.ID, now.Unix()); err != nil {
		l.o.Log.WarnContext(ctx, "use of app password not recorded", "error", err)
	}
}

// allow asks the throttle.
func (l *Login) allow(s *subject) error {
	wait, allowed := l.o.Throttle.Allow(s.key, s.client.IP)
	if allowed {
		return nil
	}
	return fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_THROTTLED, "too many failed logins, try again in %d seconds",
		(wait+time.Second-1)/time.Second)
}

// admit ends a login whose credentials are right.
func (l *Login) admit(s *subject) (store.Account, error) {
	l.o.Throttle.Succeed(s.key, s.client.IP)
	if s.account.Disabled || s.account.DomainDisabled {
		return store.Account{}, fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_ACCOUNT_DISABLED, "the account is disabled")
	}
	return s.account, nil
}
