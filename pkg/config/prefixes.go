package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"
)

// Prefixes is a list of IP networks. It implements pflag.Value and pflag.SliceValue.
type Prefixes []netip.Prefix

// ParsePrefixes reads networks separated by commas; a bare address is a network of one.
func ParsePrefixes(s string) (Prefixes, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	return parsePrefixes(strings.Split(s, ","))
}

func parsePrefixes(items []string) (Prefixes, error) {
	out := make(Prefixes, 0, len(items))
	for _, item := range items {
		p, err := parsePrefix(strings.TrimSpace(item))
		if err != nil {
			return nil, fmt.Errorf("%q is no network; write for example 10.0.0.0/8,2001:db8::/32", item)
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return p.Masked(), nil
}

// Contains tells whether an address is in one of the networks. IPv4-mapped
// IPv6 addresses count as IPv4.
func (p Prefixes) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// String implements pflag.Value.
func (p Prefixes) String() string { return strings.Join(p.GetSlice(), ",") }

// Set implements pflag.Value and replaces the whole list.
func (p *Prefixes) Set(text string) error {
	v, err := ParsePrefixes(text)
	if err != nil {
		return err
	}
	*p = v
	return nil
}

// Type implements pflag.Value.
func (*Prefixes) Type() string { return "networks" }

// Append implements pflag.SliceValue.
func (p *Prefixes) Append(text string) error {
	v, err := ParsePrefixes(text)
	if err != nil {
		return err
	}
	*p = append(*p, v...)
	return nil
}

// Replace implements pflag.SliceValue.
func (p *Prefixes) Replace(items []string) error {
	v, err := parsePrefixes(items)
	if err != nil {
		return err
	}
	*p = v
	return nil
}

// GetSlice implements pflag.SliceValue.
func (p Prefixes) GetSlice() []string {
	out := make([]string, len(p))
	for i, prefix := range p {
		out[i] = prefix.String()
	}
	return out
}

// PrefixesVar declares a flag of type Prefixes.
func PrefixesVar(fs *pflag.FlagSet, p *Prefixes, name string, value Prefixes, usage string) {
	*p = value
	fs.Var(p, name, usage)
}
