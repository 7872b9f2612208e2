package server

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sasl"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	ok          = rpcv1.Reason_REASON_UNSPECIFIED
	failed      = rpcv1.Reason_REASON_AUTHENTICATION_FAILED
	foreign     = rpcv1.Reason_REASON_AUTHORIZATION_FAILED
	expired     = rpcv1.Reason_REASON_CREDENTIALS_EXPIRED
	throttled   = rpcv1.Reason_REASON_THROTTLED
	disabled    = rpcv1.Reason_REASON_ACCOUNT_DISABLED
	unsupported = rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED
	malformed   = rpcv1.Reason_REASON_SASL_MALFORMED
	home        = "192.0.2.1"
	away        = "198.51.100.7"
)

// client runs a go-sasl client against the directory, with its initial response or without.
func (s *system) client(c gosasl.Client, initial bool, protocol string) (*directoryv1.Account, error) {
	s.t.Helper()
	mechanism, ir, err := c.Start()
	if err != nil {
		s.t.Fatal(err)
	}
	start := from(home, protocol)
	start.Mechanism = mechanism
	sent := initial && ir != nil
	if sent {
		start.InitialResponse = ir
	}
	return sasl.Authenticate(s.t.Context(), s.gateway, start, func(challenge []byte) ([]byte, error) {
		if !sent && ir != nil {
			if sent = true; len(challenge) > 0 && mechanism != "LOGIN" {
				s.t.Errorf("challenge %q before the initial response", challenge)
			}
			return ir, nil
		}
		return c.Next(challenge)
	})
}

// scramClient makes a go-sasl client of the SCRAM library.
type scramClient struct{ *scram.ClientConversation }

func newScram(t *testing.T, user, password, authzid string) scramClient {
	t.Helper()
	c, err := scram.SHA256.NewClient(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return scramClient{c.NewConversation()}
}

func (c scramClient) Start() (string, []byte, error) {
	first, err := c.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

func (c scramClient) Next(challenge []byte) ([]byte, error) {
	response, err := c.Step(string(challenge))
	return []byte(response), err
}

func TestMechanisms(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name   string
		client func() gosasl.Client
		want   rpcv1.Reason
	}{
		{"plain", func() gosasl.Client { return gosasl.NewPlainClient("", alice, secret) }, ok},
		{"plain, other spelling", func() gosasl.Client { return gosasl.NewPlainClient("", "Alice@EXAMPLE.test", secret) }, ok},
		{"plain as oneself", func() gosasl.Client { return gosasl.NewPlainClient("ALICE@example.test", alice, secret) }, ok},
		{"plain as another", func() gosasl.Client { return gosasl.NewPlainClient("bob@example.test", alice, secret) }, foreign},
		{"plain as another, wrong", func() gosasl.Client { return gosasl.NewPlainClient("bob@example.test", alice, "wrong") }, failed},
		{"plain, wrong", func() gosasl.Client { return gosasl.NewPlainClient("", alice, "Demo-password") }, failed},
		{"plain, unknown", func() gosasl.Client { return gosasl.NewPlainClient("", "nobody@example.test", secret) }, failed},
		{"plain, no address", func() gosasl.Client { return gosasl.NewPlainClient("", "alice", secret) }, failed},
		{"plain, foreign", func() gosasl.Client { return gosasl.NewPlainClient("", "x@foreign.test", secret) }, failed},
		{"plain, subaddress", func() gosasl.Client { return gosasl.NewPlainClient("", "alice+x@example.test", secret) }, failed},
		{"login", func() gosasl.Client { return gosasl.NewLoginClient(alice, secret) }, ok},
		{"login, wrong", func() gosasl.Client { return gosasl.NewLoginClient(alice, "wrong") }, failed},
		{"login, empty", func() gosasl.Client { return gosasl.NewLoginClient(alice, "") }, malformed},
		{"scram", func() gosasl.Client { return newScram(t, alice, secret, "") }, ok},
		{"scram, other spelling", func() gosasl.Client { return newScram(t, "Alice@Example.Test", secret, "") }, ok},
		{"scram as another", func() gosasl.Client { return newScram(t, alice, secret, "bob@example.test") }, foreign},
		{"scram as another, wrong", func() gosasl.Client { return newScram(t, alice, "wrong", "bob@example.test") }, failed},
		{"scram, wrong", func() gosasl.Client { return newScram(t, alice, "wrong", "") }, failed},
		{"scram, unknown", func() gosasl.Client { return newScram(t, "nobody@example.test", secret, "") }, failed},
		{"unsupported", func() gosasl.Client { return gosasl.NewAnonymousClient("x") }, unsupported},
	} {
		for _, initial := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				account, err := s.client(tt.client(), initial, "pop3")
				if got := s.reason(account, err); got != tt.want {
					t.Errorf("initial response %v: %v (%v), want %v", initial, got, err, tt.want)
				}
				if tt.want == ok && account.GetAddress() != alice {
					t.Errorf("logged in as %q", account.GetAddress())
				}
				s.clock.advance(time.Hour) // so that failures do not add up
			})
		}
	}
	if n := s.metric("yubin_directory_logins_total", "protocol", "pop3", "mechanism", "SCRAM-SHA-256", "result", "ok"); n != 4 {
		t.Errorf("%v logins by SCRAM counted, want 4", n)
	}
}

