package listen

import (
	"net/netip"
	"sync"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
)

// Limits bound the open connections of a gateway.
type Limits struct {
	MaxConns           int // over all clients
	MaxConnsPerNetwork int // of one client network
	NetworkBitsV4      int // prefix length of a client network in IPv4
	NetworkBitsV6      int // prefix length of a client network in IPv6
}

// Flags declares the limits as <prefix>-max-connections and so on.
func (l *Limits) Flags(fs *pflag.FlagSet, prefix string) {
	fs.IntVar(&l.MaxConns, prefix+"-max-connections", 20000, "open connections over all clients")
	fs.IntVar(&l.MaxConnsPerNetwork, prefix+"-max-connections-per-network", 100, "open connections of one client network")
	fs.IntVar(&l.NetworkBitsV4, prefix+"-network-bits-v4", 32, "prefix length that makes IPv4 addresses one client network")
	fs.IntVar(&l.NetworkBitsV6, prefix+"-network-bits-v6", 64, "prefix length that makes IPv6 addresses one client network")
}

// Validate tells what is wrong with the limits that Flags declared under prefix.
func (l *Limits) Validate(prefix string) []error {
	errs := config.AtLeast(nil, prefix+"-max-connections", l.MaxConns, 1)
	errs = config.AtLeast(errs, prefix+"-max-connections-per-network", l.MaxConnsPerNetwork, 1)
	errs = config.Between(errs, prefix+"-network-bits-v4", l.NetworkBitsV4, 8, 32)
	return config.Between(errs, prefix+"-network-bits-v6", l.NetworkBitsV6, 16, 128)
}

// Limiter counts the open connections of all listeners that share it.
type Limiter struct {
	limits Limits

	mu        sync.Mutex
	total     int
	byNetwork map[netip.Prefix]int
}

// NewLimiter makes a limiter.
func NewLimiter(limits Limits) *Limiter {
	return &Limiter{limits: limits, byNetwork: map[netip.Prefix]int{}}
}

// Reasons for which a connection is refused, as metric labels.
const (
	reasonTotal     = "total"
	reasonNetwork   = "network"
	reasonUntrusted = "untrusted_proxy"
	reasonHeader    = "proxy_header"
)

// acquireTotal counts a connection before its client is known.
func (l *Limiter) acquireTotal() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.limits.MaxConns {
		return false
	}
	l.total++
	return true
}

func (l *Limiter) releaseTotal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
}

// acquireNetwork counts a connection to its client's network.
func (l *Limiter) acquireNetwork(network netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byNetwork[network] >= l.limits.MaxConnsPerNetwork {
		return false
	}
	l.byNetwork[network]++
	return true
}

func (l *Limiter) releaseNetwork(network netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byNetwork[network]--; l.byNetwork[network] <= 0 {
		delete(l.byNetwork, network)
	}
}

// network gives the client network of an address. Addresses that are no IP are one network together.
func (l *Limiter) network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := l.limits.NetworkBitsV6
	if addr.Is4() {
		bits = l.limits.NetworkBitsV4
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
