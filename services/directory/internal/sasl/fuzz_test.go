package sasl

import (
	"bytes"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

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
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Store: s, Hasher: h, Keys: keys, CacheTTL: time.Minute, CacheEntries: 100,
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
	} {
		f.Add(i%3, script)
	}
	l := newLogin(f)
	client := login.Client{IP: netip.MustParseAddr("192.0.2.1"), Protocol: "imap"}
	names := []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}
	f.Fuzz(func(t *testing.T, which int, script string) {
		name := names[uint(which)%uint(len(names))]
		mechanism, err := New(name, l, client, nil)
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
