package harness

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Send delivers a message over SMTP as a foreign server does. The error is the server's answer (*smtp.SMTPError) or the connection's.
func (s *System) Send(from string, to []string, message []byte) error {
	c, err := smtp.Dial(s.SMTP)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := transact(c, from, to, message); err != nil {
		return err
	}
	return c.Quit()
}

// Deliver is Send for one account of Domain; it must succeed.
func (s *System) Deliver(tb testing.TB, name string, message []byte) {
	tb.Helper()
	if err := s.Send("sender@elsewhere.example", []string{Address(name)}, message); err != nil {
		tb.Fatalf("deliver to %s: %v", name, err)
	}
}

// Submit sends a message over submission with TLS, logged in as an account.
func (s *System) Submit(tb testing.TB, name string, to []string, message []byte) error {
	tb.Helper()
	c, err := smtp.DialTLS(s.Submissions, s.TLS(tb))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", Address(name), Password)); err != nil {
		return err
	}
	if err := transact(c, Address(name), to, message); err != nil {
		return err
	}
	return c.Quit()
}

func transact(c *smtp.Client, from string, to []string, message []byte) error {
	if err := c.Mail(from, &smtp.MailOptions{Size: int64(len(message))}); err != nil {
		return err
	}
	for _, rcpt := range to {
		if err := c.Rcpt(rcpt, nil); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	return w.Close()
}

// SMTPCode gives the reply code and the enhanced code of an answer, or 0 and "".
func SMTPCode(err error) (code int, enhanced string) {
	var answer *smtp.SMTPError
	if !errors.As(err, &answer) {
		return 0, ""
	}
	e := answer.EnhancedCode
	return answer.Code, fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// Compose makes a small message.
func Compose(subject, body string) []byte {
	return []byte("From: Sender <sender@elsewhere.example>\r\nTo: someone@" + Domain + "\r\nSubject: " + subject +
		"\r\nDate: Sun, 01 Mar 2026 12:00:00 +0000\r\nMessage-ID: <" + strconv.FormatInt(time.Now().UnixNano(), 36) + "@elsewhere.example>\r\n\r\n" +
		strings.ReplaceAll(body, "\n", "\r\n") + "\r\n")
}

// IMAPClient logs an account in over TLS, on the given gateway. The test's end closes it.
func (s *System) IMAPClient(tb testing.TB, gateway int, name string, options *imapclient.Options) *imapclient.Client {
	tb.Helper()
	if options == nil {
		options = &imapclient.Options{}
	}
	options.TLSConfig = s.TLS(tb)
	c, err := imapclient.DialTLS(s.IMAPS[gateway], options)
	if err != nil {
		tb.Fatalf("connect to imap: %v", err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.Login(Address(name), Password).Wait(); err != nil {
		tb.Fatalf("imap login: %v", err)
	}
	return c
}

// Bodies fetches every message of a mailbox, in order of UID.
func Bodies(tb testing.TB, c *imapclient.Client, mailbox string) [][]byte {
	tb.Helper()
	data, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		tb.Fatalf("select %s: %v", mailbox, err)
	}
	if data.NumMessages == 0 {
		return nil
	}
	section := &imap.FetchItemBodySection{Peek: true}
	all := imap.SeqSet{}
	all.AddRange(1, data.NumMessages)
	messages, err := c.Fetch(all, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		tb.Fatalf("fetch %s: %v", mailbox, err)
	}
	var out [][]byte
	for _, m := range messages {
		out = append(out, m.FindBodySection(section))
	}
	return out
}

// trace is what delivery puts before a message that came over SMTP or LMTP.
var trace = regexp.MustCompile(`\AReturn-Path: <[^\r\n]*>\r\nDelivered-To: [^\r\n]+\r\nReceived: from [^\r\n]+\r\n(\t[^\r\n]+\r\n)+?\t[A-Z][a-z]{2}, [^\r\n;]+\r\n`)

// AfterTrace gives a delivered message as its sender sent it.
func AfterTrace(tb testing.TB, message []byte) []byte {
	tb.Helper()
	loc := trace.FindIndex(message)
	if loc == nil {
		tb.Fatalf("no trace fields at the beginning of %.300q", message)
	}
	return message[loc[1]:]
}

// POP3 is a small POP3 client.
type POP3 struct {
	tb   testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// POP3Client logs an account in over TLS. The test's end closes it.
func (s *System) POP3Client(tb testing.TB, name string) *POP3 {
	tb.Helper()
	p, err := s.DialPOP3(tb, name)
	if err != nil {
		tb.Fatalf("pop3 login: %v", err)
	}
	return p
}

// DialPOP3 is POP3Client for logins that may fail; the error is the server's text.
func (s *System) DialPOP3(tb testing.TB, name string) (*POP3, error) {
	tb.Helper()
	return s.DialPOP3As(tb, name, Password)
}

// DialPOP3As is DialPOP3 with any password.
func (s *System) DialPOP3As(tb testing.TB, name, password string) (*POP3, error) {
	tb.Helper()
	conn, err := tls.Dial("tcp", s.POP3S, s.TLS(tb))
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = conn.Close() })
	p := &POP3{tb: tb, conn: conn, r: bufio.NewReader(conn)}
	if err := p.login(name, password); err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

func (p *POP3) login(name, password string) error {
	_, err := p.answer()
	for _, line := range []string{"USER " + Address(name), "PASS " + password} {
		if err == nil {
			_, err = p.Try(line)
		}
	}
	return err
}

// Try sends a command and gives the text after +OK, or the text after -ERR as an error.
func (p *POP3) Try(line string) (string, error) {
	if _, err := io.WriteString(p.conn, line+"\r\n"); err != nil {
		return "", err
	}
	return p.answer()
}

// Do is Try for a command that must succeed.
func (p *POP3) Do(line string) string {
	p.tb.Helper()
	text, err := p.Try(line)
	if err != nil {
		p.tb.Fatalf("%s: %v", line, err)
	}
	return text
}

// Multi is Do for a command with a multi-line answer, which it gives without dot-stuffing.
func (p *POP3) Multi(line string) []byte {
	p.tb.Helper()
	p.Do(line)
	text, err := p.Rest()
	if err != nil {
		p.tb.Fatalf("%s: %v", line, err)
	}
	return text
}

// Rest reads the lines of a multi-line answer, after its first one, without dot-stuffing.
func (p *POP3) Rest() ([]byte, error) {
	var out bytes.Buffer
	for {
		l, err := p.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(l) == ".\r\n" {
			return out.Bytes(), nil
		}
		out.Write(bytes.TrimPrefix(l, []byte(".")))
	}
}

// Count is the number of messages in the maildrop.
func (p *POP3) Count() int {
	p.tb.Helper()
	n, err := strconv.Atoi(strings.Fields(p.Do("STAT"))[0])
	if err != nil {
		p.tb.Fatal(err)
	}
	return n
}

// Drop closes the connection without QUIT.
func (p *POP3) Drop() { _ = p.conn.Close() }

func (p *POP3) answer() (string, error) {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if text, ok := strings.CutPrefix(line, "+OK"); ok {
		return strings.TrimSpace(text), nil
	}
	return "", errors.New(line)
}
