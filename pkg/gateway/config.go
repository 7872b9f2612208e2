// Package gateway is what the gateways have in common: the settings of their listeners, and the frame in which sessions are
// accepted, served and ended.
package gateway

import (
	"crypto/tls"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/listen"
)

// Config are the settings that every gateway has.
type Config struct {
	Hostname string

	// TrustedProxies are those that may connect to the listeners behind a proxy.
	TrustedProxies config.Prefixes

	TLSCert, TLSKey string
	InsecureAuth    bool

	Limits listen.Limits

	DrainWindow  time.Duration
	DrainTimeout time.Duration
}

// Listener is one way into a gateway, and the same behind a proxy that speaks the PROXY protocol.
type Listener struct {
	// Name stands in metrics and logs, such as imaps. Behind a proxy -proxy is added.
	Name string
	// Flag is the flag that sets Addr, without "-listen". With -proxy added it sets ProxyAddr.
	Flag string
	// Addr is set by Flags to Default (host:port), and to what is configured. Empty is off.
	Addr    *string
	Default string
	// ProxyAddr is the same behind a proxy; nil if there is no such listener.
	ProxyAddr *string
	// Usage describes the listener.
	Usage string
	// TLS begins with the connection.
	TLS bool
	// Login says that nothing can be done without it.
	Login bool
}

// Flags declares the settings of a gateway and its listeners.
func (c *Config) Flags(fs *pflag.FlagSet, service string, listeners []Listener) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	fs.StringVar(&c.Hostname, service+"-hostname", hostname, "full domain name of this server, as it calls itself")
	for _, l := range listeners {
		fs.StringVar(l.Addr, l.Flag+"-listen", l.Default, l.Usage+"; empty: off")
	}
	for _, l := range listeners {
		if l.ProxyAddr != nil {
			fs.StringVar(l.ProxyAddr, l.Flag+"-proxy-listen", "", "as --"+l.Flag+"-listen, behind a proxy that sends the PROXY header")
		}
	}
	config.PrefixesVar(fs, &c.TrustedProxies, service+"-trusted-proxies", nil, "networks whose PROXY headers are believed")
	fs.StringVar(&c.TLSCert, service+"-tls-cert", "", "file with the certificate chain (PEM); read again when it changes")
	fs.StringVar(&c.TLSKey, service+"-tls-key", "", "file with the private key (PEM)")
	fs.BoolVar(&c.InsecureAuth, service+"-insecure-auth", false, "allow passwords on unencrypted connections: for tests on loopback")
	c.Limits.Flags(fs, service)
	fs.DurationVar(&c.DrainWindow, service+"-drain-window", 5*time.Second, "over how long sessions are ended when the server stops")
	fs.DurationVar(&c.DrainTimeout, service+"-drain-timeout", time.Minute, "how long a command or message that is under way when the server stops may take to end")
}

// Validate tells what is wrong with the settings that Flags declared.
func (c *Config) Validate(service string, listeners []Listener) []error {
	errs := c.Limits.Validate(service)
	wrong := func(flag, format string, args ...any) {
		errs = append(errs, config.Errorf(flag, format, args...))
	}
	certificate := "give --" + service + "-tls-cert and --" + service + "-tls-key, or set it empty"
	if c.Hostname == "" {
		wrong(service+"-hostname", "is empty: give the full domain name of this server")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		wrong(service+"-tls-cert", "needs --%s-tls-key with it, and the other way round", service)
	}
	if c.TLSCert != "" && c.TLSKey != "" {
		if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
			wrong(service+"-tls-cert", "cannot be used: %v", err)
		}
	}
	open := enabled(listeners)
	for _, p := range open {
		if _, _, err := net.SplitHostPort(p.addr); err != nil {
			wrong(p.flag, "%q is no address; write for example 127.0.0.1:2525 or :2525", p.addr)
		}
		switch {
		case c.TLSCert != "":
		case p.TLS:
			wrong(p.flag, "needs a certificate: %s", certificate)
		case p.login && !c.InsecureAuth:
			wrong(p.flag, "nobody can log in without a certificate: %s", certificate)
		}
	}
	if slices.ContainsFunc(open, func(p Port) bool { return p.proxy }) && len(c.TrustedProxies) == 0 {
		wrong(service+"-trusted-proxies", "is empty: name the networks of the proxies, such as 10.0.0.0/8")
	}
	if len(open) == 0 {
		wrong(service+"-listen", "there is no listener: give at least one address")
	}
	if c.DrainWindow < 0 {
		wrong(service+"-drain-window", "%v: must not be negative", c.DrainWindow)
	}
	return config.Positive(errs, service+"-drain-timeout", c.DrainTimeout)
}

// enabled are the ports of all listeners that have an address.
func enabled(listeners []Listener) []Port {
	var out []Port
	for _, l := range listeners {
		if *l.Addr != "" {
			out = append(out, Port{Name: l.Name, TLS: l.TLS, flag: l.Flag + "-listen", addr: *l.Addr, login: l.Login})
		}
	}
	for _, l := range listeners {
		if l.ProxyAddr != nil && *l.ProxyAddr != "" {
			out = append(out, Port{Name: l.Name + "-proxy", TLS: l.TLS, flag: l.Flag + "-proxy-listen", addr: *l.ProxyAddr, login: l.Login, proxy: true})
		}
	}
	return out
}
