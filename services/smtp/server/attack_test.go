package server

import (
	"io"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// login is a submission session of bob.
func (s *system) login(t *testing.T) *client {
	t.Helper()
	c := s.dial(t, "submissions")
	c.talk("EHLO x", "250", "AUTH PLAIN "+plain("bob@example.test", "secret"), "235")
	return c
}

func TestTooManyFailedLoginsEndTheSession(t *testing.T) {
	s := start(t)
	c := s.dial(t, "submissions")
	c.talk("EHLO x", "250")
	for range 3 {
		c.talk("AUTH PLAIN "+plain("bob@example.test", "wrong"), "535 5.7.8")
	}
	c.expect("421 4.7.0 mx.example.test Too many failed logins")
	_, err := c.r.ReadByte()
	require.Error(t, err)
}

func TestALoginThatIsGivenUpIsFollowedByAnother(t *testing.T) {
	c := start(t).dial(t, "submissions")
	c.talk("EHLO x", "250",
		"AUTH PLAIN", "334", "*", "501",
		"AUTH NONSENSE", "504",
		"AUTH PLAIN", "334", plain("bob@example.test", "secret"), "235")
}

func TestNoLoginWithinATransaction(t *testing.T) {
	s := start(t, func(c *Config) { c.InsecureAuth = true })
	c := s.login(t)
	c.talk("MAIL FROM:<bob@example.test>", "250", "AUTH PLAIN "+plain("alice@example.test", "secret"), "503 5.5.1")
}

func TestEveryCopyOfARecipientIsAnsweredAndOneIsStored(t *testing.T) {
	s := start(t)
	c := s.dial(t, "lmtp")
	c.talk("LHLO x", "250", "MAIL FROM:<zed@peer.example>", "250",
		"RCPT TO:<alice@example.test>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<team@example.test>", "250", "DATA", "354")
	c.send(body + ".\r\n")
	c.expect("250 2.0.0 <alice@example.test>")
	c.expect("250 2.0.0 <alice@example.test>")
	c.expect("250 2.0.0 <team@example.test>")
	c.talk("NOOP", "250")
	require.Len(t, s.storage.inbox("alice"), 1)
	require.Len(t, s.storage.inbox("bob"), 1)
}

func TestAnAliasIsFullWhenOneOfItsAccountsIs(t *testing.T) {
	s := start(t)
	s.storage.full["alice"] = true
	c := s.dial(t, "lmtp")
	c.talk("LHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<bob@example.test>", "250", "RCPT TO:<team@example.test>", "250", "DATA", "354")
	c.send(body + ".\r\n")
	c.expect("250 2.0.0 <bob@example.test>")
	c.expect("552 5.2.2 <team@example.test>")
	require.Len(t, s.storage.inbox("bob"), 1)
}

func TestLMTPAnswersForEachRecipientOfABDATThatFails(t *testing.T) {
	s := start(t)
	c := s.dial(t, "lmtp")
	c.talk("LHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250")
	c.send("BDAT 12\r\nSubject: a\n\r")
	c.expect("250 2.0.0 Continue")
	c.send("BDAT 5 LAST\r\nmore\n")
	c.expect("554 5.6.0 <alice@example.test>")
	c.expect("554 5.6.0 <bob@example.test>")
	c.talk("MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250")
	c.send("BDAT 17 LAST\r\nSubject: a\r\n\r\nx\r\n")
	c.expect("250 2.0.0 <alice@example.test>")
	require.Len(t, s.storage.inbox("alice"), 1)
	require.Empty(t, s.storage.inbox("bob"))
}

func TestEveryRecipientIsCountedOnce(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250")
	both := func(message, answer string) {
		c.talk("MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354", message+".", answer)
	}
	both(body, "250")
	both("Subject: a\r\n\r\nbare\nline\r\n", "554 5.6.0")
	both(strings.Repeat("Received: x\r\n", 51)+"\r\n", "554 5.4.6")
	s.storage.full["alice"] = true
	both(body, "452 4.2.2")
	s.storage.failBefore = 100
	both(body, "451 4.3.0")
	s.storage.failBefore = 0
	c.talk("MAIL FROM:<>", "250", "RCPT TO:<nobody@example.test>", "550 5.1.1", "RCPT TO:<carol@example.test>", "550 5.2.1", "RCPT TO:<x@foreign.example>", "550 5.7.1")
	s.quota.set(func() { s.quota.full["alice"] = true })
	c.talk("RCPT TO:<alice@example.test>", "552 5.2.2")
	s.quota.set(func() { s.quota.down = true })
	c.talk("RCPT TO:<bob@example.test>", "451 4.3.0", "QUIT", "221")
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, map[string]float64{"stored": 2, "refused": 6, "over_quota": 2, "deferred": 4, "unknown": 1}, s.counted(t, "yubin_smtp_recipients_total", "outcome"))
	require.Equal(t, map[string]float64{"EHLO": 1, "MAIL": 6, "RCPT": 15, "DATA": 5}, s.counted(t, "yubin_smtp_commands_total", "command"))
	for name, want := range map[string]uint64{"yubin_smtp_delivery_seconds": 5, "yubin_smtp_commit_seconds": 2, "yubin_smtp_end_to_end_seconds": 1} {
		require.Equal(t, want, s.observed(t, name), name)
	}
	require.Equal(t, map[string]float64{"greeted": 0, "authenticated": 0, "transaction": 0}, s.counted(t, "yubin_smtp_sessions", "state"))
}

