// Package server wires the IMAP gateway: its listeners, its sessions and the views they share.
package server

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/gateway"
)

// Config of the IMAP gateway.
type Config struct {
	gateway.Config

	Listen, ProxyListen       string
	TLSListen, TLSProxyListen string

	MaxMessageSize        config.Size
	MaxSessionsPerAccount int
	MaxAuthFailures       int
	MaxBadCommands        int
	MessageLimit          int
	Pipeline              int
	Compress              bool
	StrictUTF8            bool
	Operators             []string

	LoginTimeout   time.Duration
	IdleTimeout    time.Duration
	CommandTimeout time.Duration
	StallTimeout   time.Duration
	WriteTimeout   time.Duration
	CallTimeout    time.Duration
	BulkTimeout    time.Duration
	PollInterval   time.Duration
}

// listeners are the ways in.
func (c *Config) listeners() []gateway.Listener {
	return []gateway.Listener{
		{Name: "imap", Flag: "imap", Addr: &c.Listen, ProxyAddr: &c.ProxyListen, Default: ":143", Login: true, Usage: "address for IMAP with STARTTLS"},
		{Name: "imaps", Flag: "imap-tls", Addr: &c.TLSListen, ProxyAddr: &c.TLSProxyListen, Default: ":993", Login: true, TLS: true, Usage: "address for IMAP over TLS"},
	}
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs, "imap", c.listeners())
	config.SizeVar(fs, &c.MaxMessageSize, "imap-max-message-size", 50*config.MB, "largest message that APPEND takes, also told as APPENDLIMIT")
	fs.IntVar(&c.MaxSessionsPerAccount, "imap-max-sessions-per-account", 50, "sessions of one account on this gateway")
	fs.IntVar(&c.MaxAuthFailures, "imap-max-auth-failures", 3, "failed logins after which a connection is closed")
	fs.IntVar(&c.MaxBadCommands, "imap-max-bad-commands", 20, "malformed commands in a row after which a connection is closed")
	fs.BoolVar(&c.Compress, "imap-compress", true, "offer COMPRESS=DEFLATE")
	fs.BoolVar(&c.StrictUTF8, "imap-strict-utf8", false, "refuse messages with raw 8-bit characters in their header from clients that have not enabled UTF8=ACCEPT or IMAP4rev2, as RFC 9755 has it; programs that copy old mail then cannot")
	fs.IntVar(&c.MessageLimit, "imap-message-limit", 0, "messages that one command takes, also told as MESSAGELIMIT; 0: any number")
	fs.IntVar(&c.Pipeline, "imap-pipeline", 4, "commands of one connection that may run beside each other if it sends them without waiting, and they only read; 1: one after the other")
	fs.StringSliceVar(&c.Operators, "imap-operators", nil, "addresses of accounts that may see and set the quota of all by GETQUOTA and SETQUOTA; empty: nobody")
	fs.DurationVar(&c.LoginTimeout, "imap-login-timeout", 2*time.Minute, "how long a client may take to log in")
	fs.DurationVar(&c.IdleTimeout, "imap-idle-timeout", 31*time.Minute, "how long a client may be silent, also in IDLE")
	fs.DurationVar(&c.CommandTimeout, "imap-command-timeout", 5*time.Minute, "how long one command may take to arrive, the messages of APPEND not counted")
	fs.DurationVar(&c.StallTimeout, "imap-stall-timeout", time.Minute, "how long a client may pause within a command or a message")
	fs.DurationVar(&c.WriteTimeout, "imap-write-timeout", time.Minute, "how long a client may take to read a part of an answer")
	fs.DurationVar(&c.CallTimeout, "imap-call-timeout", 30*time.Second, "how long other services may take to answer")
	fs.DurationVar(&c.BulkTimeout, "imap-bulk-timeout", 5*time.Minute, "how long a search may take, or a change of many messages")
	fs.DurationVar(&c.PollInterval, "imap-poll-interval", 30*time.Second, "how often selected mailboxes are looked at while change notices do not come")
}

// operators gives the addresses as the directory has them.
func (c *Config) operators() []string {
	out := make([]string, 0, len(c.Operators))
	for _, operator := range c.Operators {
		if a, err := address.Parse(operator); err == nil { // as Validate has seen
			out = append(out, a.String())
		}
	}
	return out
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.Config.Validate("imap", c.listeners())
	errs = config.AtLeast(errs, "imap-max-message-size", c.MaxMessageSize, 64*config.KB)
	errs = config.AtLeast(errs, "imap-max-sessions-per-account", c.MaxSessionsPerAccount, 1)
	errs = config.AtLeast(errs, "imap-max-auth-failures", c.MaxAuthFailures, 1)
	errs = config.AtLeast(errs, "imap-max-bad-commands", c.MaxBadCommands, 1)
	errs = config.AtLeast(errs, "imap-pipeline", c.Pipeline, 1)
	if c.MessageLimit != 0 { // RFC 9738 section 3: at least 1,000
		errs = config.AtLeast(errs, "imap-message-limit", c.MessageLimit, 1000)
	}
	for _, operator := range c.Operators {
		if _, err := address.Parse(operator); err != nil {
			errs = append(errs, fmt.Errorf("imap-operators: %q: %w", operator, err))
		}
	}
	errs = config.Positive(errs, "imap-login-timeout", c.LoginTimeout)
	errs = config.Positive(errs, "imap-idle-timeout", c.IdleTimeout)
	errs = config.Positive(errs, "imap-command-timeout", c.CommandTimeout)
	errs = config.Positive(errs, "imap-stall-timeout", c.StallTimeout)
	errs = config.Positive(errs, "imap-write-timeout", c.WriteTimeout)
	errs = config.Positive(errs, "imap-call-timeout", c.CallTimeout)
	errs = config.Positive(errs, "imap-bulk-timeout", c.BulkTimeout)
	return config.Positive(errs, "imap-poll-interval", c.PollInterval)
}
