package hostile

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// sends gives a text within DATA and takes the answer.
func sends(w *harness.Wire, text, answer string) {
	data(w)
	w.Send(text + "\r\n.\r\n")
	w.Expect(answer)
}

func TestSMTPLinesAndMessagesThatAreTooLongAreRefused(t *testing.T) {
	s := start(t, "--smtp-max-message-size", "2MiB")
	for _, greet := range []func(*testing.T) *harness.Wire{s.smtp, s.lmtp} {
		w := greet(t)
		w.Do("NOOP "+long(2*mib), `^5\d\d `)

		w = greet(t)
		sends(w, header+"\r\n"+long(2*mib-1000), `^5\d\d `)

		w = greet(t)
		sends(w, header+strings.Repeat("X: "+long(900)+"\r\n", 1200)+"\r\nbody", `^552 5\.3\.4 `)
		sends(w, header+"\r\n"+strings.Repeat(long(900)+"\r\n", 3000), `^552 5\.3\.4 `)
		w.Do("MAIL FROM:<sender@elsewhere.example> SIZE=2097153", `^552 5\.3\.4 `)
		w.Do("MAIL FROM:<sender@elsewhere.example> SIZE=99999999999999999999999", `^5\d\d `)
		w.Do("MAIL FROM:<sender@elsewhere.example> SIZE=-1", `^5\d\d `)
		sends(w, header+"Subject: still here\r\n\r\nbody", `^250 `)
		envelope(w)
		w.Do(fmt.Sprintf("BDAT %d", 3*mib), `^552 `)

		w = greet(t)
		w.Do("BDAT 9223372036854775808 LAST", `^5\d\d `)
	}
	require.Len(t, s.inbox(t), 2)
	s.serves(t)
}

func TestSMTPAddressesThatAreNoneAreRefused(t *testing.T) {
	s := start(t)
	for _, greet := range []func(*testing.T) *harness.Wire{s.smtp, s.lmtp} {
		for _, command := range []string{
			"MAIL FROM:<" + long(10_000) + "@elsewhere.example>",
			"MAIL FROM:<a\x00b@elsewhere.example>",
			"MAIL FROM:<caf\xe9@elsewhere.example>",
			"MAIL FROM:<\"a\\",
			"MAIL FROM:<a@elsewhere.example> BODY=\x01",
			"MAIL FROM:<a@elsewhere.example> " + strings.Repeat("X=Y ", 10_000),
			"MAIL",
			"MAIL FROM:",
		} {
			w := greet(t)
			w.Send(command + "\r\n")
			require.Regexp(t, `^5\d\d `, w.Line(), "%.60q", command)
		}
		for _, command := range []string{
			"RCPT TO:<" + strings.Repeat("(", 10_000) + "@example.test>",
			"RCPT TO:<alice\x00@example.test>",
			"RCPT TO:<alice@example.test\x01>",
			"RCPT TO:<al\xffice@example.test>",
			"RCPT TO:<alice@example.test",
			"RCPT TO:alice@example.test>",
			"RCPT TO:<" + strings.Repeat("alice+", 1000) + "@example.test>",
			"RCPT TO:<>",
		} {
			w := greet(t)
			w.Do("MAIL FROM:<sender@elsewhere.example>", `^250 `)
			w.Send(command + "\r\n")
			require.Regexp(t, `^5\d\d `, w.Line(), "%.60q", command)
		}
	}
	require.Empty(t, s.inbox(t))
	s.serves(t)
}

func TestSMTPCommandsInDisorderAreRefused(t *testing.T) {
	s := start(t)
	w := s.Wire(t, s.SMTP, false)
	w.Expect(`^220 `)
	for _, command := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.test>", "DATA", "BDAT 1 LAST\r\nx", "AUTH PLAIN"} {
		w.Do(command, `^5\d\d `)
	}
	w = s.smtp(t)
	w.Do("RCPT TO:<alice@example.test>", `^50[23] `)
	w.Do("DATA", `^50[23] `)
	w.Do("MAIL FROM:<a@b.example>", `^250 `)
	w.Do("DATA", `^50[23] `)
	w.Do("RCPT TO:<nobody@example.test>", `^550 5\.1\.1 `)
	w.Do("DATA", `^50[23] `)
	w.Do("RCPT TO:<alice@example.test>", `^250 `)
	w.Do("STARTTLS", `^(220|5\d\d) `)
	w.Drop()
	w = s.smtp(t)
	data(w)
	w.Send("\r\n.\r\nDATA\r\nRCPT TO:<alice@example.test>\r\n")
	w.Expect(`^250 `)
	w.Expect(`^50[23] `)
	w.Expect(`^50[23] `)
	for range 50 {
		w = s.smtp(t)
		envelope(w)
		w.Send("BDAT 5\r\nSubjeRSET\r\nNOOP\r\n")
		w.Expect(`^250 2.0.0 Continue`)
		w.Expect(`^250 2.0.0 Session reset`)
		w.Expect(`^250 `)
		envelope(w)
		w.Send("BDAT 0\r\nRSET\r\nBDAT 0 LAST\r\n")
		w.Expect(`^250 2.0.0 Continue`)
		w.Expect(`^250 2.0.0 Session reset`)
		w.Expect(`^50[23] `)
	}
	w.Do("QUIT", `^221 `)
	require.Len(t, s.inbox(t), 1)
	s.serves(t)
}

