package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/yubin-mail/yubin/tests/harness"
)

// pace is how often each user does something: the load shall be varied, not high. Those who do harm do it more seldom.
const (
	pace = 150 * time.Millisecond
	rare = 4 * pace
)

// user is what somebody does with a mail system again and again; n counts the times.
type user struct {
	name string
	pace time.Duration
	do   func(s *harness.System, tb testing.TB, n int) error
}

// users are people and machines, good and bad.
var users = []user{
	{"a foreign server delivers", pace, deliver},
	{"a foreign server uses STARTTLS", pace, deliverEncrypted},
	{"a user sends", pace, submit},
	{"a user reads on a phone", pace, read},
	{"a user waits for mail", pace, idle},
	{"a user tidies up", pace, tidy},
	{"an old PC downloads", pace, download},
	{"a friend writes to a full box", rare, overfill},
	{"a spammer guesses addresses", rare, guessAddress},
	{"somebody guesses IMAP passwords", rare, guessIMAP},
	{"somebody guesses POP3 passwords", rare, guessPOP3},
	{"somebody guesses SMTP passwords", rare, guessSMTP},
}

// accounts that the users need; full has a limit of limitOfFull.
var accounts = []string{"alice", "bob", "carol", "full", "victim"}

const limitOfFull = "36kB"

// load has all users at work on a system until ctx ends. What fails is counted; the returned function tells what never worked.
func load(ctx context.Context, tb testing.TB, s *harness.System) (wait func() error) {
	tb.Helper()
	s.CLI(tb, "quota", "set", harness.Address("full"), limitOfFull)
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		failed = map[string]error{}
	)
	for _, u := range users {
		failed[u.name] = errors.New("had no time")
	}
	for _, u := range users {
		all.Go(func() {
			worked := false
			for n := 0; ctx.Err() == nil; n++ {
				err := u.do(s, tb, n)
				if worked = worked || err == nil; worked {
					err = nil
				}
				mu.Lock()
				failed[u.name] = err
				mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(u.pace):
				}
			}
		})
	}
	return func() error {
		all.Wait()
		var errs []error
		for name, err := range failed {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
		return errors.Join(errs...)
	}
}

// large is the size of the largest messages.
const large = 1_200_000

// refused turns the refusal that a user has to meet into success.
func refused(err error, want ...string) error {
	if err == nil {
		return errors.New("it was not refused")
	}
	for _, w := range want {
		if strings.Contains(err.Error(), w) {
			return nil
		}
	}
	return err
}

func message(n int) []byte {
	size := 400
	switch {
	case n%20 == 18: // of more than a cache in memory has room for, and to alice
		size = large
	case n%5 == 4:
		size = 30_000
	}
	return harness.Compose(fmt.Sprintf("Number %d", n), strings.Repeat("All work and no play makes a dull mailbox.\n", 1+size/43))
}

func deliver(s *harness.System, _ testing.TB, n int) error {
	to := []string{harness.Address(accounts[n%3])}
	if n%4 == 0 {
		to = append(to, harness.Address(accounts[(n+1)%3]))
	}
	return s.Send("sender@elsewhere.example", to, message(n))
}

func deliverEncrypted(s *harness.System, tb testing.TB, n int) error {
	c, err := smtp.DialStartTLS(s.SMTP, s.TLS(tb))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SendMail("sender@elsewhere.example", []string{harness.Address("carol")}, strings.NewReader(string(message(n))))
}

func guessAddress(s *harness.System, _ testing.TB, n int) error {
	return refused(s.Send("spammer@elsewhere.example", []string{harness.Address(fmt.Sprintf("nobody%d", n))}, message(0)), "5")
}

func overfill(s *harness.System, _ testing.TB, n int) error {
	err := s.Send("friend@elsewhere.example", []string{harness.Address("full")}, message(4-4*(n%2))) // large ones, and small ones for the rest
	if err == nil {
		return nil // it still fits
	}
	return refused(err, "5.2.2", "full")
}

func submit(s *harness.System, tb testing.TB, n int) error {
	return s.Submit(tb, "bob", []string{harness.Address("alice")}, bytes.Replace(message(n), []byte("sender@elsewhere.example"), []byte(harness.Address("bob")), 1))
}

