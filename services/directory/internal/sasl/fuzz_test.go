package sasl

import (
	"bytes"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/login"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// newLogin makes a directory with the account alice@example.test, whose password is demo-password.
func newLogin(tb testing.TB) *login.Login {
	tb.Helper()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	db, err := sqldb.OpenSQLite(filepath.Join(tb.TempDir(), "directory.db"), sqldb.Options{})
	check(err)
	s, err := store.Open(tb.Context(), db)
	check(err)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	keys, err := login.LoadKeys(tb.Context(), s, password.MinScramIterations, true)
	check(err)
	h := password.NewHasher(password.Params{Memory: 8, Time: 1, Threads: 1}, 4, time.Minute, nil)
	_, err = s.PutDomain(tb.Context(), store.Domain{Name: "example.test"}, 1)
	check(err)
	alice := address.Address{Local: "alice", Domain: "example.test"}
	credentials, err := keys.Credentials(tb.Context(), h, alice, "demo-password")
	check(err)
	_, err = s.CreateAccount(tb.Context(), store.Account{ID: "1", Address: alice, Credentials: credentials})
	check(err)
	return login.New(login.Options{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Store: s, Hasher: h, Keys: keys, CacheTTL: time.Minute, CacheEntries: 100, Bind: true,
		Throttle: throttle.New(throttle.Options{
			HostFailures: 1 << 30, NetworkFailures: 1 << 30, AccountFailures: 1 << 30, MaxDelay: time.Minute, Entries: 100, Now: time.Now,
		}),
	})
}

// FuzzMechanisms sends lines as responses: an exchange ends in few steps, with a success only for the right password, or with an error that has a reason.
func FuzzMechanisms(f *testing.F) {
	for i, script := range []string{
		"\x00alice@example.test\x00demo-password", "alice@example.test\ndemo-password", "n,,n=alice@example.test,r=abc\nc=biws,r=abc,p=AAAA",
		"n,a=alice@example.test,n=alice@example.test,r=abc\nc=biws,r=,p=", "\n\n\n", "y,,n=a=2Cb,r=x\n\n",
		"p=tls-exporter,,n=alice@example.test,r=abc\nc=cD10bHMtZXhwb3J0ZXIsLGRhdGE=,r=abc,p=AAAA", "p=tls-unique,,n=a,r=b", "y,,n=a,r=b",
	} {
		f.Add(i%4, script)
		f.Add(3, script)
	}
	l := newLogin(f)
	client := login.Client{IP: netip.MustParseAddr("192.0.2.1"), Protocol: "imap"}
	names := []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
	bindings := []scram.ChannelBinding{{Type: scram.ChannelBindingTLSExporter, Data: []byte("data")}}
	f.Fuzz(func(t *testing.T, which int, script string) {
		name := names[uint(which)%uint(len(names))]
		mechanism, err := New(name, l, client, bindings)
		if err != nil {
			t.Fatal(err)
		}
		for i, response := range bytes.Split([]byte(script), []byte("\n")) {
			_, done, err := mechanism.Next(t.Context(), response)
			switch {
			case err != nil && fault.Reason(err) == rpcv1.Reason_REASON_UNSPECIFIED:
				t.Fatalf("%s: error without a reason: %v", name, err)
			case done != nil && !bytes.Contains([]byte(script), []byte("demo-password")):
				t.Fatalf("%s: logged in with %q", name, script)
			case done != nil && done.Account.ID != "1":
				t.Fatalf("%s: logged in as %+v", name, done.Account)
			case err != nil || done != nil:
				return
			case i == 2:
				t.Fatalf("%s: no end after %d responses", name, i+1)
			}
		}
	})
}

// FuzzBearer checks that the messages of OAuth give a token as RFC 6750 has it, and a name without NUL, or the error that they are malformed.
func FuzzBearer(f *testing.F) {
	for _, message := range []string{
		"n,a=alice@example.test,\x01host=imap.example.test\x01port=993\x01auth=Bearer abc.d-e_f==\x01\x01", "y,,\x01auth=\x01\x01", "n,a=a=2Cb=3D,\x01auth=bearer x\x01\x01",
		"user=alice@example.test\x01auth=Bearer abc\x01\x01", "user=\x01\x01", "\x01\x01\x01",
	} {
		f.Add([]byte(message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, parse := range []func([]byte) (string, string, error){parseBearer, parseXOAuth2} {
			name, token, err := parse(message)
			switch {
			case err != nil && fault.Reason(err) != rpcv1.Reason_REASON_SASL_MALFORMED:
				t.Fatalf("%q: %v", message, err)
			case err == nil && token != "" && !isToken(token):
				t.Fatalf("%q gives the token %q", message, token)
			case err == nil && bytes.Contains([]byte(name), []byte{0}):
				t.Fatalf("%q gives the name %q", message, name)
			}
		}
	})
}