func TestSMTPRecipientsHaveALimit(t *testing.T) {
	s := start(t, "--smtp-max-recipients", "100")
	for _, greet := range []func(*testing.T) *harness.Wire{s.smtp, s.lmtp} {
		w := greet(t)
		w.Do("MAIL FROM:<sender@elsewhere.example>", `^250 `)
		for i := range 100 {
			w.Do(fmt.Sprintf("RCPT TO:<alice+%d@example.test>", i), `^250 `)
		}
		w.Do("RCPT TO:<bob@example.test>", `^452 4\.5\.3 `)
		w.Do("RSET", `^250 `)
		w.Do("MAIL FROM:<sender@elsewhere.example>", `^250 `)
		w.Do("RCPT TO:<bob@example.test>", `^250 `)
	}
	s.serves(t)
}

func TestSMTPSmuggledMailIsRefused(t *testing.T) {
	s := start(t)
	const second = "MAIL FROM:<forged@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nbody\r\n.\r\n"
	for _, greet := range []func(*testing.T) *harness.Wire{s.smtp, s.lmtp} {
		for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\r\n.\r\r\n", "\n\n.\n\n", "\r\n\x00.\r\n\n.\r\n"} {
			w := greet(t)
			data(w)
			w.Send("Subject: first\r\n\r\nbody" + end + second + "\r\n.\r\n")
			t.Logf("%q", end)
			w.Expect(`^554 5\.6\.0 `)
			w.Drop()
		}
	}
	require.Empty(t, s.inbox(t), "nothing came through")

	// Over submission too, by a user who forges.
	w := s.submission(t)
	w.Do("AUTH PLAIN "+plain("bob", harness.Password), `^235 `)
	w.Do("MAIL FROM:<bob@example.test>", `^250 `)
	w.Do("RCPT TO:<alice@example.test>", `^250 `)
	w.Do("DATA", `^354 `)
	w.Send("From: bob@example.test\r\n\r\nbody\n.\r\n" + second + "\r\n.\r\n")
	w.Expect(`^554 5\.6\.0 `)
	require.Empty(t, s.inbox(t), "nothing came through")
	s.serves(t)
}

// submission greets over TLS.
func (s *system) submission(t *testing.T) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.Submissions, true)
	w.Expect(`^220 `)
	w.Do("EHLO client.example", `^250 `)
	return w
}

func plain(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + harness.Address(name) + "\x00" + password))
}

func TestPlaintextBeforeTLSIsForgotten(t *testing.T) {
	s := start(t)
	for _, addr := range []string{s.SMTP, s.Submission} {
		w := s.Wire(t, addr, false)
		w.Expect(`^220 `)
		w.Do("EHLO client.example", `^250 `)
		w.Do("MAIL FROM:<injected@elsewhere.example>", `^(250|5\d\d) `)
		w.Send("STARTTLS\r\nEHLO injected.example\r\nMAIL FROM:<injected@elsewhere.example>\r\nRCPT TO:<alice@example.test>\r\n")
		w.Expect(`^220 `)
		if err := w.TryHandshake(s.TLS(t)); err != nil {
			continue // the server took the injected octets for a broken handshake and hung up: as safe
		}
		w.Do("RCPT TO:<alice@example.test>", `^50[23] `)
		w.Do("DATA", `^50[23] `)
	}

	w := s.Wire(t, s.POP3, false)
	w.Expect(`^\+OK`)
	w.Send("STLS\r\nUSER alice@example.test\r\nPASS " + harness.Password + "\r\n")
	w.Expect(`^\+OK`)
	if w.TryHandshake(s.TLS(t)) == nil {
		w.Do("STAT", `^-ERR`)
	}

	w = s.Wire(t, s.IMAP[0], false)
	w.Expect(`^\* OK`)
	w.Send("a STARTTLS\r\nb LOGIN alice@example.test \"" + harness.Password + "\"\r\n")
	w.Expect(`^a OK`)
	if w.TryHandshake(s.TLS(t)) == nil {
		w.Do("c SELECT INBOX", `^c BAD`)
	}
	require.Empty(t, s.inbox(t))
	s.serves(t)
}

