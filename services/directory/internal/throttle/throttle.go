// Package throttle slows down the guessing of passwords without giving anybody the means to lock an owner out.
//
// Failures are counted in three scopes, each with exponential delay once it has had its free ones:
//
//   - an account from one host (IPv4 address, IPv6 /64): the ordinary guesser. Strict, as it harms only whoever shares the host.
//   - a network (IPv4 /24, IPv6 /48) over all accounts: one password tried on many accounts, or a host that walks through its network. Wide, as
//     offices and mobile carriers share addresses.
//   - an account from everywhere: the distributed guesser. Wide too.
//
// The two wide scopes do not hold for a host from which the account has logged in before: so an attacker who keeps an account's
// scope full from elsewhere slows down only the owner's logins from new places, and then at most by the longest delay,
// which is minutes, not for good. A program with an old password does not fill a scope, as the caller counts one wrong password once (package login).
//
// Counts are in the bounded memory of each process: a flood of addresses makes it forget the scopes used least recently, which leaves guessing
// many orders of magnitude too slow for a password that is not on a list. Replicas tell each other what they have counted (Sharer), so
// that a guesser has no more tries with more of them, but for those of the second or so until the others have heard.
package throttle

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Options of a Throttle.
type Options struct {
	// Failures that are free: of an account from one host, of a network, of an account from everywhere.
	HostFailures, NetworkFailures, AccountFailures int
	// MaxDelay is the longest delay. The first is 1 s, each further failure doubles it.
	MaxDelay time.Duration
	// Exempt networks (a webmail server's) have no scopes of host and network.
	Exempt config.Prefixes
	// Entries bounds how many entries each scope remembers.
	Entries    int
	Now        func() time.Time
	Registerer prometheus.Registerer // may be nil
	// Changed is called for what other replicas should know. It must not block. May be nil.
	Changed func(Event)
}

// Event is a login that failed, or one that changed what is known of an account at a host.
type Event struct {
	At      time.Time
	Account Account
	IP      netip.Addr // the zero Addr if not known
	Success bool
}

// Account identifies an account, or a name that is none, in bounded space.
type Account [32]byte

// host is an account at a host.
type host struct {
	account Account
	prefix  netip.Prefix
}

// Throttle counts failures. It is safe for concurrent use.
type Throttle struct {
	now     func() time.Time
	changed func(Event)
	exempt  config.Prefixes
	blocked *prometheus.CounterVec

	mu       sync.Mutex
	hosts    *scope[host]
	networks *scope[netip.Prefix]
	accounts *scope[Account]
	// good has the hosts from which an account has logged in.
	good *simplelru.LRU[host, struct{}]
}

// New makes a Throttle.
func New(o Options) *Throttle {
	if o.Changed == nil {
		o.Changed = func(Event) {}
	}
	return &Throttle{
		now:     o.Now,
		changed: o.Changed,
		exempt:  o.Exempt,
		blocked: telemetry.Zero(telemetry.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: "directory", Name: "throttled_total", Help: "Logins refused because of earlier failures, by scope.",
		}, []string{"scope"})), "host", "network", "account"),
		hosts:    newScope[host](o.HostFailures, 5*time.Minute, o.MaxDelay, o.Entries),
		networks: newScope[netip.Prefix](o.NetworkFailures, time.Minute, o.MaxDelay, o.Entries),
		accounts: newScope[Account](o.AccountFailures, time.Minute, o.MaxDelay, o.Entries),
		good:     newLRU[host, struct{}](o.Entries),
	}
}

// Allow tells whether a login may be tried now, and if not, in which time.
func (t *Throttle) Allow(account Account, ip netip.Addr) (wait time.Duration, allowed bool) {
	h, network := t.place(account, ip)
	exempt := t.exempt.Contains(ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	name := "host"
	if !exempt {
		wait = t.hosts.wait(h, now)
	}
	if _, good := t.good.Get(h); !good {
		if w := t.networks.wait(network, now); w > wait && !exempt {
			name, wait = "network", w
		}
		if w := t.accounts.wait(account, now); w > wait {
			name, wait = "account", w
		}
	}
	if wait <= 0 {
		return 0, true
	}
	t.blocked.WithLabelValues(name).Inc()
	return wait, false
}

// Fail counts a failure.
func (t *Throttle) Fail(account Account, ip netip.Addr) {
	e := Event{At: t.now(), Account: account, IP: ip}
	t.Apply(e)
	t.changed(e)
}

// Succeed forgets the account's failures from the host. The wide scopes stay, or else an attacker could clear them with a login of their own.
func (t *Throttle) Succeed(account Account, ip netip.Addr) {
	e := Event{At: t.now(), Account: account, IP: ip, Success: true}
	if t.Apply(e) {
		t.changed(e)
	}
}

// Apply takes an event into account, also one that another replica has counted. It tells whether it changed anything.
func (t *Throttle) Apply(e Event) (changed bool) {
	h, network := t.place(e.Account, e.IP)
	exempt := t.exempt.Contains(e.IP)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Success {
		changed = t.hosts.entries.Remove(h)
		if !exempt { // one that serves everybody vouches for nobody
			changed = changed || !t.good.Contains(h)
			t.good.Add(h, struct{}{})
		}
		return changed
	}
	t.accounts.fail(e.Account, e.At)
	if !exempt {
		t.hosts.fail(h, e.At)
		t.networks.fail(network, e.At)
	}
	return true
}

func (t *Throttle) place(account Account, ip netip.Addr) (h host, network netip.Prefix) {
	ip = ip.Unmap().WithZone("")
	narrow, wide := 32, 24
	if ip.Is6() {
		narrow, wide = 64, 48
	}
	// The zero Addr gives zero prefixes: clients without an address share one.
	hostPrefix, _ := ip.Prefix(narrow)
	network, _ = ip.Prefix(wide)
	return host{account, hostPrefix}, network
}

// scope counts the failures of keys of one kind.
type scope[K comparable] struct {
	free     int
	forget   time.Duration // after which one failure is forgotten
	maxDelay time.Duration
	entries  *simplelru.LRU[K, entry]
}

type entry struct {
	failures    int
	last, until time.Time
}

func newScope[K comparable](free int, forget, maxDelay time.Duration, size int) *scope[K] {
	return &scope[K]{free, forget, maxDelay, newLRU[K, entry](size)}
}

func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	lru, err := simplelru.NewLRU[K, V](max(size, 1), nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return lru
}

func (s *scope[K]) wait(key K, now time.Time) time.Duration {
	e, _ := s.entries.Get(key)
	return e.until.Sub(now)
}

func (s *scope[K]) fail(key K, now time.Time) {
	e, _ := s.entries.Get(key)
	if now.Before(e.last) { // another replica's failure comes late
		now = e.last
	}
	if forgotten := now.Sub(e.last) / s.forget; forgotten >= time.Duration(e.failures) {
		e.failures = 0
	} else {
		e.failures -= int(forgotten)
	}
	e.failures++
	e.last = now
	if over := e.failures - s.free; over > 0 {
		delay := s.maxDelay
		if over <= 20 { // 2^20 s are longer than any delay
			delay = min(delay, time.Second<<(over-1))
		}
		e.until = now.Add(delay)
	}
	s.entries.Add(key, e)
}
