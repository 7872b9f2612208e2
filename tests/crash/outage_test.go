package crash

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// hurry lets gateways give up soon on services that do not answer.
var hurry = []string{"--smtp-call-timeout", "3s", "--pop3-call-timeout", "3s", "--imap-call-timeout", "3s"}

// imapWire logs in over TLS.
func imapWire(t *testing.T, s *harness.System, name string) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.IMAPS[0], true)
	w.Expect(`^\* OK`)
	w.Do(`in LOGIN `+harness.Address(name)+` "`+harness.Password+`"`, `^in OK`)
	return w
}

// appendMessage appends over IMAP.
func appendMessage(c *imapclient.Client, mailbox string, message []byte) error {
	cmd := c.Append(mailbox, int64(len(message)), nil)
	if _, err := cmd.Write(message); err != nil {
		return err
	}
	if err := cmd.Close(); err != nil {
		return err
	}
	_, err := cmd.Wait()
	return err
}

// deliversAgain waits until mail flows.
func deliversAgain(t *testing.T, s *harness.System, name string, message []byte) {
	t.Helper()
	require.Eventually(t, func() bool {
		return s.Send("sender@elsewhere.example", []string{harness.Address(name)}, message) == nil
	}, settleTime, tick, "mail flows again")
}

func TestWithoutStorageMailWaitsAndSessionsLive(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: append(settings[:len(settings):len(settings)], hurry...)})
	message := harness.Compose("Before", "x")
	s.Deliver(t, "alice", message)
	w := imapWire(t, s, "alice")
	w.Do("a SELECT INBOX", `^a OK`)
	submitter := s.Wire(t, s.SMTP, false)
	submitter.Expect(`^220 `)
	submitter.Do("EHLO client.example", `^250 `)
	pop := s.POP3Client(t, "alice")
	pop.Do("DELE 1")

	s.Process(t, "storage").Kill()
	submitter.Do("MAIL FROM:<sender@elsewhere.example>", `^250 `)
	submitter.Do("RCPT TO:<alice@example.test>", `^250 `)
	submitter.Do("DATA", `^354 `)
	submitter.Do("Subject: x\r\n\r\nbody\r\n.", `^451 4\.3\.0 `)
	w.Do("b NOOP", `^b (OK|NO \[UNAVAILABLE\])`)
	w.Do("c FETCH 1 BODY.PEEK[]", `^c NO \[UNAVAILABLE\]`)
	w.Do("d STATUS Archive (MESSAGES)", `^d NO \[UNAVAILABLE\]`)
	w.Do("e CREATE Plans", `^e NO \[UNAVAILABLE\]`)
	w.Do("f STORE 1 +FLAGS (\\Seen)", `^f NO \[UNAVAILABLE\]`)
	w.Send("g APPEND INBOX {6+}\r\nX: y\r\n\r\n")
	w.Expect(`^g NO \[UNAVAILABLE\]`)
	_, err := pop.Try("QUIT")
	require.ErrorContains(t, err, "-ERR", "a QUIT that cannot delete says so")
	_, err = s.DialPOP3(t, "alice")
	require.ErrorContains(t, err, "[SYS/TEMP]")

	s.Process(t, "storage").Start(t)
	require.Eventually(t, func() bool {
		w.Send("h FETCH 1 BODY.PEEK[]\r\n")
		return w.Expect(`^h `)[:4] == "h OK"
	}, settleTime, tick, "the same session goes on")
	w.Do("i STORE 1 +FLAGS (\\Seen)", `^i OK`)
	submitter.Do("RSET", `^250 `)
	submitter.Do("MAIL FROM:<sender@elsewhere.example>", `^250 `)
	submitter.Do("RCPT TO:<alice@example.test>", `^250 `)
	submitter.Do("DATA", `^354 `)
	submitter.Do("Subject: x\r\n\r\nbody\r\n.", `^250 `)
	require.Len(t, harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"), 2, "nothing is lost, and nothing twice")
	s.NoDrift(t)
}

func TestWithoutQuotaMailWaitsAndReadingGoesOn(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: append(settings[:len(settings):len(settings)], hurry...)})
	s.Deliver(t, "alice", harness.Compose("Before", "x"))
	c := s.IMAPClient(t, 0, "alice", nil)

	s.Process(t, "quota").Kill()
	code, enhanced := harness.SMTPCode(s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, harness.Compose("Refused", "x")))
	require.Equal(t, 451, code)
	require.Equal(t, "4.3.0", enhanced)
	require.ErrorContains(t, appendMessage(c, "INBOX", harness.Compose("Refused", "x")), "UNAVAILABLE")
	require.Len(t, harness.Bodies(t, c, "INBOX"), 1, "reading needs no quota")
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.NoError(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	require.NoError(t, c.Expunge().Close(), "nor does deleting")

	s.Process(t, "quota").Start(t)
	deliversAgain(t, s, "alice", harness.Compose("After", "x"))
	require.NoError(t, appendMessage(c, "INBOX", harness.Compose("After", "x")), "the same session goes on")
	require.Len(t, harness.Bodies(t, c, "INBOX"), 2)
	s.NoDrift(t)
}

func TestWithoutTheDirectoryMailWaitsAndReadingGoesOn(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: append(settings[:len(settings):len(settings)], hurry...)})
	s.Deliver(t, "alice", harness.Compose("Before", "x"))
	c := s.IMAPClient(t, 0, "alice", nil)
	pop := s.POP3Client(t, "alice")

	s.Process(t, "directory").Kill()
	code, enhanced := harness.SMTPCode(s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, harness.Compose("Refused", "x")))
	require.Equal(t, 451, code)
	require.Equal(t, "4.3.0", enhanced)
	require.Len(t, harness.Bodies(t, c, "INBOX"), 1, "who is logged in stays so")
	require.Equal(t, 1, pop.Count())
	pop.Do("QUIT")
	w := s.Wire(t, s.IMAPS[0], true)
	w.Do(`a LOGIN alice@example.test "`+harness.Password+`"`, `^a NO \[UNAVAILABLE\]`)
	_, err := s.DialPOP3(t, "alice")
	require.ErrorContains(t, err, "[SYS/TEMP]")

	s.Process(t, "directory").Start(t)
	deliversAgain(t, s, "alice", harness.Compose("After", "x"))
	require.Eventually(t, func() bool {
		w.Send(`b LOGIN alice@example.test "` + harness.Password + "\"\r\n")
		return w.Expect(`^b `)[:4] == "b OK"
	}, settleTime, tick, "the same connection logs in")
	require.Len(t, harness.Bodies(t, c, "INBOX"), 2)
	s.NoDrift(t)
}
