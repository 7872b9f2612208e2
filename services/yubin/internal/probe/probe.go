// Package probe sends a mail through a running system and reads it back, as a mail program would.
package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Target is a system's public side. Empty addresses are left out.
type Target struct {
	SMTP, Submission, IMAP, POP3 string // host:port; SMTP is STARTTLS if offered, the others TLS from the start
	TLS                          *tls.Config
	Address, Password            string
}

// pause between looks for a mail that is not there yet.
const pause = 500 * time.Millisecond

// Send sends a mail to the account itself, through SMTP and through submission, and gives what its subjects say.
func Send(ctx context.Context, t Target) ([]string, error) {
	var tokens []string
	for _, way := range []struct {
		name, addr string
		login      bool
	}{{"smtp", t.SMTP, false}, {"submission", t.Submission, true}} {
		if way.addr == "" {
			continue
		}
		token := rand.Text()
		if err := t.send(ctx, way.addr, way.login, token); err != nil {
			return nil, fmt.Errorf("send through %s at %s: %w", way.name, way.addr, err)
		}
		tokens = append(tokens, token)
	}
	if len(tokens) == 0 {
		return nil, errors.New("neither SMTP nor submission to send through")
	}
	return tokens, nil
}

func (t Target) send(ctx context.Context, addr string, login bool, token string) error {
	conn, err := t.dial(ctx, addr, login)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := smtp.NewClient(conn)
	if !login {
		if client, err = smtp.NewClientStartTLS(conn, t.config(addr)); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if login {
		if err := client.Auth(sasl.NewPlainClient("", t.Address, t.Password)); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
	}
	text := fmt.Sprintf("From: <%s>\r\nTo: <%[1]s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%[2]s@probe.invalid>\r\n\r\nSent to be read back.\r\n",
		t.Address, token, time.Now().UTC().Format(time.RFC1123Z))
	if err := client.SendMail(t.Address, []string{t.Address}, strings.NewReader(text)); err != nil {
		return err
	}
	return client.Quit()
}

// ReadIMAP waits until IMAP shows the mails of all tokens, or ctx ends.
func ReadIMAP(ctx context.Context, t Target, tokens []string) error {
	conn, err := t.dial(ctx, t.IMAP, true)
	if err != nil {
		return fmt.Errorf("connect to IMAP at %s: %w", t.IMAP, err)
	}
	client := imapclient.New(conn, nil)
	defer func() { _ = client.Close() }() // after LOGOUT it is closed already
	if err := client.Login(t.Address, t.Password).Wait(); err != nil {
		return fmt.Errorf("log in to IMAP: %w", err)
	}
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		return fmt.Errorf("select INBOX: %w", err)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	for _, token := range tokens {
		err := await(ctx, func() (bool, error) {
			found, err := client.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: token}}}, nil).Wait()
			if err != nil || len(found.AllUIDs()) == 0 {
				return false, err
			}
			mails, err := client.Fetch(imap.UIDSetNum(found.AllUIDs()...), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
			if err != nil {
				return false, err
			}
			return len(mails) == 1 && bytes.Contains(mails[0].FindBodySection(section), []byte("Sent to be read back.")), nil
		})
		if err != nil {
			return fmt.Errorf("read the mail by IMAP: %w", err)
		}
	}
	return client.Logout().Wait()
}

// ReadPOP3 counts the mails that POP3 shows and reads the first.
func ReadPOP3(ctx context.Context, t Target, want int) error {
	conn, err := t.dial(ctx, t.POP3, true)
	if err != nil {
		return fmt.Errorf("connect to POP3 at %s: %w", t.POP3, err)
	}
	defer conn.Close()
	p := newPOP3(conn)
	if err := p.greeting(); err != nil {
		return err
	}
	for _, command := range []string{"USER " + t.Address, "PASS " + t.Password} {
		if _, err := p.command(command); err != nil {
			return err
		}
	}
	stat, err := p.command("STAT")
	if err != nil {
		return err
	}
	var count, size int
	if _, err := fmt.Sscanf(stat, "%d %d", &count, &size); err != nil || count != want {
		return fmt.Errorf("POP3 shows %q, not %d mails", stat, want)
	}
	if _, err := p.command("RETR 1"); err != nil {
		return err
	}
	if text, err := io.ReadAll(p.DotReader()); err != nil || !bytes.Contains(text, []byte("Sent to be read back.")) {
		return fmt.Errorf("read the mail by POP3: %q, %w", text, errors.Join(err, errUnknownText))
	}
	_, err = p.command("QUIT")
	return err
}

var errUnknownText = errors.New("not the mail that was sent")

func (t Target) dial(ctx context.Context, addr string, secure bool) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if secure {
		return tls.Client(conn, t.config(addr)), nil
	}
	return conn, nil
}

// config is the TLS configuration for an address.
func (t Target) config(addr string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLS != nil {
		c = t.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return c
}

// await asks until the answer is yes or ctx ends.
func await(ctx context.Context, ask func() (bool, error)) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		yes, err := ask()
		if yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
