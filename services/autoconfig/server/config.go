// Package server wires the service that tells mail programs their settings.
package server

import (
	"net"
	"net/url"
	"os"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/services/autoconfig/internal/answer"
)

// Config of the service.
type Config struct {
	// Listen is the address for HTTP, TLSListen for HTTPS. Empty is off; a process of its own needs one.
	Listen, TLSListen string

	settings        answer.Settings
	tlsCert, tlsKey string
	maxConnections  int
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	fs.StringVar(&c.Listen, "autoconfig-listen", "", "address for HTTP, such as :8081; empty: off")
	fs.StringVar(&c.TLSListen, "autoconfig-tls-listen", "", "address for HTTPS; empty: off")
	fs.StringVar(&c.tlsCert, "autoconfig-tls-cert", "", "file with the certificate chain (PEM); read again when it changes")
	fs.StringVar(&c.tlsKey, "autoconfig-tls-key", "", "file with the private key (PEM)")
	fs.StringVar(&c.settings.Host, "autoconfig-hostname", hostname, "full domain name of the gateways, as mail programs connect to them")
	fs.StringVar(&c.settings.IMAPHost, "autoconfig-imap-hostname", "", "that of the IMAP gateway, if it is another")
	fs.StringVar(&c.settings.POP3Host, "autoconfig-pop3-hostname", "", "that of the POP3 gateway, if it is another")
	fs.StringVar(&c.settings.SMTPHost, "autoconfig-smtp-hostname", "", "that of the SMTP gateway, if it is another")
	fs.StringVar(&c.settings.Name, "autoconfig-name", "", "name of the provider, as mail programs show it; empty: the domain of the address")
	fs.StringVar(&c.settings.URL, "autoconfig-url", "", "where this is reached with a certificate that mail programs trust, such as https://mail.example.com; "+
		"Autodiscover over plain HTTP is sent there")
	for _, p := range c.ports() {
		fs.IntVar(p.value, p.flag, p.standard, "port of "+p.what+"; 0: not offered")
	}
	fs.IntVar(&c.maxConnections, "autoconfig-max-connections", 1000, "open connections over all clients")
}

type port struct {
	flag, what string
	value      *int
	standard   int
}

// ports are those that mail programs are told. Standard ones are of RFC 8314 section 3.3 and before it.
func (c *Config) ports() []port {
	return []port{
		{"autoconfig-imaps-port", "IMAP over TLS", &c.settings.IMAPS, 993},
		{"autoconfig-imap-port", "IMAP with STARTTLS", &c.settings.IMAP, 143},
		{"autoconfig-pop3s-port", "POP3 over TLS", &c.settings.POP3S, 995},
		{"autoconfig-pop3-port", "POP3 with STLS", &c.settings.POP3, 110},
		{"autoconfig-submissions-port", "submission over TLS", &c.settings.Submissions, 465},
		{"autoconfig-submission-port", "submission with STARTTLS", &c.settings.Submission, 587},
	}
}

// Enabled tells whether there is a listener.
func (c *Config) Enabled() bool { return c.Listen != "" || c.TLSListen != "" }

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	if !c.Enabled() {
		return []error{config.Errorf("autoconfig-listen", "there is no listener: give it or --autoconfig-tls-listen an address")}
	}
	var errs []error
	for flag, addr := range map[string]string{"autoconfig-listen": c.Listen, "autoconfig-tls-listen": c.TLSListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil && addr != "" {
			errs = append(errs, config.Errorf(flag, "%q is no address; write for example 127.0.0.1:8081 or :8081", addr))
		}
	}
	if c.TLSListen != "" && (c.tlsCert == "" || c.tlsKey == "") {
		errs = append(errs, config.Errorf("autoconfig-tls-listen", "needs a certificate: give --autoconfig-tls-cert and --autoconfig-tls-key, or set it empty"))
	}
	if c.settings.Host == "" {
		errs = append(errs, config.Errorf("autoconfig-hostname", "is empty: give the full domain name of the gateways"))
	}
	if c.settings.URL != "" {
		if u, err := url.Parse(c.settings.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			errs = append(errs, config.Errorf("autoconfig-url", "%q: write for example https://mail.example.com", c.settings.URL))
		}
	}
	for _, p := range c.ports() {
		errs = config.Between(errs, p.flag, *p.value, 0, 65535)
	}
	return config.AtLeast(errs, "autoconfig-max-connections", c.maxConnections, 1)
}
