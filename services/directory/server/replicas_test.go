package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// twoReplicas gives two directories on one PostgreSQL database.
func twoReplicas(t *testing.T, url string, flags ...string) (one, other *system) {
	t.Helper()
	flags = append(flags, "--directory-database-url="+url)
	one = start(t, flags...)
	return one, open(t, "/nonexistent/no-data-directory", flags...)
}

func TestReplicasHonourChangesAtOnce(t *testing.T) {
	one, other := twoReplicas(t, postgres.Start(t).Database(t))
	const home = "192.0.2.1"
	for range 2 { // the second time from the memory of checked passwords
		for _, s := range []*system{one, other} {
			s.expect("the password", s.plain(home, alice, secret), rpcv1.Reason_REASON_UNSPECIFIED)
		}
	}
	one.setPassword(alice, "another password")
	other.expect("the old password", other.plain(home, alice, secret), rpcv1.Reason_REASON_AUTHENTICATION_FAILED)
	other.expect("the new password", other.plain(home, alice, "another password"), rpcv1.Reason_REASON_UNSPECIFIED)
	other.expect("SCRAM", other.reason(other.client(newScram(t, alice, "another password", ""), true, "imap")), rpcv1.Reason_REASON_UNSPECIFIED)
	disabled := true
	if _, err := one.admin.UpdateAccount(t.Context(), &directoryv1.UpdateAccountRequest{Address: alice, Disabled: &disabled}); err != nil {
		t.Fatal(err)
	}
	other.expect("a disabled account", other.plain(home, alice, "another password"), rpcv1.Reason_REASON_ACCOUNT_DISABLED)
}

func TestReplicasShareTheThrottle(t *testing.T) {
	url := postgres.Start(t).Database(t)
	one, other := twoReplicas(t, url, "--directory-throttle-failures=4")
	exchange := func() {
		t.Helper()
		for range 2 { // each hears what the other has told
			for _, s := range []*system{one, other} {
				if err := s.server.sharer.Exchange(t.Context(), s.server.throttle); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const guesser, home = "198.51.100.7", "192.0.2.1"
	one.expect("the owner", one.plain(home, alice, secret), rpcv1.Reason_REASON_UNSPECIFIED)
	for i := range 6 {
		s := []*system{one, other}[i%2]
		if got := s.plain(guesser, alice, fmt.Sprint("guess ", i)); i < 5 {
			s.expect("a guess", got, rpcv1.Reason_REASON_AUTHENTICATION_FAILED)
		} else {
			s.expect("the sixth guess", got, rpcv1.Reason_REASON_THROTTLED)
		}
		exchange()
	}
	for _, s := range []*system{one, other} {
		s.expect("another guess", s.plain(guesser, alice, "another guess"), rpcv1.Reason_REASON_THROTTLED)
		s.expect("the owner", s.plain(home, alice, secret), rpcv1.Reason_REASON_UNSPECIFIED)
	}
	// A replica that starts knows what the others know.
	late := open(t, "", "--directory-throttle-failures=4", "--directory-database-url="+url)
	if err := late.server.sharer.Exchange(t.Context(), late.server.throttle); err != nil {
		t.Fatal(err)
	}
	late.expect("a guess at a new replica", late.plain(guesser, alice, "yet another"), rpcv1.Reason_REASON_THROTTLED)
	for _, s := range []*system{one, other} {
		s.clock.advance(2 * time.Second)
	}
	one.expect("the owner at the guesser's host", one.plain(guesser, alice, secret), rpcv1.Reason_REASON_UNSPECIFIED)
	exchange()
	other.expect("a mistype there", other.plain(guesser, alice, "mistyped"), rpcv1.Reason_REASON_AUTHENTICATION_FAILED)
	other.expect("and then the right one", other.plain(guesser, alice, secret), rpcv1.Reason_REASON_UNSPECIFIED)
}
