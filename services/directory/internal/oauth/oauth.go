// Package oauth checks the access tokens by which people log in (RFC 7628): JSON Web Tokens against the keys that their issuer publishes (OpenID
// Connect Discovery, RFC 7517, RFC 9068), others by asking the issuer (RFC 7662).
package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Options of New. Either Issuer or IntrospectionURL must be given.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time

	// Issuer of the tokens, from which discovery begins: https, no query.
	Issuer string
	// Audiences of which a token must have one. JSON Web Tokens need one, or else any token of the issuer opens the mail.
	Audiences []string
	// Scopes that a token must have, all of them.
	Scopes []string
	// Claim has the address of the account. Domain is added to a value without one; empty: such a value is refused.
	Claim, Domain string

	// IntrospectionURL is where tokens are asked for; empty: they are JSON Web Tokens. ClientID and ClientSecret are the directory's own there.
	IntrospectionURL, ClientID, ClientSecret string

	// RootCAs vouch for the issuer; nil: those of the system.
	RootCAs *x509.CertPool
	// Skew is how far the issuer's clock may be from ours.
	Skew time.Duration
	// Timeout bounds a request to the issuer.
	Timeout time.Duration
	// CacheTTL is how long the result for a token is remembered at most, CacheEntries how many are.
	CacheTTL     time.Duration
	CacheEntries int
}

// Codes of RefusedError (RFC 6750 section 3.1).
const (
	InvalidToken      = "invalid_token"
	InsufficientScope = "insufficient_scope"
)

// RefusedError says that a token does not open anything, and why: the reason is for operators.
type RefusedError struct {
	Code   string
	Reason string
	// Expired: it is too old, and nothing else.
	Expired bool
	// brief: another look may find otherwise.
	brief bool
}

// Error implements error.
func (e *RefusedError) Error() string { return "access token refused: " + e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{Code: InvalidToken, Reason: fmt.Sprintf(format, args...)}
}

// refusalTTL is how long a refusal is remembered: so that programs that try again do not reach the issuer each time.
const refusalTTL = time.Minute

// complainEvery bounds how often the log says that the issuer cannot be asked.
const complainEvery = 30 * time.Second

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	o      Options
	client *http.Client
	issuer *issuer // nil: introspection alone

	asked  singleflight.Group
	good   *lru.Cache[[sha256.Size]byte, identity]
	bad    *lru.Cache[[sha256.Size]byte, refusal]
	cached *prometheus.CounterVec

	mu         sync.Mutex
	complained time.Time
}

// identity is whose a token is.
type identity struct {
	address address.Address
	until   time.Time
}

type refusal struct {
	err   *RefusedError
	until time.Time
}

// New makes a Verifier, which asks nothing yet.
func New(o Options) *Verifier {
	requests := telemetry.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "yubin", Subsystem: "directory", Name: "oauth_requests_total", Help: "Requests to the issuer of access tokens by what for and result.",
	}, []string{"request", "result"}))
	v := &Verifier{
		o:      o,
		client: newClient(o, requests),
		good:   newLRU[identity](o.CacheEntries),
		bad:    newLRU[refusal](o.CacheEntries),
		cached: telemetry.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: "directory", Name: "oauth_token_cache_total", Help: "Access tokens looked up among those checked lately, by outcome.",
		}, []string{"outcome"})),
	}
	if o.Issuer != "" {
		v.issuer = &issuer{url: o.Issuer, client: v.client, now: o.Now, complain: v.complain}
	}
	return v
}

func newLRU[V any](size int) *lru.Cache[[sha256.Size]byte, V] {
	l, err := lru.New[[sha256.Size]byte, V](max(size, 1))
	if err != nil {
		panic(err) // only for a size below 1
	}
	return l
}

// ConfigurationURL is where clients find their issuer, and what a token needs (RFC 7628 section 3.2.2); empty if it is not known.
func (v *Verifier) ConfigurationURL() string {
	if v.o.Issuer == "" {
		return ""
	}
	return strings.TrimSuffix(v.o.Issuer, "/") + wellKnown
}

// Scopes are those that a token must have.
func (v *Verifier) Scopes() []string { return v.o.Scopes }

// Prepare asks for the issuer's keys, so that a wrong setting shows before the first login.
func (v *Verifier) Prepare(ctx context.Context) error {
	if v.issuer == nil || v.o.IntrospectionURL != "" {
		return nil
	}
	_, asked, _ := v.issuer.current()
	return v.issuer.refresh(ctx, asked)
}

// Check gives the address of the account that a token is for. It fails with a *RefusedError, or with another error if the issuer cannot be asked.
func (v *Verifier) Check(ctx context.Context, token string) (address.Address, error) {
	key := sha256.Sum256([]byte(token)) // what an intruder cannot guess needs no more
	now := v.o.Now()
	if known, ok := v.good.Get(key); ok && now.Before(known.until) {
		v.cached.WithLabelValues("hit").Inc()
		return known.address, nil
	}
	if known, ok := v.bad.Get(key); ok && now.Before(known.until) {
		v.cached.WithLabelValues("hit").Inc()
		return address.Address{}, known.err
	}
	v.cached.WithLabelValues("miss").Inc()
	// A client opens several connections at once; who asks first may leave, and the others still want the answer.
	done := v.asked.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*v.o.Timeout)
		defer cancel()
		found, err := v.look(ctx, token)
		v.remember(key, found, err)
		return found.address, err
	})
	select {
	case result := <-done:
		a, _ := result.Val.(address.Address)
		return a, result.Err
	case <-ctx.Done():
		return address.Address{}, context.Cause(ctx)
	}
}

func (v *Verifier) look(ctx context.Context, token string) (identity, error) {
	var payload []byte
	var err error
	if v.o.IntrospectionURL != "" {
		payload, err = v.introspect(ctx, token)
	} else {
		payload, err = v.issuer.verify(ctx, token)
	}
	if err != nil {
		return identity{}, err
	}
	return v.judge(payload)
}

func (v *Verifier) remember(key [sha256.Size]byte, found identity, err error) {
	now := v.o.Now()
	refused, ok := errors.AsType[*RefusedError](err)
	switch {
	case err == nil:
		if most := now.Add(v.o.CacheTTL); found.until.IsZero() || most.Before(found.until) {
			found.until = most
		}
		v.good.Add(key, found)
	case ok:
		v.o.Log.Info("access token refused", "reason", refused.Reason)
		if !refused.brief {
			v.bad.Add(key, refusal{refused, now.Add(refusalTTL)})
		}
	default:
		v.complain(err)
	}
}

// complain tells the log that the issuer cannot be asked.
func (v *Verifier) complain(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := v.o.Now(); now.Sub(v.complained) >= complainEvery {
		v.complained = now
		v.o.Log.Error("the issuer of access tokens cannot be asked", "error", err)
	}
}
