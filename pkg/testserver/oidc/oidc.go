// Package oidc runs an issuer of access tokens for tests, inside their process: OpenID Connect Discovery, a JSON Web Key set, token introspection
// (RFC 7662), and tokens with real signatures. It signs by the standard library alone, so that what checks its tokens is not checked by itself.
package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Paths of the issuer.
const (
	DiscoveryPath     = "/.well-known/openid-configuration"
	KeysPath          = "/keys"
	IntrospectionPath = "/introspect"
)

// Credentials that introspection asks for.
const (
	ClientID     = "yubin"
	ClientSecret = "not a secret: %&+" // #nosec G101 -- of tests
)

// Claims of a token.
type Claims = map[string]any

// Issuer is one. It may be used by several goroutines.
type Issuer struct {
	// URL is its name, without a path.
	URL string
	// Now is the time of the tokens; set it before use. Nil: time.Now.
	Now func() time.Time

	mu       sync.Mutex
	keys     []key
	made     int
	issued   map[string]Claims // opaque tokens
	asked    map[string]int
	override map[string]http.HandlerFunc
}

// key signs; kid is its name.
type key struct {
	kid    string
	signer crypto.Signer
}

// Start starts an issuer on 127.0.0.1 with one RSA key, which ends with the test.
func Start(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{issued: map[string]Claims{}, asked: map[string]int{}, override: map[string]http.HandlerFunc{}}
	server := httptest.NewServer(http.HandlerFunc(i.serve))
	tb.Cleanup(server.Close)
	i.URL = server.URL
	i.add(firstKey())
	return i
}

// firstKey takes long to make, so that the issuers of a process share it.
var firstKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // never
	}
	return k
})

func newECDSA() crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // never
	}
	return k
}

func (i *Issuer) add(signer crypto.Signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	i.keys = append(i.keys, key{"key " + strconv.Itoa(i.made), signer})
}

// Rotate makes a new key (ECDSA), with which tokens are signed from now on. The old ones stay published.
func (i *Issuer) Rotate() { i.add(newECDSA()) }

// Withdraw publishes the newest key alone.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Answer lets a handler answer requests for a path; nil: the issuer again.
func (i *Issuer) Answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.override[path] = h
}

// Asked is how often a path was asked for.
func (i *Issuer) Asked(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// Claims completes claims: iss, iat, and exp in an hour, where they are not given. A claim of nil is left out.
func (i *Issuer) Claims(claims Claims) Claims {
	all := Claims{"iss": i.URL, "iat": i.now().Unix(), "exp": i.now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// Token signs a JSON Web Token with the newest key. Claims are completed.
func (i *Issuer) Token(claims Claims) string {
	i.mu.Lock()
	k := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	return Sign(k.signer, k.kid, i.Claims(claims))
}

// Opaque gives a token that says nothing by itself. Claims are completed.
func (i *Issuer) Opaque(claims Claims) string {
	token := rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.issued[token] = i.Claims(claims)
	return token
}

// Revoke makes an opaque token inactive.
func (i *Issuer) Revoke(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.issued, token)
}

// Sign makes a JSON Web Token by RS256, or ES256 on P-256, as it is.
func Sign(signer crypto.Signer, kid string, claims Claims) string {
	alg := "RS256"
	if _, ok := signer.(*ecdsa.PrivateKey); ok {
		alg = "ES256"
	}
	text := Part(Claims{"alg": alg, "typ": "at+jwt", "kid": kid}) + "." + Part(claims)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	var err error
	switch k := signer.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey: // RFC 7518 section 3.4
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, k, sum[:]); err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	}
	if err != nil {
		panic(err) // never, with keys of this package
	}
	return text + "." + b64(signature)
}

// Part encodes a header or claims.
func Part(c Claims) string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // only for what is no JSON
	}
	return b64(text)
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	override := i.override[r.URL.Path]
	i.mu.Unlock()
	switch {
	case override != nil:
		override(w, r)
	case r.URL.Path == DiscoveryPath:
		reply(w, Claims{"issuer": i.URL, "jwks_uri": i.URL + KeysPath, "introspection_endpoint": i.URL + IntrospectionPath})
	case r.URL.Path == KeysPath:
		reply(w, Claims{"keys": i.published()})
	case r.URL.Path == IntrospectionPath:
		i.introspect(w, r)
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, c Claims) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c) // the client may have gone
}

// published are the keys (RFC 7517, RFC 7518 section 6), and one of a kind that nobody knows.
func (i *Issuer) published() []Claims {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := []Claims{{"kty": "unheard of", "kid": "x"}}
	for _, k := range slices.Backward(i.keys) {
		switch public := k.signer.Public().(type) {
		case *rsa.PublicKey:
			out = append(out, Claims{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.kid, "n": b64(public.N.Bytes()), "e": b64(big.NewInt(int64(public.E)).Bytes())})
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				panic(err) // never
			}
			out = append(out, Claims{"kty": "EC", "use": "sig", "crv": "P-256", "kid": k.kid, "x": b64(point[1:33]), "y": b64(point[33:])})
		}
	}
	return out
}

func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id != ClientID || secret != encodedSecret || r.Method != http.MethodPost {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	i.mu.Lock()
	claims, ok := i.issued[r.PostFormValue("token")]
	i.mu.Unlock()
	if !ok {
		reply(w, Claims{"active": false})
		return
	}
	answer := maps.Clone(claims)
	answer["active"] = true
	reply(w, answer)
}

// encodedSecret is ClientSecret as RFC 6749 section 2.3.1 wants it in the header.
const encodedSecret = "not+a+secret%3A+%25%26%2B"