func TestScramProvesTheServer(t *testing.T) {
	s := start(t)
	c := newScram(t, alice, secret, "")
	if _, err := s.client(c, true, "imap"); err != nil {
		t.Fatal(err)
	}
	if !c.Done() || !c.Valid() {
		t.Error("the client has not verified the server's signature")
	}
}

func TestScramOff(t *testing.T) {
	s := start(t, "--directory-scram=false")
	s.expect("scram", s.reason(s.client(newScram(t, alice, secret, ""), true, "imap")), unsupported)
	s.expect("plain", s.plain(home, alice, secret), ok)
}

// Somebody who tries names learns nothing from SCRAM's first answer.
func TestScramTellsTheSameOfUnknownNames(t *testing.T) {
	s := start(t)
	first := func(user string) (salt, iterations string) {
		t.Helper()
		start := from(home, "imap")
		start.Mechanism = "SCRAM-SHA-256"
		exchange, err := sasl.Start(t.Context(), s.gateway, start)
		if err != nil {
			t.Fatal(err)
		}
		defer exchange.Close()
		challenge, _, err := exchange.Next([]byte("n,,n=" + user + ",r=nonce"))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(string(challenge), ",")
		return fields[1], fields[2]
	}
	salt, iterations := first("nobody@example.test")
	again, _ := first("Nobody@example.test")
	if salt != again {
		t.Error("the salt of an unknown name changes")
	}
	aliceSalt, aliceIterations := first(alice)
	if iterations != aliceIterations || len(salt) != len(aliceSalt) {
		t.Errorf("unknown: %s %s, known: %s %s", salt, iterations, aliceSalt, aliceIterations)
	}
	s.create("nobody@example.test", secret)
	if now, _ := first("nobody@example.test"); now != salt {
		t.Error("the salt tells that the name has become an account")
	}
}

// A client that logs in each minute costs one computation for each life of the cache.
func TestCachedVerification(t *testing.T) {
	s := start(t)
	before := s.computed()
	for range 10 {
		s.expect("login", s.plain(home, alice, secret), ok)
		s.clock.advance(time.Minute - time.Second)
	}
	if n := s.computed() - before; n != 1 {
		t.Errorf("10 logins in 10 minutes cost %d computations, want 1", n)
	}
	s.clock.advance(time.Minute)
	s.expect("after the cache's life", s.plain(home, alice, secret), ok)
	if n := s.computed() - before; n != 2 {
		t.Errorf("%d computations, want 2", n)
	}
	if hits := s.metric("yubin_directory_password_cache_total", "outcome", "hit"); hits != 9 {
		t.Errorf("%v hits, want 9", hits)
	}
}

func TestChangeOfPasswordTakesEffectAtOnce(t *testing.T) {
	s := start(t)
	s.expect("old password", s.plain(home, alice, secret), ok)
	s.setPassword(alice, "another-password")
	s.expect("old password after the change", s.plain(home, alice, secret), failed)
	s.expect("new password", s.plain(home, alice, "another-password"), ok)
	s.expect("new password by SCRAM", s.reason(s.client(newScram(t, alice, "another-password", ""), true, "imap")), ok)
	s.expect("old password by SCRAM", s.reason(s.client(newScram(t, alice, secret, ""), true, "imap")), failed)

	// The account made again under the address is another one.
	if _, err := s.admin.DeleteAccount(t.Context(), &directoryv1.DeleteAccountRequest{Address: alice}); err != nil {
		t.Fatal(err)
	}
	s.expect("deleted", s.plain(home, alice, "another-password"), failed)
	s.create(alice, "third-password")
	s.setPassword(alice, "fourth-password") // the version is that of another-password
	s.expect("password of the deleted account", s.plain(home, alice, "another-password"), failed)
	s.expect("password of the new account", s.plain(home, alice, "fourth-password"), ok)
}

