package throttle

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/config"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newThrottle(t *testing.T, o Options) (*Throttle, *clock) {
	t.Helper()
	c := &clock{time.Unix(1_700_000_000, 0)}
	o.Now = c.now
	if o.HostFailures == 0 {
		o.HostFailures, o.NetworkFailures, o.AccountFailures = 3, 10, 20
	}
	o.MaxDelay = 15 * time.Minute
	if o.Entries == 0 {
		o.Entries = 1000
	}
	return New(o), c
}

func account(name string) (a Account) {
	copy(a[:], name)
	return a
}

var (
	alice, bob = account("alice"), account("bob")
	home       = netip.MustParseAddr("192.0.2.1")
	neighbour  = netip.MustParseAddr("192.0.2.200")
	far        = netip.MustParseAddr("198.51.100.1")
)

func expect(t *testing.T, th *Throttle, a Account, ip netip.Addr, want time.Duration) {
	t.Helper()
	wait, allowed := th.Allow(a, ip)
	if wait != want || allowed != (want == 0) {
		t.Fatalf("wait %v, allowed %v, want a wait of %v", wait, allowed, want)
	}
}

func fail(th *Throttle, n int, a Account, ip netip.Addr) {
	for range n {
		th.Fail(a, ip)
	}
}

func TestDelayGrowsAndIsForgotten(t *testing.T) {
	th, c := newThrottle(t, Options{})
	fail(th, 3, alice, home)
	expect(t, th, alice, home, 0)
	for _, delay := range []time.Duration{1, 2, 4, 8, 16, 32} {
		th.Fail(alice, home)
		expect(t, th, alice, home, delay*time.Second)
		c.t = c.t.Add(delay*time.Second - 1)
		expect(t, th, alice, home, 1)
		c.t = c.t.Add(1)
		expect(t, th, alice, home, 0)
	}
	fail(th, 40, alice, home)
	expect(t, th, alice, home, 15*time.Minute)
	expect(t, th, bob, far, 0)
	c.t = c.t.Add(24 * time.Hour)
	fail(th, 3, alice, home)
	expect(t, th, alice, home, 0)
}

func TestSuccessClearsTheHostOnly(t *testing.T) {
	th, c := newThrottle(t, Options{})
	fail(th, 4, alice, home)
	c.t = c.t.Add(time.Second)
	th.Succeed(alice, home)
	fail(th, 3, alice, home)
	expect(t, th, alice, home, 0)

	// An attacker's own account does not clear the network.
	for i := range 11 {
		th.Fail(account(fmt.Sprint(i)), far)
	}
	th.Succeed(bob, far)
	expect(t, th, account("victim"), far, time.Second)
}

func TestNetworkScope(t *testing.T) {
	th, _ := newThrottle(t, Options{})
	th.Succeed(bob, neighbour)
	for i := range 11 { // one password on many accounts
		th.Fail(account(fmt.Sprint(i)), home)
	}
	expect(t, th, account("new"), home, time.Second)
	expect(t, th, account("new"), neighbour, time.Second)
	expect(t, th, account("new"), far, 0)
	// Bob, who has logged in from next door before, is not locked out.
	expect(t, th, bob, neighbour, 0)
}

func TestOwnerIsNotLockedOutByDistributedAttack(t *testing.T) {
	th, _ := newThrottle(t, Options{})
	th.Succeed(alice, home)
	for i := range 200 {
		th.Fail(alice, netip.AddrFrom4([4]byte{203, 0, byte(i), 1}))
	}
	if _, allowed := th.Allow(alice, far); allowed {
		t.Error("a distributed attack is not slowed down")
	}
	expect(t, th, alice, home, 0)
	expect(t, th, bob, far, 0)
}

func TestIPv6CountsBy64(t *testing.T) {
	th, _ := newThrottle(t, Options{})
	for i := range 4 {
		th.Fail(alice, netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1::%x", i)))
	}
	expect(t, th, alice, netip.MustParseAddr("2001:db8:0:1::ffff"), time.Second)
	expect(t, th, alice, netip.MustParseAddr("2001:db8:0:2::1"), 0)
	// An address mapped into IPv6 is the same host.
	fail(th, 4, alice, home)
	expect(t, th, alice, netip.MustParseAddr("::ffff:192.0.2.1"), time.Second)
}

func TestExemptNetwork(t *testing.T) {
	exempt, err := config.ParsePrefixes("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	th, _ := newThrottle(t, Options{Exempt: exempt})
	th.Succeed(alice, home)
	fail(th, 20, alice, home)
	expect(t, th, alice, home, 0)
	expect(t, th, bob, home, 0)
	th.Fail(alice, home) // the scope of the account holds still
	expect(t, th, alice, home, time.Second)
}

func TestUnknownAddressIsOneHost(t *testing.T) {
	th, _ := newThrottle(t, Options{})
	fail(th, 4, alice, netip.Addr{})
	expect(t, th, alice, netip.Addr{}, time.Second)
	expect(t, th, alice, home, 0)
}

func TestMemoryIsBounded(t *testing.T) {
	th, _ := newThrottle(t, Options{Entries: 10})
	for i := range 1000 {
		a := account(fmt.Sprint(i))
		ip := netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 1, 1})
		th.Fail(a, ip)
		th.Succeed(a, ip)
	}
	for name, n := range map[string]int{
		"hosts": th.hosts.entries.Len(), "networks": th.networks.entries.Len(), "accounts": th.accounts.entries.Len(), "good": th.good.Len(),
	} {
		if n > 10 {
			t.Errorf("%s: %d entries", name, n)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	th, _ := newThrottle(t, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				th.Allow(alice, home)
				th.Fail(alice, home)
				if i == 0 {
					th.Succeed(alice, home)
				}
			}
		})
	}
	wg.Wait()
	th.Succeed(alice, home)
	expect(t, th, alice, home, 0)
}
