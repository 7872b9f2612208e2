// Package server wires the POP3 gateway.
package server

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/gateway"
)

// Config of the POP3 gateway.
type Config struct {
	gateway.Config

	Listen, ProxyListen       string
	TLSListen, TLSProxyListen string

	MaxAuthFailures int
	MaxBadCommands  int
	LoginDelay      time.Duration

	IdleTimeout  time.Duration
	WriteTimeout time.Duration
	CallTimeout  time.Duration
}

// listeners are the ways in.
func (c *Config) listeners() []gateway.Listener {
	return []gateway.Listener{
		{Name: "pop3", Flag: "pop3", Addr: &c.Listen, ProxyAddr: &c.ProxyListen, Default: ":110", Login: true, Usage: "address for POP3 with STLS"},
		{Name: "pop3s", Flag: "pop3-tls", Addr: &c.TLSListen, ProxyAddr: &c.TLSProxyListen, Default: ":995", Login: true, TLS: true, Usage: "address for POP3 over TLS"},
	}
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs, "pop3", c.listeners())
	fs.IntVar(&c.MaxAuthFailures, "pop3-max-auth-failures", 3, "failed logins after which a connection is closed")
	fs.IntVar(&c.MaxBadCommands, "pop3-max-bad-commands", 20, "unknown or malformed commands after which a connection is closed")
	fs.DurationVar(&c.LoginDelay, "pop3-login-delay", 0, "least time between two logins to an account, by gateway; whole seconds; 0: none")
	fs.DurationVar(&c.IdleTimeout, "pop3-idle-timeout", 10*time.Minute, "how long a client may be silent, and how long it may take to log in; RFC 1939 asks for at least 10m")
	fs.DurationVar(&c.WriteTimeout, "pop3-write-timeout", time.Minute, "how long a client may take to read 32 KiB")
	fs.DurationVar(&c.CallTimeout, "pop3-call-timeout", 15*time.Second, "how long other services may take to answer")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.Config.Validate("pop3", c.listeners())
	errs = config.AtLeast(errs, "pop3-max-auth-failures", c.MaxAuthFailures, 1)
	errs = config.AtLeast(errs, "pop3-max-bad-commands", c.MaxBadCommands, 1)
	if c.LoginDelay < 0 || c.LoginDelay%time.Second != 0 {
		errs = append(errs, config.Errorf("pop3-login-delay", "%v: must be whole seconds, 0 or more", c.LoginDelay))
	}
	errs = config.Positive(errs, "pop3-idle-timeout", c.IdleTimeout)
	errs = config.Positive(errs, "pop3-write-timeout", c.WriteTimeout)
	return config.Positive(errs, "pop3-call-timeout", c.CallTimeout)
}
