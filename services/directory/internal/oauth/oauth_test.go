package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/oidc"
)

const alice = "alice@example.test"

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// start starts an issuer, and a verifier of its tokens for the audience mail.
func start(t *testing.T, change func(*Options)) (*oidc.Issuer, *Verifier, *clock) {
	t.Helper()
	c := &clock{t: time.Unix(1_700_000_000, 0)}
	issuer := oidc.Start(t)
	issuer.Now = c.now
	o := Options{
		Log: slog.New(slog.DiscardHandler), Now: c.now, Issuer: issuer.URL, Audiences: []string{"mail"}, Claim: "email",
		Skew: time.Minute, Timeout: 10 * time.Second, CacheTTL: 5 * time.Minute, CacheEntries: 100,
	}
	if change != nil {
		change(&o)
	}
	return issuer, New(o), c
}

// of gives the claims of a token of alice's, changed.
func of(change oidc.Claims) oidc.Claims {
	all := oidc.Claims{"aud": "mail", "email": alice}
	for name, value := range change {
		all[name] = value
	}
	return all
}

// code is that of a refusal, "unavailable" for another failure, and empty for none.
func code(err error) string {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Code
	}
	if err != nil {
		return "unavailable"
	}
	return ""
}

func expect(t *testing.T, v *Verifier, what, token, want string) {
	t.Helper()
	a, err := v.Check(t.Context(), token)
	if code(err) != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
	if want == "" && a.String() != alice {
		t.Errorf("%s: it is for %s", what, a)
	}
}

func TestClaims(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).Unix()
	for _, tt := range []struct {
		name   string
		change func(*Options)
		claims oidc.Claims
		want   string
	}{
		{"right", nil, nil, ""},
		{"address in capitals", nil, oidc.Claims{"email": "Alice@EXAMPLE.test"}, ""},
		{"several audiences", nil, oidc.Claims{"aud": []string{"files", "mail"}}, ""},
		{"other audience", nil, oidc.Claims{"aud": "files"}, InvalidToken},
		{"no audience", nil, oidc.Claims{"aud": nil}, InvalidToken},
		{"other issuer", nil, oidc.Claims{"iss": "https://elsewhere.test"}, InvalidToken},
		{"no issuer", nil, oidc.Claims{"iss": nil}, InvalidToken},
		{"expired within the skew", nil, oidc.Claims{"exp": now - 59}, ""},
		{"expired", nil, oidc.Claims{"exp": now - 60}, InvalidToken},
		{"endless", nil, oidc.Claims{"exp": nil}, InvalidToken},
		{"end is no number", nil, oidc.Claims{"exp": "tomorrow"}, InvalidToken},
		{"end with a fraction", nil, oidc.Claims{"exp": float64(now) + 0.5}, ""},
		{"end far away", nil, oidc.Claims{"exp": 1e300}, ""},
		{"from within the skew", nil, oidc.Claims{"nbf": now + 60}, ""},
		{"not yet", nil, oidc.Claims{"nbf": now + 61}, InvalidToken},
		{"no address", nil, oidc.Claims{"email": nil}, InvalidToken},
		{"address is no text", nil, oidc.Claims{"email": []string{alice}}, InvalidToken},
		{"address without a domain", nil, oidc.Claims{"email": "alice"}, InvalidToken},
		{"no address at all", nil, oidc.Claims{"email": "a b@c@d"}, InvalidToken},
		{"verified", nil, oidc.Claims{"email_verified": true}, ""},
		{"verified, as a text", nil, oidc.Claims{"email_verified": "true"}, ""},
		{"not verified", nil, oidc.Claims{"email_verified": false}, InvalidToken},
		{"not verified, as a text", nil, oidc.Claims{"email_verified": "false"}, InvalidToken},
		{"other claim", func(o *Options) { o.Claim = "upn" }, oidc.Claims{"upn": alice, "email": "x@example.test", "email_verified": false}, ""},
		{"domain added", func(o *Options) { o.Claim, o.Domain = "preferred_username", "example.test" }, oidc.Claims{"preferred_username": "alice"}, ""},
		{"domain there", func(o *Options) { o.Domain = "other.test" }, nil, ""},
		{"scopes", scopes, oidc.Claims{"scope": "openid mail imap"}, ""},
		{"scopes as a list", scopes, oidc.Claims{"scp": []string{"imap", "mail"}}, ""},
		{"scopes in both", scopes, oidc.Claims{"scope": "mail", "scp": "imap"}, ""},
		{"one scope", scopes, oidc.Claims{"scope": "mail imapx"}, InsufficientScope},
		{"no scope", scopes, nil, InsufficientScope},
	} {
		t.Run(tt.name, func(t *testing.T) {
			issuer, v, _ := start(t, tt.change)
			token := issuer.Token(of(tt.claims))
			expect(t, v, "first", token, tt.want)
			expect(t, v, "again", token, tt.want)
		})
	}
}

