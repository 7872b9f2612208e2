// Package answer writes what mail programs ask for when they set up an account: Mozilla's autoconfiguration, Microsoft's Autodiscover in
// plain XML, and Apple's configuration profile. All three are written from the same settings.
package answer

import (
	"cmp"
	"slices"
)

// Settings are what a mail program needs to know. A port of 0 is not offered.
type Settings struct {
	// Host is the full domain name of the server, as its certificate has it. IMAPHost and so on are those of single gateways; empty is Host.
	Host                         string
	IMAPHost, POP3Host, SMTPHost string
	// Name of the provider, as mail programs show it; empty is the domain of the address.
	Name string
	// URL under which this is reached with a certificate that mail programs trust, such as https://mail.example.com; may be empty.
	URL string

	IMAPS, IMAP             int
	POP3S, POP3             int
	Submissions, Submission int
}

// server is one way to read or to send mail. Those with TLS from the start are preferred (RFC 8314 section 3).
type server struct {
	protocol string // imap, pop3 or smtp
	host     string
	port     int
	tls      bool // from the start, not by STARTTLS
}

// incoming are the ways to read mail, best first.
func (s Settings) incoming() []server {
	imap, pop3 := cmp.Or(s.IMAPHost, s.Host), cmp.Or(s.POP3Host, s.Host)
	return offered(server{"imap", imap, s.IMAPS, true}, server{"imap", imap, s.IMAP, false}, server{"pop3", pop3, s.POP3S, true}, server{"pop3", pop3, s.POP3, false})
}

// outgoing are the ways to send mail, best first.
func (s Settings) outgoing() []server {
	smtp := cmp.Or(s.SMTPHost, s.Host)
	return offered(server{"smtp", smtp, s.Submissions, true}, server{"smtp", smtp, s.Submission, false})
}

func offered(all ...server) []server {
	return slices.DeleteFunc(all, func(s server) bool { return s.port == 0 })
}

// best is the first of each protocol.
func best(all []server) []server {
	return slices.CompactFunc(all, func(a, b server) bool { return a.protocol == b.protocol })
}

// name of the provider to show for a domain.
func (s Settings) name(domain string) string { return cmp.Or(s.Name, domain, s.Host) }