func TestPasswordsAreNotTakenInPlaintext(t *testing.T) {
	s := start(t)
	w := s.Wire(t, s.Submission, false)
	w.Expect(`^220 `)
	w.Do("EHLO client.example", `^250 `)
	w.Do("AUTH PLAIN "+plain("alice", harness.Password), `^5\d\d `)
	w.Do("MAIL FROM:<alice@example.test>", `^530 `)
	w = s.Wire(t, s.SMTP, false)
	w.Expect(`^220 `)
	w.Do("EHLO client.example", `^250 `)
	w.Do("AUTH PLAIN "+plain("alice", harness.Password), `^5\d\d `)
	w = s.Wire(t, s.POP3, false)
	w.Expect(`^\+OK`)
	w.Send("USER alice@example.test\r\n")
	w.Expect(`^(\+OK|-ERR)`)
	w.Do("PASS "+harness.Password, `^-ERR`)
	w = s.Wire(t, s.IMAP[0], false)
	w.Expect(`LOGINDISABLED`)
	w.Do(`a LOGIN alice@example.test "`+harness.Password+`"`, `^a NO \[PRIVACYREQUIRED\]`)
	s.serves(t)
}

// shortPatience are time limits that a test can wait for.
var shortPatience = []string{
	"--smtp-command-timeout", "2s", "--smtp-data-timeout", "2s", "--smtp-message-timeout", "4s", "--smtp-write-timeout", "2s",
	"--pop3-idle-timeout", "2s", "--pop3-write-timeout", "2s",
	"--imap-login-timeout", "2s", "--imap-idle-timeout", "3s", "--imap-command-timeout", "3s", "--imap-stall-timeout", "2s", "--imap-write-timeout", "2s",
}

func TestSMTPClientsThatStallAreDroppedInEveryState(t *testing.T) {
	s := start(t, append([]string{"--imap-idle-timeout", "30m"}, shortPatience[:8]...)...)
	stalls := map[string]func(*testing.T) *harness.Wire{
		"before the greeting's answer": func(t *testing.T) *harness.Wire { return s.Wire(t, s.SMTP, false) },
		"before the TLS handshake":     func(t *testing.T) *harness.Wire { return s.Wire(t, s.Submissions, false) },
		"in the TLS handshake": func(t *testing.T) *harness.Wire {
			w := s.Wire(t, s.Submissions, false)
			w.Send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
			return w
		},
		"after STARTTLS": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			w.Do("STARTTLS", `^220 `)
			return w
		},
		"after EHLO": s.smtp,
		"in a command": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			w.Send("MAIL FR")
			return w
		},
		"after MAIL": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			w.Do("MAIL FROM:<>", `^250 `)
			return w
		},
		"after RCPT": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			envelope(w)
			return w
		},
		"in DATA": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			data(w)
			w.Send("Subject: half a")
			return w
		},
		"in the final dot": func(t *testing.T) *harness.Wire {
			w := s.lmtp(t)
			data(w)
			w.Send("Subject: whole, but\r\n\r\nbody\r\n.")
			return w
		},
		"in BDAT": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			envelope(w)
			w.Send("BDAT 100\r\nSubject: half")
			return w
		},
		"between two BDAT": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			envelope(w)
			w.Do("BDAT 12\r\nSubject: a\r\n", `^250 `) // the answer's line ends the chunk's
			return w
		},
		"trickling behind a message that was refused": func(t *testing.T) *harness.Wire {
			w := s.smtp(t)
			data(w)
			w.Send("bare\nline end")
			go func() {
				for w.Try("x") == nil {
					time.Sleep(300 * time.Millisecond)
				}
			}()
			return w
		},
		"in AUTH": func(t *testing.T) *harness.Wire {
			w := s.submission(t)
			w.Do("AUTH PLAIN", `^334`)
			return w
		},
		"trickling": func(t *testing.T) *harness.Wire { // never silent for long, but never done
			w := s.smtp(t)
			data(w)
			go func() {
				for w.Try("x") == nil {
					time.Sleep(300 * time.Millisecond)
				}
			}()
			return w
		},
	}
	t.Run("stalls", func(t *testing.T) {
		for name, stall := range stalls {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				rest := stall(t).Rest()
				t.Logf("%q", rest)
			})
		}
	})
	require.Empty(t, s.inbox(t), "what did not end was not delivered")
	s.serves(t)
}

