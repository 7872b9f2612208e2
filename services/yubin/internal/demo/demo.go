// Package demo sets up what `yubin serve --demo` shows: a domain, two accounts, ports that need no root, and how to use them.
package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// What the demo has.
const (
	Domain   = "example.test"
	Password = "demo-password"
)

// Accounts are the local parts of the demo's accounts.
var Accounts = []string{"alice", "bob"}

// Settings are the demo's values of settings that nobody gave.
func Settings() map[string]string {
	return map[string]string{
		"smtp-listen":             "127.0.0.1:2525",
		"smtp-submission-listen":  "127.0.0.1:2587",
		"smtp-submissions-listen": "127.0.0.1:2465",
		"smtp-lmtp-listen":        "127.0.0.1:2424",
		"pop3-listen":             "127.0.0.1:2110",
		"pop3-tls-listen":         "127.0.0.1:2995",
		"imap-listen":             "127.0.0.1:2143",
		"imap-tls-listen":         "127.0.0.1:2993",
		"admin-listen":            "127.0.0.1:8080",
		"autoconfig-listen":       "127.0.0.1:8081",
		"smtp-hostname":           "localhost",
		"pop3-hostname":           "localhost",
		"imap-hostname":           "localhost",
		"autoconfig-hostname":     "localhost",
		"smtp-insecure-auth":      "true",
		"pop3-insecure-auth":      "true",
		"imap-insecure-auth":      "true",
		"smtp-drain-window":       "1s",
		"pop3-drain-window":       "1s",
		"imap-drain-window":       "1s",
		"log-format":              "text",
		"log-level":               "warn",
	}
}

// OnlyLoopback tells which address would let the network in, where the demo's password is known to everyone.
func OnlyLoopback(addresses map[string]string) error {
	for flag, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if address == "" || err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback()) {
			continue
		}
		return fmt.Errorf("--%s: %q is not on loopback, and --demo has a password that everyone knows: take 127.0.0.1, or leave out --demo", flag, address)
	}
	return nil
}

// Populate makes the domain and the accounts unless they are there.
func Populate(ctx context.Context, admin directoryv1.DirectoryAdminServiceClient) error {
	domains, err := admin.ListDomains(ctx, &directoryv1.ListDomainsRequest{})
	if err != nil {
		return fmt.Errorf("look for demo domain: %w", err)
	}
	known := slices.ContainsFunc(domains.GetDomains(), func(d *directoryv1.Domain) bool { return d.GetName() == Domain })
	if !known { // what an earlier run's user set for it stays
		if _, err := admin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: &directoryv1.Domain{Name: Domain}}); err != nil {
			return fmt.Errorf("make demo domain: %w", err)
		}
	}
	for _, name := range Accounts {
		_, err := admin.CreateAccount(ctx, &directoryv1.CreateAccountRequest{Address: name + "@" + Domain, Password: Password})
		if err != nil && !fault.Is(err, rpcv1.Reason_REASON_ALREADY_EXISTS) {
			return fmt.Errorf("make demo account: %w", err)
		}
	}
	return nil
}

// Banner prints what runs and how to try it.
func Banner(w io.Writer, dataDir, certFile string, address func(flag string) string) {
	fmt.Fprintf(w, `
Yubin is running, with its data in %s. Stop it with Ctrl-C.

  Accounts   alice@%s, bob@%s    password: %s

  Client settings     plain or STARTTLS     TLS
    IMAP              %-20s  %s
    POP3              %-20s  %s
    Sending (login)   %-20s  %s
    SMTP              %-20s
    LMTP              %-20s
  The certificate is self-signed: %s
  Autoconfiguration   http://%s/mail/config-v1.1.xml  /autodiscover/autodiscover.xml  /email.mobileconfig
  Health and metrics  http://%s/readyz  /livez  /metrics

Try:
  printf 'Subject: Hello\r\n\r\nHello Alice!\r\n' | curl -s smtp://%s --mail-from bob@%s --mail-rcpt alice@%s -T -
  curl -s -u alice@%s:%s 'imap://%s/INBOX;MAILINDEX=1'
  bin/yubin quota show alice@%s

`, dataDir, Domain, Domain, Password,
		address("imap-listen"), address("imap-tls-listen"),
		address("pop3-listen"), address("pop3-tls-listen"),
		address("smtp-submission-listen"), address("smtp-submissions-listen"),
		address("smtp-listen"), address("smtp-lmtp-listen"),
		certFile, address("autoconfig-listen"), address("admin-listen"),
		address("smtp-listen"), Domain, Domain,
		Domain, Password, address("imap-listen"), Domain)
}
