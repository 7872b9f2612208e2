// Package server wires the SMTP ingress: listeners for MX, submission and LMTP.
package server

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/gateway"
)

// Config of the SMTP ingress.
type Config struct {
	gateway.Config

	Listen, ProxyListen                       string
	SubmissionListen, SubmissionProxyListen   string
	SubmissionsListen, SubmissionsProxyListen string
	LMTPListen                                string

	MaxMessageSize  config.Size
	MaxHeaderSize   config.Size
	MaxLineLength   config.Size
	MaxRecipients   int
	MaxHops         int
	MaxAuthFailures int
	OverQuotaCode   int

	CommandTimeout time.Duration
	DataTimeout    time.Duration
	MessageTimeout time.Duration
	WriteTimeout   time.Duration
	CallTimeout    time.Duration
}

// Names of the listeners, to which -proxy is added behind a proxy.
const (
	nameMX          = "smtp"
	nameSubmission  = "submission"
	nameSubmissions = "submissions"
	nameLMTP        = "lmtp"
)

// listeners are the ways in.
func (c *Config) listeners() []gateway.Listener {
	return []gateway.Listener{
		{Name: nameMX, Flag: "smtp", Addr: &c.Listen, ProxyAddr: &c.ProxyListen, Default: ":25", Usage: "address for mail from other servers, with STARTTLS"},
		{Name: nameSubmission, Flag: "smtp-submission", Addr: &c.SubmissionListen, ProxyAddr: &c.SubmissionProxyListen, Default: ":587", Login: true, Usage: "address for submission with STARTTLS"},
		{Name: nameSubmissions, Flag: "smtp-submissions", Addr: &c.SubmissionsListen, ProxyAddr: &c.SubmissionsProxyListen, Default: ":465", Login: true, TLS: true, Usage: "address for submission over TLS"},
		{Name: nameLMTP, Flag: "smtp-lmtp", Addr: &c.LMTPListen, Usage: "address for LMTP from servers of yours, without login: keep it off public networks"},
	}
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs, "smtp", c.listeners())
	config.SizeVar(fs, &c.MaxMessageSize, "smtp-max-message-size", 50*config.MB, "largest message, also declared as SIZE")
	config.SizeVar(fs, &c.MaxHeaderSize, "smtp-max-header-size", config.MiB, "largest message header")
	config.SizeVar(fs, &c.MaxLineLength, "smtp-max-line-length", config.MiB, "longest line of a command or a message; real mail passes the 998 of RFC 5322")
	fs.IntVar(&c.MaxRecipients, "smtp-max-recipients", 1000, "recipients of one message")
	fs.IntVar(&c.MaxHops, "smtp-max-hops", 50, "Received fields from which on a message is refused as a loop")
	fs.IntVar(&c.MaxAuthFailures, "smtp-max-auth-failures", 3, "failed logins after which a connection is closed")
	fs.IntVar(&c.OverQuotaCode, "smtp-over-quota-code", 552, "answer for a full mailbox: 552 (the sender learns it now) or 452 (the sending server tries again)")
	fs.DurationVar(&c.CommandTimeout, "smtp-command-timeout", 5*time.Minute, "how long a client may be silent between commands")
	fs.DurationVar(&c.DataTimeout, "smtp-data-timeout", 3*time.Minute, "how long a client may be silent within a message")
	fs.DurationVar(&c.MessageTimeout, "smtp-message-timeout", 15*time.Minute, "how long one message may take")
	fs.DurationVar(&c.WriteTimeout, "smtp-write-timeout", time.Minute, "how long a client may take to read an answer")
	fs.DurationVar(&c.CallTimeout, "smtp-call-timeout", 10*time.Second, "how long other services may take to answer")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.Config.Validate("smtp", c.listeners())
	errs = config.AtLeast(errs, "smtp-max-message-size", c.MaxMessageSize, 64*config.KB)
	errs = config.AtLeast(errs, "smtp-max-header-size", c.MaxHeaderSize, 16*config.KB)
	errs = config.AtLeast(errs, "smtp-max-line-length", c.MaxLineLength, 2*config.KB)
	errs = config.AtLeast(errs, "smtp-max-recipients", c.MaxRecipients, 100) // RFC 5321 section 4.5.3.1.8
	errs = config.AtLeast(errs, "smtp-max-hops", c.MaxHops, 10)
	errs = config.AtLeast(errs, "smtp-max-auth-failures", c.MaxAuthFailures, 1)
	if c.OverQuotaCode != 552 && c.OverQuotaCode != 452 {
		errs = append(errs, config.Errorf("smtp-over-quota-code", "%d: must be 552 or 452", c.OverQuotaCode))
	}
	errs = config.Positive(errs, "smtp-command-timeout", c.CommandTimeout)
	errs = config.Positive(errs, "smtp-data-timeout", c.DataTimeout)
	errs = config.Positive(errs, "smtp-message-timeout", c.MessageTimeout)
	errs = config.Positive(errs, "smtp-write-timeout", c.WriteTimeout)
	return config.Positive(errs, "smtp-call-timeout", c.CallTimeout)
}