func TestDisabledIsToldOnlyToTheOwner(t *testing.T) {
	s := start(t)
	s.expect("before", s.plain(home, alice, secret), ok)
	set := func(off bool) {
		t.Helper()
		if _, err := s.admin.UpdateAccount(t.Context(), &directoryv1.UpdateAccountRequest{Address: alice, Disabled: &off}); err != nil {
			t.Fatal(err)
		}
	}
	set(true)
	s.expect("right password", s.plain(home, alice, secret), disabled)
	s.expect("right password by SCRAM", s.reason(s.client(newScram(t, alice, secret, ""), true, "imap")), disabled)
	s.expect("wrong password", s.plain(home, alice, "wrong"), failed)
	set(false)
	s.expect("enabled again", s.plain(home, alice, secret), ok)
	d := &directoryv1.Domain{Name: "example.test", Disabled: true}
	if _, err := s.admin.PutDomain(t.Context(), &directoryv1.PutDomainRequest{Domain: d}); err != nil {
		t.Fatal(err)
	}
	s.expect("disabled domain", s.plain(home, alice, secret), disabled)
}

// Whoever guesses must not see from the work done whether the name is an account.
func TestUnknownUserCostsTheSame(t *testing.T) {
	s := start(t)
	s.create("nopassword@example.test", "")
	for i, user := range []string{alice, "nobody@example.test", "x@foreign.test", "not an address", "nopassword@example.test"} {
		before := s.computed()
		s.expect(user, s.plain("203.0.113."+string(rune('1'+i)), user, "wrong"), failed)
		if n := s.computed() - before; n != 1 {
			t.Errorf("%s: %d computations, want 1", user, n)
		}
		// The same again is answered from memory, for all alike.
		before = s.computed()
		s.expect(user, s.plain("203.0.113."+string(rune('1'+i)), user, "wrong"), failed)
		if n := s.computed() - before; n != 0 {
			t.Errorf("%s again: %d computations, want 0", user, n)
		}
	}
	_, known := sasl.Plain(t.Context(), s.gateway, alice, "wrong", from(home, "imap"))
	_, unknown := sasl.Plain(t.Context(), s.gateway, "nobody@example.test", "wrong", from(home, "imap"))
	if fault.Text(known) != fault.Text(unknown) || fault.Code(known) != fault.Code(unknown) {
		t.Errorf("answers differ: %v, %v", known, unknown)
	}
}

func TestThrottling(t *testing.T) {
	s := start(t)
	s.expect("home", s.plain(home, alice, secret), ok)
	for _, user := range []string{alice, "nobody@example.test"} {
		for i := range 6 {
			s.expect("guess", s.plain(away, user, "guess "+string(rune('a'+i))), failed)
		}
		before := s.computed()
		s.expect("too many guesses", s.plain(away, user, "guess g"), throttled)
		s.expect("the right one", s.plain(away, user, secret), throttled)
		c := newScram(t, user, secret, "")
		s.expect("by SCRAM", s.reason(s.client(c, true, "imap")), map[bool]rpcv1.Reason{true: ok, false: failed}[user == alice]) // from home
		if n := s.computed() - before; n != 0 {
			t.Errorf("throttled logins cost %d computations", n)
		}
	}
	s.expect("the owner at home", s.plain(home, alice, secret), ok)
	s.clock.advance(time.Second)
	s.expect("after the delay", s.plain(away, alice, secret), ok)
}

func TestScramIsThrottled(t *testing.T) {
	s := start(t)
	for range 6 {
		s.expect("guess", s.reason(s.client(newScram(t, alice, "wrong", ""), true, "imap")), failed)
	}
	s.expect("right", s.reason(s.client(newScram(t, alice, secret, ""), true, "imap")), throttled)
}

// A phone that still has the old secret, and tries it each minute, must not lock out the PC beside it.
func TestOldPasswordDoesNotLockOut(t *testing.T) {
	s := start(t)
	for range 100 {
		s.expect("old password", s.plain(home, alice, "old-password"), failed)
	}
	s.expect("right password", s.plain(home, alice, secret), ok)
}