// counted adds up the series of a metric of the listener smtp by a label.
func (s *system) counted(t *testing.T, name, by string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	s.series(t, name, func(m *dto.Metric, labels map[string]string) {
		out[labels[by]] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	})
	return out
}

// observed counts the observations of a histogram of the listener smtp.
func (s *system) observed(t *testing.T, name string) (n uint64) {
	t.Helper()
	s.series(t, name, func(m *dto.Metric, _ map[string]string) { n += m.GetHistogram().GetSampleCount() })
	return n
}

func (s *system) series(t *testing.T, name string, each func(m *dto.Metric, labels map[string]string)) {
	t.Helper()
	families, err := s.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && labels["listener"] == "smtp" {
				each(m, labels)
			}
		}
	}
}

// TestBDATThatIsGivenUp has the goroutine of a BDAT meet everything that can end it.
func TestBDATThatIsGivenUp(t *testing.T) {
	s := start(t, func(c *Config) { c.InsecureAuth = true })
	for _, given := range []string{"RSET\r\n", "EHLO y\r\n", "MAIL FROM:<>\r\nRSET\r\n", "AUTH PLAIN " + plain("bob@example.test", "secret") + "\r\nRSET\r\n"} {
		for _, chunk := range []string{"BDAT 0\r\n", "BDAT 12\r\nSubject: a\r\n", "BDAT 17\r\nSubject: a\r\n\r\nx\r\n"} {
			c := s.dial(t, "smtp")
			c.talk("EHLO x", "250")
			c.send("MAIL FROM:<evil@example.test>\r\nRCPT TO:<alice@example.test>\r\n" + chunk + given)
			for range 3 + strings.Count(given, "\r\n") {
				c.expect("")
			}
			c.talk("MAIL FROM:<>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354", body+".", "250")
		}
	}
	require.Empty(t, s.storage.inbox("alice"))
	for _, mail := range s.storage.inbox("bob") {
		require.Contains(t, mail, "Return-Path: <>\r\nDelivered-To: bob@example.test\r\nReceived: from ")
	}
	require.Len(t, s.storage.inbox("bob"), 12)
}

func TestQuotedAndInternationalAddresses(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250",
		`MAIL FROM:<"a b\"c"@peer.example>`, "250", `RCPT TO:<"alice"@example.test>`, "250",
		"DATA", "354", body+".", "250",
		"MAIL FROM:<jürgen@peer.example>", "553 5.6.7",
		"MAIL FROM:<jürgen@peer.example> SMTPUTF8", "250", "RCPT TO:<alice@example.test>", "250",
		"DATA", "354", body+".", "250")
	mails := s.storage.inbox("alice")
	require.Len(t, mails, 2)
	require.True(t, strings.HasPrefix(mails[0], `Return-Path: <"a b\"c"@peer.example>`+"\r\n"), mails[0])
	require.True(t, strings.HasPrefix(mails[1], "Return-Path: <jürgen@peer.example>\r\n"), mails[1])
	require.Contains(t, mails[1], "with UTF8SMTP id")
}

func TestARecipientThatIsNoAddress(t *testing.T) {
	c := start(t).dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<malformed@example.test>", "553 5.1.3")
}

func TestNobodyHidesBehindASecondAuthor(t *testing.T) {
	s := start(t)
	for _, header := range []string{
		"From: bob@example.test\r\nFrom: alice@example.test\r\n",
		"From: bob@example.test\r\nSender: bob@example.test\r\nSender: alice@example.test\r\n",
	} {
		s.login(t).talk("MAIL FROM:<bob@example.test>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354", header+"\r\n.", "554 5.6.0")
	}
	s.login(t).talk("MAIL FROM:<bob@example.test>", "250", "RCPT TO:<alice@example.test>", "250",
		"DATA", "354", "From: bob@example.test, alice@example.test\r\nSender: bob@example.test\r\n\r\n.", "550 5.7.1")
	require.Empty(t, s.storage.inbox("alice"))
}

func TestMailThatNobodyIsToldOfIsForAllOrNone(t *testing.T) {
	s := start(t)
	s.storage.full["alice"] = true
	s.login(t).talk("MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354", body+".", "452 4.2.2")
	require.Empty(t, s.storage.inbox("bob"))
	require.Empty(t, s.storage.notices["bob"])
}
