// Package hostile tests Yubin with clients and mail that mean it harm: each gets its protocol's own error, limits hold, nothing is lost,
// and everybody else is served on.
package hostile

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

const (
	mib = 1 << 20
	// patience is longer than any change takes in a healthy system.
	patience = 30 * time.Second
	tick     = 50 * time.Millisecond
)

// system is a running Yubin with a user who was there before the trouble.
type system struct {
	*harness.System
	bystander *imapclient.Client
}

// cheapPasswords spares the tests what logins cost.
var cheapPasswords = []string{
	"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
}

// start starts the all-in-one with the accounts alice and bob; bob has a session and a mail.
func start(t *testing.T, args ...string) *system {
	t.Helper()
	s := &system{System: harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}, Args: append(cheapPasswords[:len(cheapPasswords):len(cheapPasswords)], args...)})}
	s.Deliver(t, "bob", harness.Compose("Before", "the trouble"))
	s.bystander = s.IMAPClient(t, 0, "bob", nil)
	_, err := s.bystander.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	return s
}

// serves checks that the system is well: it is ready, its memory is bounded, the bystander's session goes on with its mail, and new mail comes in.
func (s *system) serves(t *testing.T) {
	t.Helper()
	for _, p := range s.Processes {
		require.NoError(t, p.Ready(t), "%s is ready", p.Name)
		require.Less(t, p.PeakMemory(t), int64(600*mib), "memory of %s", p.Name)
	}
	s.Deliver(t, "bob", harness.Compose("After", "the trouble"))
	require.NoError(t, s.bystander.Noop().Wait())
	bodies := harness.Bodies(t, s.bystander, "INBOX")
	require.GreaterOrEqual(t, len(bodies), 2)
	require.Contains(t, string(bodies[0]), "Subject: Before")
	require.Contains(t, string(bodies[len(bodies)-1]), "Subject: After")
	pop := s.POP3Client(t, "bob")
	require.Equal(t, len(bodies), pop.Count())
	pop.Do("QUIT")
}

// inbox gives alice's mail.
func (s *system) inbox(t *testing.T) [][]byte {
	t.Helper()
	c := s.IMAPClient(t, 0, "alice", nil)
	defer c.Close()
	return harness.Bodies(t, c, "INBOX")
}

// imap logs alice in over TLS and gives the bare connection, with INBOX selected.
func (s *system) imap(t *testing.T) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.IMAPS[0], true)
	w.Expect(`^\* OK`)
	w.Do(`in LOGIN `+harness.Address("alice")+` "`+harness.Password+`"`, `^in OK`)
	w.Do(`in SELECT INBOX`, `^in OK`)
	return w
}

// pop3 logs alice in over TLS and gives the bare connection.
func (s *system) pop3(t *testing.T) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.POP3S, true)
	w.Expect(`^\+OK`)
	w.Do("USER "+harness.Address("alice"), `^\+OK`)
	w.Do("PASS "+harness.Password, `^\+OK`)
	return w
}

// smtp greets a server that takes mail from others.
func (s *system) smtp(t *testing.T) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.SMTP, false)
	w.Expect(`^220 `)
	w.Do("EHLO client.example", `^250 `)
	return w
}

// lmtp greets a server that takes mail from servers of ours.
func (s *system) lmtp(t *testing.T) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.LMTP, false)
	w.Expect(`^220 `)
	w.Do("LHLO client.example", `^250 `)
	return w
}

// envelope opens a transaction to alice.
func envelope(w *harness.Wire) {
	w.Do("MAIL FROM:<sender@elsewhere.example>", `^250 `)
	w.Do("RCPT TO:<"+harness.Address("alice")+">", `^250 `)
}

// data opens a transaction to alice up to the text.
func data(w *harness.Wire) {
	envelope(w)
	w.Do("DATA", `^354 `)
}

// appendMessage appends over IMAP.
func appendMessage(t *testing.T, c *imapclient.Client, mailbox string, message []byte) error {
	t.Helper()
	cmd := c.Append(mailbox, int64(len(message)), &imap.AppendOptions{})
	if _, err := cmd.Write(message); err != nil {
		return err
	}
	if err := cmd.Close(); err != nil {
		return err
	}
	_, err := cmd.Wait()
	return err
}

// long is n octets of text.
func long(n int) string { return strings.Repeat("x", n) }
