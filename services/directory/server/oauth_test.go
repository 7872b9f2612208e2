package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sasl"
	"github.com/yubin-mail/yubin/pkg/testserver/oidc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// signedIn is a directory that takes the tokens of an issuer.
type signedIn struct {
	*system
	issuer *oidc.Issuer
}

func startOAuth(t *testing.T, flags ...string) signedIn {
	t.Helper()
	issuer := oidc.Start(t)
	s := start(t, append([]string{"--directory-oauth-issuer=" + issuer.URL, "--directory-oauth-audience=mail", "--directory-oauth-scope=imap"}, flags...)...)
	issuer.Now = s.clock.now
	return signedIn{s, issuer}
}

// token is one of alice's, with claims changed.
func (s signedIn) token(change oidc.Claims) string {
	claims := oidc.Claims{"aud": "mail", "scope": "openid imap", "email": alice}
	for name, value := range change {
		claims[name] = value
	}
	return s.issuer.Token(claims)
}

// xoauth2 is a client of Google's mechanism, which go-sasl has not.
type xoauth2 struct{ user, token, told string }

func (c *xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + c.user + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

func (c *xoauth2) Next(challenge []byte) ([]byte, error) {
	c.told = string(challenge)
	return []byte{}, nil
}

// bearer is go-sasl's client, which answers a refusal as RFC 7628 section 3.2.3 asks for instead of ending.
type bearer struct {
	gosasl.Client
	told *gosasl.OAuthBearerError
}

func (c *bearer) Next(challenge []byte) ([]byte, error) {
	_, err := c.Client.Next(challenge)
	told, refused := errors.AsType[*gosasl.OAuthBearerError](err)
	if !refused {
		return nil, err
	}
	c.told = told
	return []byte{1}, nil
}

func newBearer(user, token string) *bearer {
	return &bearer{Client: gosasl.NewOAuthBearerClient(&gosasl.OAuthBearerOptions{Username: user, Token: token, Host: "imap.example.test", Port: 993})}
}

func TestTokens(t *testing.T) {
	s := startOAuth(t)
	s.create("bob@example.test", secret)
	for _, tt := range []struct {
		name   string
		user   string
		claims oidc.Claims
		want   rpcv1.Reason
		told   string // status of OAUTHBEARER
	}{
		{"right", alice, nil, ok, ""},
		{"other spelling", "Alice@Example.Test", nil, ok, ""},
		{"somebody else's", "bob@example.test", nil, foreign, "invalid_token"},
		{"no account's", "nobody@example.test", oidc.Claims{"email": "nobody@example.test"}, failed, "invalid_token"},
		{"a foreign address", "x@foreign.test", oidc.Claims{"email": "x@foreign.test"}, failed, "invalid_token"},
		{"expired", alice, oidc.Claims{"exp": 1_600_000_000}, expired, "invalid_token"},
		{"expired, for other services", alice, oidc.Claims{"exp": 1_600_000_000, "aud": "files"}, failed, "invalid_token"},
		{"for other services", alice, oidc.Claims{"aud": "files"}, failed, "invalid_token"},
		{"too weak", alice, oidc.Claims{"scope": "openid"}, failed, "insufficient_scope"},
	} {
		for _, initial := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				token := s.token(tt.claims)
				b, x := newBearer(tt.user, token), &xoauth2{user: tt.user, token: token}
				for _, client := range []gosasl.Client{b, x} {
					account, err := s.client(client, initial, "imap")
					if got := s.reason(account, err); got != tt.want {
						t.Errorf("%T, initial response %v: %v (%v), want %v", client, initial, got, err, tt.want)
					}
					if tt.want == ok && account.GetAddress() != alice {
						t.Errorf("%T: logged in as %q", client, account.GetAddress())
					}
					s.clock.advance(time.Second)
				}
				if tt.told == "" {
					return
				}
				if b.told == nil || b.told.Status != tt.told || b.told.Schemes != "bearer" || b.told.Scope != "imap" {
					t.Errorf("OAUTHBEARER was told %+v", b.told)
				}
				code := map[string]string{"invalid_token": "401", "insufficient_scope": "403"}[tt.told]
				want := fmt.Sprintf(`{"status":%q,"schemes":"bearer","scope":"imap","openid-configuration":%q}`, code, s.issuer.URL+oidc.DiscoveryPath)
				if x.told != want {
					t.Errorf("XOAUTH2 was told %s, want %s", x.told, want)
				}
				s.clock.advance(10 * time.Minute) // so that failures do not add up
			})
		}
	}
	t.Run("without a name", func(t *testing.T) {
		account, err := s.client(newBearer("", s.token(nil)), true, "smtp")
		if s.reason(account, err) != ok || account.GetAddress() != alice {
			t.Errorf("%v, %v", account, err)
		}
	})
	if n := s.metric("yubin_directory_logins_total", "mechanism", "OAUTHBEARER", "result", "failed"); n != 14 {
		t.Errorf("%v failed logins counted, want 14", n)
	}
}