func TestAppPasswords(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	app := func(label string, protocols ...string) *directoryv1.CreateAppPasswordResponse {
		t.Helper()
		resp, err := s.admin.CreateAppPassword(ctx, &directoryv1.CreateAppPasswordRequest{Address: alice, Label: label, Protocols: protocols})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	phone, pc := app("phone", "imap", "smtp"), app("PC")
	before := s.computed()
	for _, p := range []*directoryv1.CreateAppPasswordResponse{phone, pc} {
		s.expect("plain", s.plain(home, alice, p.GetPassword()), ok)
		s.expect("without hyphens", s.plain(home, alice, strings.ReplaceAll(p.GetPassword(), "-", "")), ok)
		s.expect("scram", s.reason(s.client(newScram(t, alice, p.GetPassword(), ""), true, "imap")), ok)
	}
	if n := s.computed() - before; n != 0 {
		t.Errorf("app passwords cost %d computations of argon2", n)
	}
	s.expect("other protocol", s.reason(sasl.Plain(ctx, s.gateway, alice, phone.GetPassword(), from(home, "pop3"))), failed)
	s.expect("other protocol by SCRAM", s.reason(s.client(newScram(t, alice, phone.GetPassword(), ""), true, "pop3")), failed)
	s.create("bob@example.test", "")
	s.expect("other account", s.plain(home, "bob@example.test", pc.GetPassword()), failed)

	used := func() (out []int64) {
		t.Helper()
		resp, err := s.admin.ListAppPasswords(ctx, &directoryv1.ListAppPasswordsRequest{Address: alice})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range resp.GetAppPasswords() {
			out = append(out, p.GetLastUsedUnix())
		}
		return out
	}
	first := s.clock.now().Unix()
	s.clock.advance(59 * time.Minute)
	s.expect("again", s.plain(home, alice, pc.GetPassword()), ok)
	for _, at := range used() {
		if at != first {
			t.Errorf("last used at %d, want %d: a use within the hour is no write", at, first)
		}
	}
	s.clock.advance(time.Minute)
	s.expect("an hour later", s.plain(home, alice, pc.GetPassword()), ok)
	if n := s.metric("yubin_directory_sql_transaction_seconds", "class", "touch_app_password"); n != 3 {
		t.Errorf("%v writes of a last use, want 3", n)
	}

	s.setPassword(alice, "another-password")
	s.expect("after a change of the password", s.plain(home, alice, pc.GetPassword()), ok)
	if _, err := s.admin.DeleteAppPassword(ctx, &directoryv1.DeleteAppPasswordRequest{Address: alice, Id: pc.GetAppPassword().GetId()}); err != nil {
		t.Fatal(err)
	}
	s.expect("deleted", s.plain(home, alice, pc.GetPassword()), failed)
	s.expect("deleted by SCRAM", s.reason(s.client(newScram(t, alice, pc.GetPassword(), ""), true, "imap")), failed)
	s.expect("the other", s.plain(home, alice, phone.GetPassword()), ok)
}

// Stored passwords follow new costs at the next login, and SCRAM's numbers outlive a change of the setting.
func TestCostsFollowTheSettings(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.admin.PutDomain(t.Context(), &directoryv1.PutDomainRequest{Domain: &directoryv1.Domain{Name: "example.test"}}); err != nil {
		t.Fatal(err)
	}
	s.create(alice, secret)
	raised := open(t, dir, "--directory-argon2-time=2", "--directory-scram-iterations=20000", "--directory-password-cache-ttl=0")
	before := raised.computed()
	raised.expect("first", raised.plain(home, alice, secret), ok)
	if n := raised.computed() - before; n != 2 { // one to verify, one to renew
		t.Errorf("%d computations at the first login, want 2", n)
	}
	raised.expect("second", raised.plain(home, alice, secret), ok)
	if n := raised.computed() - before; n != 3 {
		t.Errorf("%d computations until the second login, want 3", n)
	}
	raised.expect("scram", raised.reason(raised.client(newScram(t, alice, secret, ""), true, "imap")), ok)
}

func TestConcurrentLogins(t *testing.T) {
	s := start(t, "--directory-argon2-parallel=1", "--directory-argon2-wait=1m")
	before := s.computed()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			account, err := sasl.Plain(context.WithoutCancel(t.Context()), s.gateway, alice, secret, from(home, "imap"))
			if err != nil || account.GetAddress() != alice {
				t.Errorf("login %d: %v, %v", i, account, err)
			}
		})
	}
	wg.Wait()
	if n := s.computed() - before; n != 1 {
		t.Errorf("20 logins at once cost %d computations, want 1", n)
	}
}

