// Package server wires the POP3 gateway.
package server

import (
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/listen"
)

// Config of the POP3 gateway.
type Config struct {
	Hostname string

	Listen    string
	TLSListen string
	// The same behind a proxy that speaks the PROXY protocol.
	ProxyListen    string
	TLSProxyListen string
	TrustedProxies config.Prefixes

	TLSCert, TLSKey string
	InsecureAuth    bool

	Limits          listen.Limits
	IdleTimeout     time.Duration
	WriteTimeout    time.Duration
	CallTimeout     time.Duration
	LoginDelay      time.Duration
	MaxAuthFailures int
	MaxBadCommands  int

	DrainWindow  time.Duration
	DrainTimeout time.Duration
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	fs.StringVar(&c.Hostname, "pop3-hostname", hostname, "name of this server in its greeting")
	fs.StringVar(&c.Listen, "pop3-listen", ":110", "address for POP3 with STLS; empty: off")
	fs.StringVar(&c.TLSListen, "pop3-tls-listen", ":995", "address for POP3 over TLS; empty: off")
	fs.StringVar(&c.ProxyListen, "pop3-proxy-listen", "", "as --pop3-listen, behind a proxy that sends the PROXY header")
	fs.StringVar(&c.TLSProxyListen, "pop3-tls-proxy-listen", "", "as --pop3-tls-listen, behind a proxy that sends the PROXY header")
	config.PrefixesVar(fs, &c.TrustedProxies, "pop3-trusted-proxies", nil, "networks whose PROXY headers are believed")
	fs.StringVar(&c.TLSCert, "pop3-tls-cert", "", "file with the certificate chain (PEM); read again when it changes")
	fs.StringVar(&c.TLSKey, "pop3-tls-key", "", "file with the private key (PEM)")
	fs.BoolVar(&c.InsecureAuth, "pop3-insecure-auth", false, "allow passwords on unencrypted connections: for tests on loopback")
	c.Limits.Flags(fs, "pop3")
	fs.DurationVar(&c.IdleTimeout, "pop3-idle-timeout", 10*time.Minute, "how long a client may be silent, and how long it may take to log in; RFC 1939 asks for at least 10m")
	fs.DurationVar(&c.WriteTimeout, "pop3-write-timeout", time.Minute, "how long a client may take to read 32 KiB")
	fs.DurationVar(&c.CallTimeout, "pop3-call-timeout", 15*time.Second, "how long the directory and storage may take to answer")
	fs.DurationVar(&c.LoginDelay, "pop3-login-delay", 0, "least time between two logins to an account, by gateway; whole seconds; 0: none")
	fs.IntVar(&c.MaxAuthFailures, "pop3-max-auth-failures", 3, "failed logins after which a connection is closed")
	fs.IntVar(&c.MaxBadCommands, "pop3-max-bad-commands", 20, "unknown or malformed commands after which a connection is closed")
	fs.DurationVar(&c.DrainWindow, "pop3-drain-window", 5*time.Second, "over how long sessions are ended when the server stops")
	fs.DurationVar(&c.DrainTimeout, "pop3-drain-timeout", 30*time.Second, "how long a command that runs when the server stops may take to end")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.Limits.Validate("pop3")
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, config.Errorf("pop3-tls-cert", "needs --pop3-tls-key with it, and the other way round"))
	}
	if c.TLSCert == "" && c.TLSListen+c.TLSProxyListen != "" {
		errs = append(errs, config.Errorf("pop3-tls-listen", "needs a certificate: give --pop3-tls-cert and --pop3-tls-key, or set it empty"))
	}
	if c.TLSCert == "" && c.Listen+c.ProxyListen != "" && !c.InsecureAuth {
		errs = append(errs, config.Errorf("pop3-listen", "nobody can log in without a certificate: give --pop3-tls-cert and --pop3-tls-key, or set it empty"))
	}
	if c.ProxyListen+c.TLSProxyListen != "" && len(c.TrustedProxies) == 0 {
		errs = append(errs, config.Errorf("pop3-trusted-proxies", "is empty: name the networks of the proxies, such as 10.0.0.0/8"))
	}
	if c.Listen+c.TLSListen+c.ProxyListen+c.TLSProxyListen == "" {
		errs = append(errs, config.Errorf("pop3-listen", "there is no listener: give at least one address"))
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"pop3-idle-timeout", c.IdleTimeout}, {"pop3-write-timeout", c.WriteTimeout},
		{"pop3-call-timeout", c.CallTimeout}, {"pop3-drain-timeout", c.DrainTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, config.Errorf(d.flag, "%v: must be more than 0", d.value))
		}
	}
	if c.LoginDelay < 0 || c.LoginDelay%time.Second != 0 {
		errs = append(errs, config.Errorf("pop3-login-delay", "%v: must be whole seconds, 0 or more", c.LoginDelay))
	}
	if c.DrainWindow < 0 {
		errs = append(errs, config.Errorf("pop3-drain-window", "%v: must not be negative", c.DrainWindow))
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"pop3-max-auth-failures", c.MaxAuthFailures}, {"pop3-max-bad-commands", c.MaxBadCommands}} {
		if n.value < 1 {
			errs = append(errs, config.Errorf(n.flag, "%d: must be at least 1", n.value))
		}
	}
	return errs
}
