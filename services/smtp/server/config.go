// Package server wires the SMTP ingress: listeners for MX, submission and LMTP.
package server

import (
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/listen"
)

// Config of the SMTP ingress.
type Config struct {
	Hostname string

	Listen            string
	SubmissionListen  string
	SubmissionsListen string
	LMTPListen        string
	// The same behind a proxy that speaks the PROXY protocol.
	ProxyListen            string
	SubmissionProxyListen  string
	SubmissionsProxyListen string
	TrustedProxies         config.Prefixes

	TLSCert, TLSKey string
	InsecureAuth    bool

	Limits         listen.Limits
	MaxMessageSize config.Size
	MaxHeaderSize  config.Size
	MaxLineLength  config.Size
	MaxRecipients  int
	MaxHops        int

	CommandTimeout time.Duration
	DataTimeout    time.Duration
	MessageTimeout time.Duration
	WriteTimeout   time.Duration
	CallTimeout    time.Duration

	DrainWindow   time.Duration
	DrainTimeout  time.Duration
	OverQuotaCode int
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	fs.StringVar(&c.Hostname, "smtp-hostname", hostname, "name of this server in greetings and Received fields; a full domain name")
	fs.StringVar(&c.Listen, "smtp-listen", ":25", "address for mail from other servers; empty: off")
	fs.StringVar(&c.SubmissionListen, "smtp-submission-listen", ":587", "address for submission with STARTTLS; empty: off")
	fs.StringVar(&c.SubmissionsListen, "smtp-submissions-listen", ":465", "address for submission over TLS; empty: off")
	fs.StringVar(&c.LMTPListen, "smtp-lmtp-listen", "", "address for LMTP from servers of yours, without login: keep it off public networks; empty: off")
	fs.StringVar(&c.ProxyListen, "smtp-proxy-listen", "", "as --smtp-listen, behind a proxy that sends the PROXY header")
	fs.StringVar(&c.SubmissionProxyListen, "smtp-submission-proxy-listen", "", "as --smtp-submission-listen, behind a proxy that sends the PROXY header")
	fs.StringVar(&c.SubmissionsProxyListen, "smtp-submissions-proxy-listen", "", "as --smtp-submissions-listen, behind a proxy that sends the PROXY header")
	config.PrefixesVar(fs, &c.TrustedProxies, "smtp-trusted-proxies", nil, "networks whose PROXY headers are believed")
	fs.StringVar(&c.TLSCert, "smtp-tls-cert", "", "file with the certificate chain (PEM); read again when it changes")
	fs.StringVar(&c.TLSKey, "smtp-tls-key", "", "file with the private key (PEM)")
	fs.BoolVar(&c.InsecureAuth, "smtp-insecure-auth", false, "allow passwords on unencrypted connections: for tests on loopback")
	c.Limits.Flags(fs, "smtp")
	config.SizeVar(fs, &c.MaxMessageSize, "smtp-max-message-size", 50*config.MB, "largest message, also declared as SIZE")
	config.SizeVar(fs, &c.MaxHeaderSize, "smtp-max-header-size", config.MiB, "largest message header")
	config.SizeVar(fs, &c.MaxLineLength, "smtp-max-line-length", config.MiB, "longest line of a command or a message; real mail passes the 998 of RFC 5322")
	fs.IntVar(&c.MaxRecipients, "smtp-max-recipients", 1000, "recipients of one message")
	fs.IntVar(&c.MaxHops, "smtp-max-hops", 50, "Received fields from which on a message is refused as a loop")
	fs.DurationVar(&c.CommandTimeout, "smtp-command-timeout", 5*time.Minute, "how long a client may be silent between commands")
	fs.DurationVar(&c.DataTimeout, "smtp-data-timeout", 3*time.Minute, "how long a client may be silent within a message")
	fs.DurationVar(&c.MessageTimeout, "smtp-message-timeout", 15*time.Minute, "how long one message may take")
	fs.DurationVar(&c.WriteTimeout, "smtp-write-timeout", time.Minute, "how long a client may take to read an answer")
	fs.DurationVar(&c.CallTimeout, "smtp-call-timeout", 10*time.Second, "how long the directory and quota may take to answer")
	fs.DurationVar(&c.DrainWindow, "smtp-drain-window", 5*time.Second, "over how long sessions are ended when the server stops")
	fs.DurationVar(&c.DrainTimeout, "smtp-drain-timeout", time.Minute, "how long a message that is coming in when the server stops may take to end")
	fs.IntVar(&c.OverQuotaCode, "smtp-over-quota-code", 552, "answer for a full mailbox: 552 (the sender learns it now) or 452 (the sending server tries again)")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.Limits.Validate("smtp")
	if c.Hostname == "" {
		errs = append(errs, config.Errorf("smtp-hostname", "is empty: give the name that the MX record leads to"))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, config.Errorf("smtp-tls-cert", "needs --smtp-tls-key with it, and the other way round"))
	}
	if c.TLSCert == "" && c.SubmissionsListen+c.SubmissionsProxyListen != "" {
		errs = append(errs, config.Errorf("smtp-submissions-listen", "needs a certificate: give --smtp-tls-cert and --smtp-tls-key, or set it empty"))
	}
	if c.TLSCert == "" && c.SubmissionListen+c.SubmissionProxyListen != "" && !c.InsecureAuth {
		errs = append(errs, config.Errorf("smtp-submission-listen", "nobody can log in without a certificate: give --smtp-tls-cert and --smtp-tls-key, or set it empty"))
	}
	if c.ProxyListen+c.SubmissionProxyListen+c.SubmissionsProxyListen != "" && len(c.TrustedProxies) == 0 {
		errs = append(errs, config.Errorf("smtp-trusted-proxies", "is empty: name the networks of the proxies, such as 10.0.0.0/8"))
	}
	if c.Listen+c.SubmissionListen+c.SubmissionsListen+c.LMTPListen+c.ProxyListen+c.SubmissionProxyListen+c.SubmissionsProxyListen == "" {
		errs = append(errs, config.Errorf("smtp-listen", "there is no listener: give at least one address"))
	}
	if c.OverQuotaCode != 552 && c.OverQuotaCode != 452 {
		errs = append(errs, config.Errorf("smtp-over-quota-code", "%d: must be 552 or 452", c.OverQuotaCode))
	}
	if c.MaxRecipients < 100 {
		errs = append(errs, config.Errorf("smtp-max-recipients", "%d: must be at least 100 (RFC 5321 section 4.5.3.1.8)", c.MaxRecipients))
	}
	if c.MaxHops < 10 {
		errs = append(errs, config.Errorf("smtp-max-hops", "%d: must be at least 10", c.MaxHops))
	}
	for _, size := range []struct {
		flag  string
		value config.Size
		least config.Size
	}{
		{"smtp-max-message-size", c.MaxMessageSize, 64 * config.KB},
		{"smtp-max-header-size", c.MaxHeaderSize, 16 * config.KB},
		{"smtp-max-line-length", c.MaxLineLength, 2 * config.KB},
	} {
		if size.value < size.least {
			errs = append(errs, config.Errorf(size.flag, "%v: must be at least %v", size.value, size.least))
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"smtp-command-timeout", c.CommandTimeout},
		{"smtp-data-timeout", c.DataTimeout},
		{"smtp-message-timeout", c.MessageTimeout},
		{"smtp-write-timeout", c.WriteTimeout},
		{"smtp-call-timeout", c.CallTimeout},
		{"smtp-drain-timeout", c.DrainTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, config.Errorf(d.flag, "%v: must be more than 0", d.value))
		}
	}
	return errs
}