// Guesses made at once are held to the same number as those made one after the other.
func TestConcurrentGuessesAreThrottled(t *testing.T) {
	s := start(t, "--directory-argon2-parallel=2", "--directory-argon2-wait=1m")
	before := s.computed()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := sasl.Plain(context.WithoutCancel(t.Context()), s.gateway, alice, "guess "+string(rune('a'+i)), from(away, "imap"))
			if r := fault.Reason(err); r != failed && r != throttled {
				t.Errorf("guess: %v", err)
			}
		})
	}
	wg.Wait()
	if n := s.computed() - before; n > 5+1+1 { // the free ones, the one that brings the delay, and one that was begun beside it
		t.Errorf("%d guesses were computed", n)
	}
}

func TestMalformedExchanges(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		mechanism string
		responses []string
	}{
		{"PLAIN", []string{""}},
		{"PLAIN", []string{"alice\x00password"}},
		{"PLAIN", []string{"\x00\x00password"}},
		{"PLAIN", []string{"\x00" + alice + "\x00"}},
		{"PLAIN", []string{"\x00" + alice + "\x00x\x00y"}},
		{"PLAIN", []string{"\x00\xff\x00password"}},
		{"PLAIN", []string{strings.Repeat("a", sasl.MaxMessage+1)}},
		{"LOGIN", []string{"", secret}},
		{"LOGIN", []string{alice, ""}},
		{"SCRAM-SHA-256", []string{"n,,n=x"}},
		{"SCRAM-SHA-256", []string{"p=tls-unique,,n=" + alice + ",r=abc"}},
		{"SCRAM-SHA-256", []string{"n,,n=a=b,r=abc"}},
		{"SCRAM-SHA-256", []string{"n,,n=" + alice + ",r=abc", "nonsense"}},
		{"SCRAM-SHA-256", []string{"n,,n=" + alice + ",r=abc", ""}},
		{"SCRAM-SHA-256", []string{"n,,m=x,n=" + alice + ",r=abc"}},
		{"SCRAM-SHA-256", []string{"n,,n=" + alice + ",r=abc,m=x"}},
		{"SCRAM-SHA-256", []string{"n,,n=" + alice + ",r=abc", "c=biws,r=abc,m=x,p=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}},
	} {
		start := from(home, "imap")
		start.Mechanism = tt.mechanism
		exchange, err := sasl.Start(t.Context(), s.gateway, start)
		if err != nil {
			t.Fatal(err)
		}
		for i, response := range tt.responses {
			_, done, err := exchange.Next([]byte(response))
			last := i == len(tt.responses)-1
			if done != nil || (err != nil) != last || (last && !fault.Is(err, malformed)) {
				t.Errorf("%s %q, message %d: %v, %v", tt.mechanism, tt.responses, i, done, err)
			}
		}
		exchange.Close()
	}
}

func TestStartIsChecked(t *testing.T) {
	s := start(t)
	for name, request := range map[string]*directoryv1.AuthenticateRequest{
		"response first": {Message: &directoryv1.AuthenticateRequest_Response{Response: []byte("x")}},
		"protocol":       {Message: &directoryv1.AuthenticateRequest_Start_{Start: &directoryv1.AuthenticateRequest_Start{Mechanism: "PLAIN", Protocol: "x"}}},
		"client address": {Message: &directoryv1.AuthenticateRequest_Start_{Start: &directoryv1.AuthenticateRequest_Start{Mechanism: "PLAIN", Protocol: "imap", ClientIp: "x"}}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := s.gateway.Authenticate(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !fault.Is(err, malformed) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// A client that stalls is left after the time limit.
func TestExchangeTimesOut(t *testing.T) {
	s := start(t, "--directory-exchange-timeout=1s")
	stream, err := s.gateway.Authenticate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	login := from(home, "imap")
	login.Mechanism = "LOGIN"
	if err := stream.Send(&directoryv1.AuthenticateRequest{Message: &directoryv1.AuthenticateRequest_Start_{Start: login}}); err != nil {
		t.Fatal(err)
	}
	if resp, err := stream.Recv(); err != nil || string(resp.GetChallenge()) != "Username:" {
		t.Fatalf("challenge %v, %v", resp, err)
	}
	if _, err := stream.Recv(); fault.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}