func scopes(o *Options) { o.Scopes = []string{"mail", "imap"} }

func TestForgedTokens(t *testing.T) {
	issuer, v, _ := start(t, nil)
	good := issuer.Token(of(nil))
	expect(t, v, "good", good, "")
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	header, payload, signature := cut(good)
	all := issuer.Claims(of(nil))
	for name, token := range map[string]string{
		"own key":                     oidc.Sign(own, "key 1", all),
		"own key of another name":     oidc.Sign(own, "mine", all),
		"own key without a name":      oidc.Sign(own, "", all),
		"no signature":                header + "." + payload + ".",
		"other claims":                header + "." + oidc.Part(issuer.Claims(of(oidc.Claims{"email": "bob@example.test"}))) + "." + signature,
		"alg none":                    oidc.Part(oidc.Claims{"alg": "none"}) + "." + payload + ".",
		"alg HS256 by what is public": hs256(oidc.Part(oidc.Claims{"alg": "HS256", "kid": "key 1"})+"."+payload, "key 1"),
		"not a token":                 "token",
		"nothing between":             "..",
		"JSON":                        `{"payload":"` + payload + `","signatures":[]}`,
		"long":                        strings.Repeat("a", 16<<10),
	} {
		expect(t, v, name, token, InvalidToken)
	}
	expect(t, v, "the good one still", good, "")
}

func cut(token string) (header, payload, signature string) {
	parts := strings.Split(token, ".")
	return parts[0], parts[1], parts[2]
}