func TestSMTPClientsThatVanishLeaveNothing(t *testing.T) {
	s := start(t)
	for _, greet := range []func(*testing.T) *harness.Wire{s.smtp, s.lmtp} {
		for range 5 {
			w := greet(t)
			data(w)
			w.Send(header + "\r\n" + long(100))
			w.Drop()
			w = greet(t)
			data(w)
			w.Send(header + "\r\n" + strings.Repeat(long(900)+"\r\n", 3000) + ".") // all but the end
			w.Drop()
			w = greet(t)
			envelope(w)
			w.Send("BDAT 5000000 LAST\r\n" + strings.Repeat(long(900)+"\r\n", 3000))
			w.Drop()
			w = greet(t)
			envelope(w)
			w.Send("BDAT 12\r\nSubject: a\r\nBDAT 12\r\nSubject: b\r\n")
			w.Expect(`^250 `)
			w.Drop()
		}
	}
	w := s.smtp(t)
	sends(w, header+"Subject: whole\r\n\r\nbody", `^250 `)
	require.Len(t, s.inbox(t), 1)
	s.nothingReserved(t)
	s.serves(t)
}

func TestSMTPFloodsOfCommands(t *testing.T) {
	s := start(t)
	w := s.smtp(t)
	go func() { _ = w.Try(strings.Repeat("NOOP\r\n", 100_000) + "QUIT\r\n") }()
	require.Equal(t, 100_000, strings.Count(w.Rest(), "250 2.0.0"), "each pipelined command is answered")

	w = s.smtp(t)
	go func() { _ = w.Try(strings.Repeat("GIBBERISH\r\n", 100_000)) }()
	require.Less(t, strings.Count(w.Rest(), "\n"), 100, "a client that speaks no SMTP is shown the door")

	w = s.submission(t)
	for range 200 {
		if w.Try("AUTH PLAIN =====\r\n") != nil {
			break
		}
		if _, err := w.TryLine(); err != nil {
			break
		}
	}
	s.serves(t)
}

func TestTooManyConnectionsOfANetworkAreRefused(t *testing.T) {
	s := start(t, "--smtp-max-connections-per-network", "5", "--pop3-max-connections-per-network", "5", "--imap-max-connections-per-network", "5")
	for _, listener := range []struct{ addr, greeting, refusal string }{
		{s.SMTP, `^220 `, `^421 4\.7\.0 `},
		{s.POP3, `^\+OK`, `^-ERR \[(SYS/TEMP|IN-USE)\]`},
		{s.IMAP[0], `^\* OK`, `^\* BYE`},
	} {
		var open []*harness.Wire
		refused := 0
		for range 8 {
			w := s.Wire(t, listener.addr, false)
			line := w.Line()
			if strings.HasPrefix(line, "220") || strings.HasPrefix(line, "+OK") || strings.HasPrefix(line, "* OK") {
				open = append(open, w)
				continue
			}
			refused++
			require.Regexp(t, listener.refusal, line)
			w.Rest()
		}
		require.NotZero(t, refused)
		require.GreaterOrEqual(t, len(open), 4)
		for _, w := range open {
			w.Drop()
		}
		require.Eventually(t, func() bool {
			w := s.Wire(t, listener.addr, false)
			defer w.Drop()
			line, _ := w.TryLine()
			return strings.HasPrefix(line, "220") || strings.HasPrefix(line, "+OK") || strings.HasPrefix(line, "* OK")
		}, 10*time.Second, 20*time.Millisecond, "who has left makes room")
	}
	s.serves(t)
}

// nothingReserved checks that capacity which was reserved for mail that never came is free again, and that the ledger is right.
func (s *system) nothingReserved(t *testing.T) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		usage := s.Usage(t, "alice")
		assert.Zero(c, usage.ReservedBytes)
		assert.Zero(c, usage.ReservedMessages)
	}, 30*time.Second, 200*time.Millisecond)
	s.NoDrift(t)
}
