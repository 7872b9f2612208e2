package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	wellKnown = "/.well-known/openid-configuration"
	// Keys are asked for again after keysAge, so that one which the issuer has withdrawn ends; while they cannot be had the old ones hold.
	keysAge = 15 * time.Minute
	// A token with an unknown key makes the keys be asked for at most this often: anybody can write such tokens.
	keysRetry = 10 * time.Second
)

// algorithms are those by which issuers may sign: what only they can do.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// issuer verifies the signatures of JSON Web Tokens.
type issuer struct {
	url      string
	client   *http.Client
	now      func() time.Time
	complain func(error)

	fetching sync.Mutex // held while the keys are asked for

	mu     sync.Mutex
	keys   []jose.JSONWebKey
	asked  time.Time // when keys were asked for last
	failed error     // what came of it; nil: keys
	got    time.Time // when there were keys last
	behind bool      // they are being asked for beside the logins
}

// verify gives the payload of a token that the issuer has signed, and nothing of which else has been looked at than the issuer's name.
func (i *issuer) verify(ctx context.Context, token string) ([]byte, error) {
	signature := &signature{issuer: i}
	verifier := oidc.NewVerifier(i.url, signature, &oidc.Config{
		SupportedSigningAlgs: algorithms,
		SkipClientIDCheck:    true, // an access token's audience is not a client: judge looks at it
		SkipExpiryCheck:      true, // judge knows the clocks
	})
	verified, err := verifier.Verify(ctx, token)
	switch {
	case signature.err != nil:
		return nil, signature.err
	case err != nil:
		return nil, refuse("%v", err)
	}
	var payload json.RawMessage
	if err := verified.Claims(&payload); err != nil {
		return nil, refuse("%v", err)
	}
	return payload, nil
}

// signature is one verification. It keeps the error, of which go-oidc passes on the text alone.
type signature struct {
	issuer *issuer
	err    error
}

// VerifySignature implements oidc.KeySet.
func (s *signature) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	payload, s.err = s.issuer.verifySignature(ctx, token)
	return payload, s.err
}

func (i *issuer) verifySignature(ctx context.Context, token string) ([]byte, error) {
	signed := make([]jose.SignatureAlgorithm, len(algorithms))
	for n, name := range algorithms {
		signed[n] = jose.SignatureAlgorithm(name)
	}
	jws, err := jose.ParseSignedCompact(token, signed)
	if err != nil {
		return nil, refuse("%v", err)
	}
	keys, asked, failed := i.current()
	if payload, ok := verifyWith(jws, keys); ok {
		return payload, nil
	}
	if !asked.IsZero() && i.now().Sub(asked) < keysRetry {
		if failed != nil {
			return nil, failed
		}
		return nil, &RefusedError{Code: InvalidToken, Reason: "no key of the issuer has signed it", brief: true}
	}
	if err := i.refresh(ctx, asked); err != nil {
		return nil, err
	}
	keys, _, _ = i.current()
	if payload, ok := verifyWith(jws, keys); ok {
		return payload, nil
	}
	return nil, refuse("no key of the issuer has signed it")
}

// verifyWith tries the keys that may have signed.
func verifyWith(jws *jose.JSONWebSignature, keys []jose.JSONWebKey) (payload []byte, ok bool) {
	if len(jws.Signatures) != 1 {
		return nil, false
	}
	header := jws.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm || key.Use != "" && key.Use != "sig" {
			continue
		}
		if payload, err := jws.Verify(&key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// current gives the keys, when they were asked for last, and what came of that. Old ones are asked for again, beside.
func (i *issuer) current() (keys []jose.JSONWebKey, asked time.Time, failed error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	if !i.got.IsZero() && now.Sub(i.got) >= keysAge && now.Sub(i.asked) >= keysRetry && !i.behind {
		i.behind = true
		go i.renew(i.asked)
	}
	return i.keys, i.asked, i.failed
}

func (i *issuer) renew(asked time.Time) {
	if err := i.refresh(context.Background(), asked); err != nil { // each request has its limit
		i.complain(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.behind = false
}

// refresh asks for the keys, unless somebody else has done so since they were asked for at the time known.
func (i *issuer) refresh(ctx context.Context, known time.Time) error {
	i.fetching.Lock()
	defer i.fetching.Unlock()
	i.mu.Lock()
	asked, failed := i.asked, i.failed
	i.mu.Unlock()
	if asked.After(known) {
		return failed
	}
	begun := i.now()
	keys, err := i.fetch(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.asked, i.failed = begun, err; err == nil {
		i.keys, i.got = keys, begun
	}
	return err
}

// fetch reads the issuer's configuration and its keys.
func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(purpose(ctx, forDiscovery), i.client), i.url)
	if err != nil {
		return nil, fmt.Errorf("discover %s: %w", i.url, err)
	}
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil {
		return nil, fmt.Errorf("discover %s: %w", i.url, err)
	}
	if err := CheckURL(found.Keys); err != nil {
		return nil, fmt.Errorf("discover %s: jwks_uri: %w", i.url, err)
	}
	req, err := http.NewRequestWithContext(purpose(ctx, forKeys), http.MethodGet, found.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for keys: %s: %s", found.Keys, resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return parseKeys(body)
}

// parseKeys reads a JSON Web Key set (RFC 7517 section 5). Keys of kinds that are not known are left out, and so are those that are secret: whoever may
// read them could sign.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(text); err == nil && key.Valid() && key.IsPublic() {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("read keys: the issuer has none that can be used")
	}
	return keys, nil
}
