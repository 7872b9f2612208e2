package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/probe"
)

// checkTime is how long a check may take.
const checkTime = 2 * time.Minute

const checkLong = `Send a mail through the gateways and read it back, by an account that is made for it in a domain of its own (check-….invalid) and removed
afterwards. SMTP is asked for STARTTLS; the other addresses are TLS from the start. What is not given is left out.`

func newCheck(a *app) *cobra.Command {
	var (
		target     probe.Target
		ca, server string
	)
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Send a mail through a running system and read it back",
		Long:    checkLong,
		Example: `  yubin check --smtp mx.example.com:25 --submissions mail.example.com:465 --imaps mail.example.com:993 --pop3s mail.example.com:995`,
		Args: checked(positional(0, 0), func(cmd *cobra.Command, _ []string) error {
			if target.SMTP == "" && target.Submission == "" {
				return usagef(cmd, "give --smtp or --submissions to send through")
			}
			if target.IMAP == "" && target.POP3 == "" {
				return usagef(cmd, "give --imaps or --pop3s to read from")
			}
			return nil
		}),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, checkTime)
			defer cancel()
			config, err := checkTLS(ca, server)
			if err != nil {
				return err
			}
			target.TLS = config
			return a.check(ctx, c, target)
		}),
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&target.SMTP, "smtp", "", "host:port that takes mail from other servers")
	fs.StringVar(&target.Submission, "submissions", "", "host:port of submission over TLS")
	fs.StringVar(&target.IMAP, "imaps", "", "host:port of IMAP over TLS")
	fs.StringVar(&target.POP3, "pop3s", "", "host:port of POP3 over TLS")
	fs.StringVar(&ca, "tls-ca", "", "PEM file of certificates to trust instead of the system's authorities")
	fs.StringVar(&server, "tls-server-name", "", "host name that the certificates are for, if it is not the one that is connected to")
	return cmd
}

func checkTLS(ca, server string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server}
	if ca == "" {
		return config, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", ca)
	}
	return config, nil
}

func (a *app) check(ctx context.Context, c *clients, t probe.Target) (err error) {
	domain := "check-" + strings.ToLower(rand.Text()) + ".invalid" // RFC 2606 section 2: nobody has it
	if _, err := c.directoryAdmin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: &directoryv1.Domain{Name: domain}}); err != nil {
		return fmt.Errorf("make domain: %w", err)
	}
	// What was made is removed also when the check has no more time.
	ctx, cleanup := ctx, context.WithoutCancel(ctx)
	defer func() {
		_, removal := c.directoryAdmin.DeleteDomain(cleanup, &directoryv1.DeleteDomainRequest{Name: domain})
		err = errors.Join(err, removal)
	}()
	t.Address, t.Password = "check@"+domain, rand.Text()
	created, err := c.directoryAdmin.CreateAccount(ctx, &directoryv1.CreateAccountRequest{Address: t.Address, Password: t.Password})
	if err != nil {
		return fmt.Errorf("make account: %w", err)
	}
	defer func() {
		_, removal := c.removeAccount(cleanup, a, created.GetAccount())
		err = errors.Join(err, removal)
	}()
	tokens, err := probe.Send(ctx, t)
	if err != nil {
		return err
	}
	if t.IMAP != "" {
		if err := probe.ReadIMAP(ctx, t, tokens); err != nil {
			return err
		}
	}
	if t.POP3 != "" {
		if err := probe.ReadPOP3(ctx, t, len(tokens)); err != nil {
			return err
		}
	}
	return a.done(map[string]int{"sent": len(tokens), "read": len(tokens)}, "%d mails sent and read back", len(tokens))
}