// imapOn gives a session that is logged in, on one gateway after the other.
func imapOn(s *harness.System, tb testing.TB, n int, name, password string) (*imapclient.Client, error) {
	options := &imapclient.Options{TLSConfig: s.TLS(tb)}
	var c *imapclient.Client
	var err error
	if n%2 == 0 {
		c, err = imapclient.DialTLS(s.IMAPS[n%len(s.IMAPS)], options)
	} else {
		c, err = imapclient.DialStartTLS(s.IMAP[n%len(s.IMAP)], options)
	}
	if err != nil {
		return nil, err
	}
	if err := c.Login(harness.Address(name), password).Wait(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func read(s *harness.System, tb testing.TB, n int) error {
	c, err := imapOn(s, tb, n, "alice", harness.Password)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.List("", "*", nil).Collect(); err != nil {
		return err
	}
	inbox, err := c.Select("INBOX", nil).Wait()
	if err != nil || inbox.NumMessages == 0 {
		return errors.Join(err, errors.New("no mail yet"))
	}
	last := imap.SeqSet{}
	last.AddRange(max(1, inbox.NumMessages-min(inbox.NumMessages-1, 20)), inbox.NumMessages)
	if _, err := c.Fetch(last, &imap.FetchOptions{Envelope: true, Flags: true, UID: true, InternalDate: true}).Collect(); err != nil {
		return err
	}
	one := imap.SeqSetNum(inbox.NumMessages)
	found, err := c.Search(&imap.SearchCriteria{Larger: large}, nil).Wait()
	if err != nil {
		return err
	}
	big := found.AllSeqNums()
	for _, n := range append(big[:min(2, len(big))], inbox.NumMessages, inbox.NumMessages) { // what was read once is in a cache
		if _, err := c.Fetch(imap.SeqSetNum(n), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect(); err != nil {
			return err
		}
	}
	if err := c.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close(); err != nil {
		return err
	}
	if _, err := c.Select("No such mailbox", nil).Wait(); err == nil {
		return errors.New("a mailbox that does not exist was selected")
	}
	return c.Logout().Wait()
}

func idle(s *harness.System, tb testing.TB, n int) error {
	c, err := imapOn(s, tb, n, "alice", harness.Password)
	if err != nil {
		return err
	}
	defer c.Close() // without a word, as phones do
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		return err
	}
	waiting, err := c.Idle()
	if err != nil {
		return err
	}
	select {
	case <-tb.Context().Done():
	case <-time.After(20 * pace):
	}
	return waiting.Close()
}

func tidy(s *harness.System, tb testing.TB, n int) error {
	c, err := imapOn(s, tb, n, "carol", harness.Password)
	if err != nil {
		return err
	}
	defer c.Close()
	draft := message(0)
	w := c.Append("Drafts", int64(len(draft)), nil)
	_, _ = w.Write(draft)
	_ = w.Close()
	if _, err := w.Wait(); err != nil {
		return err
	}
	inbox, err := c.Select("INBOX", nil).Wait()
	if err != nil || inbox.NumMessages < 2 {
		return errors.Join(err, errors.New("no mail yet"))
	}
	if _, err := c.Move(imap.SeqSetNum(1), "Archive").Wait(); err != nil {
		return err
	}
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close(); err != nil {
		return err
	}
	return errors.Join(c.Expunge().Close(), c.Logout().Wait())
}

func download(s *harness.System, tb testing.TB, _ int) error {
	p, err := s.DialPOP3(tb, "bob")
	if err != nil {
		return err
	}
	defer p.Drop()
	for _, line := range []string{"STAT", "CAPA", "LIST", "UIDL"} {
		if _, err := p.Try(line); err != nil {
			return err
		}
		if line != "STAT" {
			if _, err := p.Rest(); err != nil {
				return err
			}
		}
	}
	if _, err := p.Try("RETR 1"); err != nil {
		return err
	}
	if _, err := p.Rest(); err != nil {
		return err
	}
	if _, err := p.Try("DELE 1"); err != nil {
		return err
	}
	_, err = p.Try("QUIT")
	return err
}

func guessIMAP(s *harness.System, tb testing.TB, n int) error {
	c, err := imapOn(s, tb, n, "victim", "guess")
	if err == nil {
		_ = c.Close()
	}
	return refused(err, "AUTHENTICATIONFAILED", "NO")
}

func guessPOP3(s *harness.System, tb testing.TB, n int) error {
	w, err := s.DialPOP3As(tb, "victim", fmt.Sprintf("guess%d", n))
	if err == nil {
		w.Drop()
	}
	return refused(err, "ERR")
}

func guessSMTP(s *harness.System, tb testing.TB, n int) error {
	c, err := smtp.DialTLS(s.Submissions, s.TLS(tb))
	if err != nil {
		return err
	}
	defer c.Close()
	return refused(c.Auth(sasl.NewPlainClient("", harness.Address("victim"), fmt.Sprintf("guess%d", n))), "5.7.8", "535", "454")
}
