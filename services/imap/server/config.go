// Package server wires the IMAP gateway: its listeners, its sessions and the views they share.
package server

import (
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/listen"
)

// Config of the IMAP gateway.
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
	MaxMessageSize  config.Size
	AccountSessions int
	LoginFailures   int
	BadCommands     int

	LoginTimeout   time.Duration
	IdleTimeout    time.Duration
	CommandTimeout time.Duration
	StallTimeout   time.Duration
	WriteTimeout   time.Duration
	CallTimeout    time.Duration
	BulkTimeout    time.Duration
	PollInterval   time.Duration

	DrainWindow  time.Duration
	DrainTimeout time.Duration
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	fs.StringVar(&c.Hostname, "imap-hostname", hostname, "name of this server in its greeting")
	fs.StringVar(&c.Listen, "imap-listen", ":143", "address for IMAP with STARTTLS; empty: off")
	fs.StringVar(&c.TLSListen, "imap-tls-listen", ":993", "address for IMAP over TLS; empty: off")
	fs.StringVar(&c.ProxyListen, "imap-proxy-listen", "", "as --imap-listen, behind a proxy that sends the PROXY header")
	fs.StringVar(&c.TLSProxyListen, "imap-tls-proxy-listen", "", "as --imap-tls-listen, behind a proxy that sends the PROXY header")
	config.PrefixesVar(fs, &c.TrustedProxies, "imap-trusted-proxies", nil, "networks whose PROXY headers are believed")
	fs.StringVar(&c.TLSCert, "imap-tls-cert", "", "file with the certificate chain (PEM); read again when it changes")
	fs.StringVar(&c.TLSKey, "imap-tls-key", "", "file with the private key (PEM)")
	fs.BoolVar(&c.InsecureAuth, "imap-insecure-auth", false, "allow passwords on unencrypted connections: for tests on loopback")
	c.Limits.Flags(fs, "imap")
	config.SizeVar(fs, &c.MaxMessageSize, "imap-max-message-size", 50*config.MB, "largest message that APPEND takes, also told as APPENDLIMIT")
	fs.IntVar(&c.AccountSessions, "imap-max-sessions-per-account", 50, "sessions of one account on this gateway")
	fs.IntVar(&c.LoginFailures, "imap-max-login-failures", 3, "failed logins that end a connection")
	fs.IntVar(&c.BadCommands, "imap-max-bad-commands", 20, "commands in a row that are no IMAP which end a connection")
	fs.DurationVar(&c.LoginTimeout, "imap-login-timeout", 2*time.Minute, "how long a client may take to log in")
	fs.DurationVar(&c.IdleTimeout, "imap-idle-timeout", 31*time.Minute, "how long a client may be silent, also in IDLE")
	fs.DurationVar(&c.CommandTimeout, "imap-command-timeout", 5*time.Minute, "how long one command may take to arrive, the messages of APPEND not counted")
	fs.DurationVar(&c.StallTimeout, "imap-stall-timeout", time.Minute, "how long a client may pause within a command or a message")
	fs.DurationVar(&c.WriteTimeout, "imap-write-timeout", time.Minute, "how long a client may take to read a part of an answer")
	fs.DurationVar(&c.CallTimeout, "imap-call-timeout", 30*time.Second, "how long other services may take to answer")
	fs.DurationVar(&c.BulkTimeout, "imap-bulk-timeout", 5*time.Minute, "how long a search may take, or a change of many messages")
	fs.DurationVar(&c.PollInterval, "imap-poll-interval", 30*time.Second, "how often selected mailboxes are looked at while change notices do not come")
	fs.DurationVar(&c.DrainWindow, "imap-drain-window", 5*time.Second, "over how long sessions are ended when the server stops")
	fs.DurationVar(&c.DrainTimeout, "imap-drain-timeout", time.Minute, "how long a command that runs when the server stops may take to end")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.Limits.Validate("imap")
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, config.Errorf("imap-tls-cert", "needs --imap-tls-key with it, and the other way round"))
	}
	if c.TLSCert == "" && c.TLSListen+c.TLSProxyListen != "" {
		errs = append(errs, config.Errorf("imap-tls-listen", "needs a certificate: give --imap-tls-cert and --imap-tls-key, or set it empty"))
	}
	if c.TLSCert == "" && c.Listen+c.ProxyListen != "" && !c.InsecureAuth {
		errs = append(errs, config.Errorf("imap-listen", "nobody can log in without a certificate: give --imap-tls-cert and --imap-tls-key, or set it empty"))
	}
	if c.ProxyListen+c.TLSProxyListen != "" && len(c.TrustedProxies) == 0 {
		errs = append(errs, config.Errorf("imap-trusted-proxies", "is empty: name the networks of the proxies, such as 10.0.0.0/8"))
	}
	if c.Listen+c.TLSListen+c.ProxyListen+c.TLSProxyListen == "" {
		errs = append(errs, config.Errorf("imap-listen", "there is no listener: give at least one address"))
	}
	if c.MaxMessageSize < 64*config.KB {
		errs = append(errs, config.Errorf("imap-max-message-size", "%v: must be at least %v", c.MaxMessageSize, 64*config.KB))
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"imap-max-sessions-per-account", c.AccountSessions},
		{"imap-max-login-failures", c.LoginFailures},
		{"imap-max-bad-commands", c.BadCommands},
	} {
		if n.value < 1 {
			errs = append(errs, config.Errorf(n.flag, "%d: must be at least 1", n.value))
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"imap-login-timeout", c.LoginTimeout},
		{"imap-idle-timeout", c.IdleTimeout},
		{"imap-command-timeout", c.CommandTimeout},
		{"imap-stall-timeout", c.StallTimeout},
		{"imap-write-timeout", c.WriteTimeout},
		{"imap-call-timeout", c.CallTimeout},
		{"imap-bulk-timeout", c.BulkTimeout},
		{"imap-poll-interval", c.PollInterval},
		{"imap-drain-timeout", c.DrainTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, config.Errorf(d.flag, "%v: must be more than 0", d.value))
		}
	}
	return errs
}