func hs256(text, key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestKeysRotate(t *testing.T) {
	issuer, v, clock := start(t, nil)
	old := issuer.Token(of(nil))
	expect(t, v, "old key", old, "")
	clock.advance(keysRetry)
	issuer.Rotate()
	expect(t, v, "new key", issuer.Token(of(nil)), "")
	expect(t, v, "old key still", issuer.Token(of(nil)), "")
	if n := issuer.Asked(oidc.KeysPath); n != 2 {
		t.Errorf("keys were asked for %d times, want 2", n)
	}
}

// Whoever writes tokens with names of keys that are none must not make us ask the issuer each time.
func TestUnknownKeysAreBounded(t *testing.T) {
	issuer, v, clock := start(t, nil)
	expect(t, v, "good", issuer.Token(of(nil)), "")
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clock.advance(keysRetry)
	for range 20 {
		expect(t, v, "forged", oidc.Sign(own, rand.Text(), issuer.Claims(of(nil))), InvalidToken)
	}
	if n := issuer.Asked(oidc.KeysPath); n != 2 {
		t.Errorf("keys were asked for %d times, want 2", n)
	}
	// What was refused for a key that came later is looked at again.
	issuer.Rotate()
	token := issuer.Token(of(nil))
	expect(t, v, "new key, too early", token, InvalidToken)
	clock.advance(keysRetry)
	expect(t, v, "new key", token, "")
}

// A key that the issuer has withdrawn ends, even if nobody has used another.
func TestWithdrawnKeyEnds(t *testing.T) {
	issuer, v, clock := start(t, func(o *Options) { o.CacheTTL = 0 })
	token := issuer.Token(of(nil))
	expect(t, v, "before", token, "")
	issuer.Rotate()
	issuer.Withdraw()
	expect(t, v, "within the age of keys", token, "")
	clock.advance(keysAge)
	asked := make(chan struct{})
	var once sync.Once
	issuer.Answer(oidc.DiscoveryPath, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"issuer":"`+issuer.URL+`","jwks_uri":"`+issuer.URL+oidc.KeysPath+`"}`)
		once.Do(func() { close(asked) })
	})
	if _, err := v.Check(t.Context(), token); err != nil { // with the old keys; the new ones come beside
		t.Fatal(err)
	}
	<-asked
	v.issuer.fetching.Lock() // waits until the answer is there
	renewed := v.issuer.got.Equal(clock.now())
	v.issuer.fetching.Unlock()
	if !renewed {
		t.Fatal("the keys were not renewed")
	}
	expect(t, v, "after", token, InvalidToken)
}

func TestIssuerOutOfReach(t *testing.T) {
	issuer, v, clock := start(t, nil)
	down := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("down ", 100_000), http.StatusServiceUnavailable)
	}
	issuer.Answer(oidc.DiscoveryPath, down)
	token := issuer.Token(of(nil))
	expect(t, v, "no discovery", token, "unavailable")
	expect(t, v, "at once again", token, "unavailable")
	if n := issuer.Asked(oidc.DiscoveryPath); n != 1 {
		t.Errorf("discovery was asked for %d times, want 1", n)
	}
	if err := v.Prepare(t.Context()); err == nil || len(err.Error()) > 1000 {
		t.Errorf("prepare: %.2000v", err)
	}
	issuer.Answer(oidc.DiscoveryPath, nil)
	issuer.Answer(oidc.KeysPath, down)
	clock.advance(keysRetry)
	expect(t, v, "no keys", token, "unavailable")
	issuer.Answer(oidc.KeysPath, nil)
	clock.advance(keysRetry)
	expect(t, v, "back", token, "")
	issuer.Answer(oidc.DiscoveryPath, down)
	expect(t, v, "with the keys that are known", issuer.Token(of(oidc.Claims{"jti": "2"})), "")
	clock.advance(keysRetry)
	issuer.Rotate()
	expect(t, v, "with a key that is not", issuer.Token(of(nil)), "unavailable")
}

func TestBadAnswersOfTheIssuer(t *testing.T) {
	issuer, v, _ := start(t, nil)
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for _, tt := range []struct {
		name, path string
		answer     http.HandlerFunc
	}{
		{"other issuer", oidc.DiscoveryPath, say(`{"issuer":"https://elsewhere.test","jwks_uri":"` + issuer.URL + oidc.KeysPath + `"}`)},
		{"keys without TLS", oidc.DiscoveryPath, say(`{"issuer":"` + issuer.URL + `","jwks_uri":"http://192.0.2.1/keys"}`)},
		{"no keys", oidc.DiscoveryPath, say(`{"issuer":"` + issuer.URL + `"}`)},
		{"no JSON", oidc.DiscoveryPath, say(`<html>`)},
		{"redirect", oidc.DiscoveryPath, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}},
		{"no end", oidc.DiscoveryPath, endless},
		{"keys: no JSON", oidc.KeysPath, say(`[]`)},
		{"keys: none", oidc.KeysPath, say(`{"keys":[]}`)},
		{"keys: secret ones", oidc.KeysPath, say(`{"keys":[{"kty":"oct","kid":"key 1","k":"c2VjcmV0"}]}`)},
		{"keys: no end", oidc.KeysPath, endless},
	} {
		issuer.Answer(tt.path, tt.answer)
		if err := v.Prepare(t.Context()); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
		issuer.Answer(tt.path, nil)
	}
	if err := v.Prepare(t.Context()); err != nil {
		t.Error(err)
	}
}

// endless writes as long as somebody reads.
func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
			return
		}
	}
}

// An issuer that takes a request and says nothing holds a login no longer than the limit.
func TestSilentIssuer(t *testing.T) {
	issuer, v, _ := start(t, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	issuer.Answer(oidc.DiscoveryPath, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	expect(t, v, "silence", issuer.Token(of(nil)), "unavailable")
}

func introspecting(o *Options) {
	o.IntrospectionURL, o.ClientID, o.ClientSecret = o.Issuer+oidc.IntrospectionPath, oidc.ClientID, oidc.ClientSecret
}

func TestIntrospection(t *testing.T) {
	issuer, v, clock := start(t, introspecting)
	for name, tt := range map[string]struct {
		claims oidc.Claims
		want   string
	}{
		"right":          {nil, ""},
		"no end":         {oidc.Claims{"exp": nil}, ""},
		"no issuer":      {oidc.Claims{"iss": nil}, ""},
		"other issuer":   {oidc.Claims{"iss": "https://elsewhere.test"}, InvalidToken},
		"other audience": {oidc.Claims{"aud": "files"}, InvalidToken},
		"expired":        {oidc.Claims{"exp": clock.now().Unix() - 60}, InvalidToken},
	} {
		expect(t, v, name, issuer.Opaque(of(tt.claims)), tt.want)
	}
	expect(t, v, "unknown", "token", InvalidToken)
	token := issuer.Opaque(of(nil))
	expect(t, v, "before", token, "")
	issuer.Revoke(token)
	expect(t, v, "revoked, remembered", token, "")
	clock.advance(5 * time.Minute)
	expect(t, v, "revoked", token, InvalidToken)
	issuer.Answer(oidc.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"email":"`+alice+`","aud":"mail"}`)
	})
	expect(t, v, "without active", "other", InvalidToken)
	issuer.Answer(oidc.IntrospectionPath, endless)
	expect(t, v, "endless", "third", "unavailable")
}