func TestTokenOfADisabledAccount(t *testing.T) {
	s := startOAuth(t)
	s.expect("before", s.reason(s.client(newBearer(alice, s.token(nil)), true, "imap")), ok)
	off := true
	if _, err := s.admin.UpdateAccount(t.Context(), &directoryv1.UpdateAccountRequest{Address: alice, Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	s.expect("disabled, by the token that is remembered", s.reason(s.client(newBearer(alice, s.token(nil)), true, "imap")), disabled)
}

// Tokens are guessed no more often than passwords, and one that is too old counts once.
func TestTokensAreThrottled(t *testing.T) {
	s := startOAuth(t)
	old := s.token(oidc.Claims{"exp": 1_600_000_000})
	for range 20 {
		s.expect("old token", s.reason(s.client(&xoauth2{user: alice, token: old}, true, "imap")), expired)
	}
	s.expect("new token", s.reason(s.client(newBearer(alice, s.token(nil)), true, "imap")), ok)
	for i := range 6 {
		s.expect("guess", s.reason(s.client(newBearer(alice, fmt.Sprintf("guess%d", i)), true, "imap")), failed)
	}
	s.expect("right", s.reason(s.client(newBearer(alice, s.token(nil)), true, "imap")), throttled)
	s.expect("by password", s.plain(home, alice, secret), throttled)
	for i := range 6 {
		s.expect("guess without a name", s.reason(s.client(newBearer("", fmt.Sprintf("guess%d", i)), true, "imap")), failed)
	}
	s.expect("without a name", s.reason(s.client(newBearer("", s.token(nil)), true, "imap")), throttled)
}

// Tokens without names that are tried from everywhere slow down nobody elsewhere.
func TestNamelessGuessesHarmNobodyElse(t *testing.T) {
	s := startOAuth(t, "--directory-throttle-account-failures=10")
	for i := range 40 {
		begin := from(fmt.Sprintf("198.51.%d.7", i), "imap")
		begin.Mechanism, begin.InitialResponse = "OAUTHBEARER", fmt.Appendf(nil, "n,,\x01auth=Bearer guess%d\x01\x01", i)
		account, err := sasl.Authenticate(t.Context(), s.gateway, begin, func([]byte) ([]byte, error) { return []byte{1}, nil })
		s.expect("guess", s.reason(account, err), failed)
	}
	s.expect("elsewhere", s.reason(s.client(newBearer("", s.token(nil)), true, "imap")), ok)
}

func TestIssuerIsDown(t *testing.T) {
	s := startOAuth(t)
	s.issuer.Answer(oidc.DiscoveryPath, http.NotFound)
	s.expect("token", s.reason(s.client(newBearer(alice, s.token(nil)), true, "imap")), rpcv1.Reason_REASON_UNAVAILABLE)
	s.expect("password", s.plain(home, alice, secret), ok)
}

// A client that asks with an empty token is told where to get one, and is no guesser.
func TestWhereToGetAToken(t *testing.T) {
	s := startOAuth(t)
	for range 10 {
		begin := from(home, "imap")
		begin.Mechanism, begin.InitialResponse = "OAUTHBEARER", []byte("n,,\x01auth=\x01\x01")
		exchange, err := sasl.Start(t.Context(), s.gateway, begin)
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := exchange.Next(begin.GetInitialResponse())
		var told map[string]string
		if err != nil || done != nil || json.Unmarshal(challenge, &told) != nil || told["openid-configuration"] != s.issuer.URL+oidc.DiscoveryPath {
			t.Fatalf("challenge %s, %v, %v", challenge, done, err)
		}
		exchange.Close() // without an answer
	}
	s.expect("afterwards", s.reason(s.client(newBearer("", s.token(nil)), true, "imap")), ok)
}

func TestMalformedTokens(t *testing.T) {
	s := startOAuth(t)
	for _, tt := range []struct{ mechanism, message string }{
		{"OAUTHBEARER", ""}, {"OAUTHBEARER", "n,,"}, {"OAUTHBEARER", "n,,\x01\x01"}, {"OAUTHBEARER", "n,,\x01auth=Bearer x\x01"}, {"OAUTHBEARER", "n,,auth=Bearer x\x01\x01"},
		{"OAUTHBEARER", "p=tls-exporter,,\x01auth=Bearer x\x01\x01"}, {"OAUTHBEARER", "n,alice,\x01auth=Bearer x\x01\x01"}, {"OAUTHBEARER", "n,a=,\x01auth=Bearer x\x01\x01"},
		{"OAUTHBEARER", "n,a=x=2,\x01auth=Bearer x\x01\x01"}, {"OAUTHBEARER", "n,,\x01auth=Basic x\x01\x01"}, {"OAUTHBEARER", "n,,\x01auth=Bearer \x01\x01"},
		{"OAUTHBEARER", "n,,\x01auth=Bearer x y\x01\x01"}, {"OAUTHBEARER", "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01"}, {"OAUTHBEARER", "n,,\x01auth\x01\x01"},
		{"OAUTHBEARER", "n,,\x01host=x\x01\x01"}, {"OAUTHBEARER", "n,a=\xff,\x01auth=Bearer x\x01\x01"}, {"OAUTHBEARER", "n,,\x01auth=Bearer é\x01\x01"},
		{"XOAUTH2", ""}, {"XOAUTH2", "user=\x01auth=Bearer x\x01\x01"}, {"XOAUTH2", "auth=Bearer x\x01\x01"}, {"XOAUTH2", "user=x\x01auth=Bearer x"}, {"XOAUTH2", "user=x\x01auth=\xff\x01\x01"},
	} {
		begin := from(home, "imap")
		begin.Mechanism = tt.mechanism
		exchange, err := sasl.Start(t.Context(), s.gateway, begin)
		if err != nil {
			t.Fatal(err)
		}
		if challenge, done, err := exchange.Next([]byte(tt.message)); done != nil || !fault.Is(err, malformed) {
			t.Errorf("%s %q: %q, %v, %v", tt.mechanism, tt.message, challenge, done, err)
		}
	}
}

func TestListMechanisms(t *testing.T) {
	names := func(s *system) string {
		t.Helper()
		answer, err := s.gateway.ListMechanisms(t.Context(), &directoryv1.ListMechanismsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(answer.GetMechanisms(), " ")
	}
	if got := names(start(t)); got != "SCRAM-SHA-256 PLAIN LOGIN" {
		t.Errorf("offered by itself: %s", got)
	}
	if got := names(start(t, "--directory-scram-plus")); got != "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" {
		t.Errorf("without OAuth: %s", got)
	}
	if got := names(start(t, "--directory-scram=false")); got != "PLAIN LOGIN" {
		t.Errorf("without SCRAM: %s", got)
	}
	s := startOAuth(t, "--directory-scram-plus")
	got := names(s.system)
	if got != strings.Join(sasl.Known(), " ") {
		t.Errorf("all: %s", got)
	}
	for _, mechanism := range strings.Fields(got) { // each is one that the directory begins
		begin := from(home, "imap")
		begin.Mechanism, begin.ChannelBindings = mechanism, []*directoryv1.ChannelBinding{{Type: "tls-exporter", Data: []byte("x")}}
		exchange, err := sasl.Start(t.Context(), s.gateway, begin)
		if err != nil {
			t.Fatal(err)
		}
		if challenge, _, err := exchange.Next(nil); err != nil || challenge == nil && mechanism == "LOGIN" {
			t.Errorf("%s: %q, %v", mechanism, challenge, err)
		}
		exchange.Close()
	}
	s2 := start(t)
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		begin := from(home, "imap")
		begin.Mechanism = mechanism
		s2.expect(mechanism, s2.reason(sasl.Authenticate(t.Context(), s2.gateway, begin, nil)), unsupported)
	}
}

// An issuer by introspection, over TLS with a certificate of its own, and claims of its own.
func TestIntrospectionIsWired(t *testing.T) {
	issuer := oidc.Start(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(oidc.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--directory-oauth-introspection-url="+issuer.URL+oidc.IntrospectionPath, "--directory-oauth-client-id="+oidc.ClientID,
		"--directory-oauth-client-secret-file="+file, "--directory-oauth-scope=imap", "--directory-oauth-claim=username", "--directory-oauth-domain=example.test")
	issuer.Now = s.clock.now
	token := issuer.Opaque(oidc.Claims{"username": "alice", "scope": "imap"})
	account, err := s.client(newBearer(alice, token), true, "imap")
	if s.reason(account, err) != ok || account.GetAddress() != alice {
		t.Errorf("%v, %v", account, err)
	}
	x := &xoauth2{user: alice, token: "another"}
	s.expect("unknown", s.reason(s.client(x, true, "imap")), failed)
	if strings.Contains(x.told, "openid-configuration") {
		t.Errorf("told %s", x.told)
	}
}

func TestOAuthSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, secretFile := write("empty", " \n"), write("secret", "x")
	for _, tt := range []struct {
		flags []string // without --directory-oauth-
		want  []string // flags that are wrong
	}{
		{nil, nil},
		{[]string{"issuer=https://login.example.com", "audience=mail"}, nil},
		{[]string{"issuer=https://login.example.com"}, []string{"audience"}},
		{[]string{"issuer=http://login.example.com", "audience=mail"}, []string{"issuer"}},
		{[]string{"issuer=login.example.com?x", "audience=mail"}, []string{"issuer"}},
		{[]string{"issuer=https://login.example.com?x", "audience=mail"}, []string{"issuer"}},
		{[]string{"audience=mail", "scope=x", "domain=example.com", "client-id=x", "client-secret-file=x", "ca=x"},
			[]string{"audience", "scope", "domain", "client-id", "client-secret-file", "ca"}},
		{[]string{"issuer=https://x.test", "audience=mail", "client-id=x", "client-secret-file=x"}, []string{"client-id", "client-secret-file"}},
		{[]string{"issuer=https://x.test", "audience=mail", "claim=", "domain=a b", "ca=" + empty, "clock-skew=1h", "timeout=1ms", "cache-ttl=-1s", "cache-entries=0"},
			[]string{"claim", "domain", "ca", "clock-skew", "timeout", "cache-ttl", "cache-entries"}},
		{[]string{"introspection-url=https://x.test/introspect", "scope=imap", "client-id=x", "client-secret-file=" + secretFile}, nil},
		{[]string{"introspection-url=http://x.test/introspect"}, []string{"introspection-url", "client-id", "client-secret-file", "audience"}},
		{[]string{"introspection-url=https://x.test/", "scope=imap", "client-id=x", "client-secret-file=" + empty}, []string{"client-secret-file"}},
		{[]string{"introspection-url=https://x.test/", "scope=imap", "client-id=x", "client-secret-file=/nowhere"}, []string{"client-secret-file"}},
	} {
		var cfg Config
		fs := pflag.NewFlagSet("directory", pflag.ContinueOnError)
		fs.SetOutput(io.Discard)
		cfg.Flags(fs)
		for _, flag := range tt.flags {
			if err := fs.Parse([]string{"--directory-oauth-" + flag}); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for line := range strings.Lines(fmt.Sprint(config.Check(cfg.Validate()))) {
			if name, found := strings.CutPrefix(line, "--directory-oauth-"); found {
				name, _, _ = strings.Cut(name, ":")
				got = append(got, name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: complaints about %q, want %q\n%v", tt.flags, got, tt.want, config.Check(cfg.Validate()))
		}
	}
}