func TestIntrospectionRefusesUs(t *testing.T) {
	issuer, v, _ := start(t, func(o *Options) { introspecting(o); o.ClientSecret = "wrong" })
	expect(t, v, "wrong secret", issuer.Opaque(of(nil)), "unavailable")
}

// Many connections of one client at once ask the issuer once, also if the first of them goes away.
func TestOneQuestionForManyConnections(t *testing.T) {
	issuer, v, _ := start(t, introspecting)
	token := issuer.Opaque(of(nil))
	asked, release := make(chan struct{}), make(chan struct{})
	issuer.Answer(oidc.IntrospectionPath, func(w http.ResponseWriter, _ *http.Request) {
		close(asked) // panics if there is a second
		<-release
		_, _ = io.WriteString(w, `{"active":true,"aud":"mail","email":"`+alice+`"}`)
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := v.Check(ctx, token)
		first <- err
	}()
	<-asked
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that went away: %v", err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { expect(t, v, "another", token, "") })
	}
	close(release)
	wg.Wait()
}

// A token is remembered no longer than it lives, nor longer than the limit.
func TestRemembered(t *testing.T) {
	issuer, v, clock := start(t, func(o *Options) { introspecting(o); o.Skew = 0 })
	short, long := issuer.Opaque(of(oidc.Claims{"exp": clock.now().Add(time.Minute).Unix()})), issuer.Opaque(of(nil))
	for range 3 {
		expect(t, v, "short", short, "")
		expect(t, v, "long", long, "")
	}
	if n := issuer.Asked(oidc.IntrospectionPath); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	clock.advance(time.Minute)
	expect(t, v, "short, after its life", short, InvalidToken)
	expect(t, v, "long", long, "")
	clock.advance(4 * time.Minute)
	expect(t, v, "long, after the limit", long, "")
	if n := issuer.Asked(oidc.IntrospectionPath); n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}
}

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/realms/x": true, "http://127.0.0.1:8080": true, "http://localhost/x": true, "http://[::1]:1": true,
		"": false, "login.example.com": false, "http://login.example.com": false, "ftp://localhost": false, "https://": false,
		"https://user:secret@login.example.com": false, "https://login.example.com/#x": false, "https://%": false,
	} {
		if err := CheckURL(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzJudge checks that whatever an issuer says gives an address with a domain, or a refusal.
func FuzzJudge(f *testing.F) {
	for _, text := range []string{
		`{"aud":"mail","email":"alice@example.test","exp":1700000001}`, `{"aud":["mail"],"scp":["a b",""],"exp":1e400}`, `null`, `[]`, `{"aud":{}}`, `{"email":"a","exp":-1e99,"nbf":1e99}`,
	} {
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, introspection bool) {
		v := &Verifier{o: Options{Audiences: []string{"mail"}, Claim: "email", Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}}
		if introspection {
			v.o.IntrospectionURL = "https://x.test"
		}
		found, err := v.judge([]byte(text))
		if _, refused := errors.AsType[*RefusedError](err); err != nil && !refused {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && (found.address.Domain == "" || !strings.Contains(text, "mail")) {
			t.Fatalf("%q gives %v", text, found)
		}
	})
}
