package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// greetIMAP connects over TLS without logging in.
func (s *system) greetIMAP(t *testing.T) *harness.Wire {
	t.Helper()
	w := s.Wire(t, s.IMAPS[0], true)
	w.Expect(`^\* OK`)
	return w
}

func TestIMAPOversizedLinesAndLiterals(t *testing.T) {
	s := start(t)
	// Before login each gets an error; the connection may end.
	for _, command := range []string{
		"a LOGIN " + long(100_000) + " x",
		"a LOGIN {100000}",
		"a LOGIN {100000+}\r\n" + long(100_000),
		"a LOGIN {9223372036854775807}",
		"a LOGIN {9223372036854775808+}",
		"a LOGIN {18446744073709551616}",
		"a LOGIN {99999999999999999999999999}",
		"a LOGIN {-1}",
		"a LOGIN {}",
		"a LOGIN {4294967296+}",
		"a LOGIN {1",
		"a AUTHENTICATE PLAIN " + long(100_000),
		long(100_000),
		long(100_000) + " NOOP",
		"a " + long(100_000),
		"\x00", "\xff\xfe", "", " ", "a", "* NOOP", "+ NOOP", "a\tNOOP", "(", "a NOOP x", "a SELECT INBOX",
	} {
		w := s.greetIMAP(t)
		_ = w.Try(command + "\r\n") // the server may hang up in the middle
		line, err := w.TryLine()
		if err == nil {
			require.Regexp(t, `^(a (BAD|NO)|\* (BAD|BYE)|x* BAD|[+] )`, line, "%.60q", command)
		} else {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%.60q is answered, or ends the connection", command)
		}
	}
	// A line without end, and literals that never end the command.
	w := s.greetIMAP(t)
	go func() { _ = w.Try("a LOGIN " + long(64*mib)) }()
	require.Less(t, len(w.Rest()), 1000)
	w = s.greetIMAP(t)
	go func() { _ = w.Try("a LOGIN" + strings.Repeat(" {0+}\r\n", 1_000_000)) }()
	require.Less(t, len(w.Rest()), 1000)
	w = s.greetIMAP(t)
	go func() { _ = w.Try(strings.Repeat("a GIBBERISH\r\n", 100_000)) }()
	require.Less(t, strings.Count(w.Rest(), "\n"), 100)

	// After login the session goes on where it can.
	w = s.imap(t)
	for _, command := range []string{
		"a SELECT " + long(200_000),
		"a SELECT {99999999999}",
		"a SELECT {9223372036854775808}",
		"a SEARCH SUBJECT {2000000}",
		"a APPEND INBOX {99999999999}",
		"a APPEND INBOX {9223372036854775808}",
		"a APPEND INBOX {0+}\r\n {0+}\r\n x",
		"a APPEND INBOX (" + strings.Repeat("k ", 100_000) + ") {1}",
		"a APPEND INBOX ~{9223372036854775808}",
	} {
		if line := w.Do(command, `^(a (BAD|NO)|\* BYE)`); strings.HasPrefix(line, "* BYE") {
			t.Logf("%.60q: %s", command, line)
			w = s.imap(t)
		}
		w.Do("b NOOP", `^b OK`)
	}
	w.Send("c APPEND INBOX {60000000+}\r\n")
	go func() { _ = w.Try(long(60_000_000) + "\r\nd NOOP\r\n") }()
	w.Expect(`^c NO \[TOOBIG\]`)
	w.Expect(`^d OK`)
	w.Send("e APPEND INBOX {9223372036854775807+}\r\n" + long(1000))
	w.Expect(`^(e (NO|BAD)|\* BYE)`)
	require.Empty(t, s.inbox(t))
	s.serves(t)
}

func TestIMAPBombs(t *testing.T) {
	s := start(t)
	for range 3 {
		s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	}
	w := s.imap(t)
	var sets strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&sets, "%d,", 1_000_000_000+2*i)
	}
	for i, command := range []string{
		"SEARCH " + strings.Repeat("NOT ", 5000) + "ALL",
		"SEARCH " + strings.Repeat("(", 5000) + "ALL" + strings.Repeat(")", 5000),
		"SEARCH " + strings.Repeat("OR ALL ", 5000) + "ALL",
		"SEARCH " + strings.Repeat("TEXT a ", 8000),
		"SEARCH SUBJECT \"\xff\xfe\"",
		"SEARCH CHARSET X-NONE TEXT a",
		"FETCH " + sets.String() + "5 FLAGS",
		"UID FETCH " + sets.String() + "5 FLAGS",
		"FETCH 1:4294967296 FLAGS",
		"FETCH 0 FLAGS",
		"FETCH 1,,2 FLAGS",
		"FETCH 1 (" + strings.Repeat("FLAGS ", 5000) + "FLAGS)",
		"FETCH 1 " + strings.Repeat("(", 5000),
		"FETCH 1 BODY[" + strings.Repeat("1.", 20_000) + "1]",
		"FETCH 1 BODY[0]",
		"FETCH 1 BODY[99999999999999999999]",
		"FETCH 1 BODY[]<0.99999999999999999999>",
		"FETCH 1 BODY[]<18446744073709551615.1>",
		"FETCH 1 BODY[HEADER.FIELDS (" + strings.Repeat("a ", 20_000) + "a)]",
		"STORE 1 +FLAGS (" + strings.Repeat("x ", 20_000) + "x)",
		"STORE 1 FLAGS (\\NoSuchFlag)",
		"STORE 1 FLAGS (a\x01b)",
		"CREATE \"a\x00b\"",
		"CREATE \"a\x01b\"",
		"CREATE \"a\x7fb\"",
		"CREATE \"\xff\xfe\"",
		"CREATE &AAA-",
		"CREATE &AAo-",
		"CREATE \"\"",
		"CREATE /",
		"CREATE " + strings.Repeat("a/", 2000) + "a",
		"CREATE " + long(5000),
		"CREATE INBOX",
		"DELETE INBOX",
		"RENAME nowhere \"a\x00\"",
		"ENABLE" + strings.Repeat(" X", 20_000),
		"ID (" + strings.Repeat("\"a\" \"b\" ", 20_000) + ")",
		"COPY 1 \"\x01\"",
		"STATUS INBOX (" + strings.Repeat("MESSAGES ", 20_000) + "UIDNEXT)",
		"GETQUOTAROOT " + long(5000),
		"SELECT INBOX (" + strings.Repeat("X ", 10_000) + ")",
	} {
		tag := fmt.Sprintf("t%d", i)
		w.Send(tag + " " + command + "\r\n")
		line := w.Expect(`^(` + tag + ` (OK|NO|BAD)|\* (BAD|BYE))`)
		if strings.HasPrefix(line, "* BYE") || strings.HasPrefix(line, "* BAD") {
			t.Logf("%.60q: %s", command, line)
		}
		if strings.HasPrefix(line, "* BYE") {
			w = s.imap(t)
			continue
		}
		if !strings.HasPrefix(command, "SEARCH TEXT") && !strings.HasPrefix(command, "UID FETCH") && !strings.HasPrefix(command, "ENABLE") &&
			!strings.HasPrefix(command, "FETCH 1 BODY[1.1") {
			assert.NotRegexp(t, ` OK `, line, "%.60q", command)
		}
		w.Do("n NOOP", `^n OK`)
	}
	// Many mailboxes and patterns that backtrack.
	for i := range 20 {
		w.Do(fmt.Sprintf("m CREATE %s%d", strings.Repeat("a", 60), i), `^m OK`)
	}
	w.Do(`l LIST "" "`+strings.Repeat("*a", 100)+`b"`, `^l (OK|BAD|NO)`)
	w.Do(`l LIST "" "`+strings.Repeat("%", 500)+`b"`, `^l (OK|BAD|NO)`)
	w.Do(`l LIST "" (`+strings.Repeat("* ", 5000)+`*)`, `^l (OK|BAD|NO)`)
	w.Do(`l LIST "\x00" "*"`, `^(l|\*) (OK|BAD|NO)`)
	require.Len(t, s.inbox(t), 3)
	s.serves(t)
}

func TestIMAPMailboxesAndKeywordsHaveALimit(t *testing.T) {
	s := start(t, "--storage-max-mailboxes", "30", "--storage-max-keywords", "20")
	s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	w := s.imap(t)
	created := 0
	for i := range 40 {
		w.Send(fmt.Sprintf("c%d CREATE box%d\r\n", i, i))
		line := w.Expect(fmt.Sprintf(`^c%d `, i))
		if strings.Contains(line, " OK") {
			created++
			continue
		}
		require.Contains(t, line, " NO [LIMIT]")
	}
	require.Less(t, created, 30)
	require.Greater(t, created, 20)
	w.Do("d CREATE "+strings.Repeat("x/", 12)+"x", `^d NO \[(LIMIT|CANNOT)\]`)
	stored := 0
	for i := range 40 {
		w.Send(fmt.Sprintf("k%d STORE 1 +FLAGS (key%d)\r\n", i, i))
		if line := w.Expect(fmt.Sprintf(`^k%d `, i)); strings.Contains(line, " OK") {
			stored++
		} else {
			require.Contains(t, line, " NO [LIMIT]")
		}
	}
	require.LessOrEqual(t, stored, 20)
	require.Greater(t, stored, 10)
	w.Do("e STORE 1 +FLAGS (key0)", `^e OK`)
	w.Do("f DELETE box0", `^f OK`)
	w.Do("g CREATE box0", `^g OK`)
	s.serves(t)
}

func TestIMAPSessionsOfAnAccountHaveALimit(t *testing.T) {
	s := start(t, "--imap-max-sessions-per-account", "5")
	var open []*harness.Wire
	for range 5 {
		open = append(open, s.imap(t))
	}
	w := s.greetIMAP(t)
	w.Do(`a LOGIN alice@example.test "`+harness.Password+`"`, `^a NO \[LIMIT\]`)
	open[0].Do("b LOGOUT", `^b OK`)
	require.Eventually(t, func() bool {
		w.Send(`c LOGIN alice@example.test "` + harness.Password + "\"\r\n")
		return strings.HasPrefix(w.Expect(`^c `), "c OK")
	}, patience, tick, "who has left makes room")
	s.serves(t)
}

func TestIMAPClientsThatStallAreDroppedInEveryState(t *testing.T) {
	s := start(t, append(shortPatience[12:14:14], shortPatience[16:]...)...) // the bystander may be idle
	stalls := map[string]func(*testing.T) *harness.Wire{
		"before the greeting's answer": func(t *testing.T) *harness.Wire { return s.Wire(t, s.IMAP[0], false) },
		"before the TLS handshake":     func(t *testing.T) *harness.Wire { return s.Wire(t, s.IMAPS[0], false) },
		"after STARTTLS": func(t *testing.T) *harness.Wire {
			w := s.Wire(t, s.IMAP[0], false)
			w.Expect(`^\* OK`)
			w.Do("a STARTTLS", `^a OK`)
			return w
		},
		"in AUTHENTICATE": func(t *testing.T) *harness.Wire {
			w := s.greetIMAP(t)
			w.Do("a AUTHENTICATE PLAIN", `^\+`)
			return w
		},
		"in a command": func(t *testing.T) *harness.Wire {
			w := s.imap(t)
			w.Send("a SELE")
			return w
		},
		"before a literal": func(t *testing.T) *harness.Wire {
			w := s.imap(t)
			w.Do("a SELECT {5}", `^\+`)
			return w
		},
		"in APPEND": func(t *testing.T) *harness.Wire {
			w := s.imap(t)
			w.Do("a APPEND INBOX {1000}", `^\+`)
			w.Send("Subject: half")
			return w
		},
		"in APPEND without waiting": func(t *testing.T) *harness.Wire {
			w := s.imap(t)
			w.Send("a APPEND INBOX {1000+}\r\nSubject: half")
			return w
		},
		"behind APPEND's literal": func(t *testing.T) *harness.Wire {
			w := s.imap(t)
			w.Send("a APPEND INBOX {6+}\r\nX: y\r\n")
			return w
		},
	}
	t.Run("stalls", func(t *testing.T) {
		for name, stall := range stalls {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				t.Logf("%q", stall(t).Rest())
			})
		}
	})
	require.Empty(t, s.inbox(t), "what did not end was not stored")
	s.serves(t)
}

func TestIMAPClientsThatVanishLeaveNothing(t *testing.T) {
	s := start(t)
	for range 5 {
		for _, last := range []string{
			"a APPEND INBOX {1000}\r\n", "a APPEND INBOX {1000+}\r\nSubject: half", "a APPEND INBOX {6+}\r\nX: y\r\n",
			"a APPEND INBOX {5000000+}\r\n" + long(4_000_000), "a APPEND INBOX {5000000+}\r\n" + long(5_000_000), "a IDLE\r\n", "a SEARCH TEXT {5}\r\n",
		} {
			w := s.imap(t)
			w.Send(last)
			w.Drop()
		}
	}
	require.Empty(t, s.inbox(t))
	s.nothingReserved(t)
	s.serves(t)
}

func TestIMAPFloodsOfCommands(t *testing.T) {
	s := start(t)
	w := s.imap(t)
	go func() { _ = w.Try(strings.Repeat("a NOOP\r\n", 50_000) + "b LOGOUT\r\n") }()
	require.Equal(t, 50_000, strings.Count(w.Rest(), "a OK"), "each pipelined command is answered")
	s.serves(t)
}

func TestClientsThatReadNothingCostLittle(t *testing.T) {
	s := start(t)
	big := harness.Compose("Big", strings.Repeat(long(900)+"\n", 20_000)) // 18 MB
	for range 2 {
		s.Deliver(t, "alice", big)
	}
	for range 15 {
		w := s.imap(t)
		w.Send("a FETCH 1:* BODY.PEEK[]\r\nb FETCH 1:* BODY.PEEK[]\r\n")
	}
	w := s.pop3(t)
	w.Send(strings.Repeat("RETR 1\r\nRETR 2\r\n", 50))
	flood := s.smtp(t)
	go func() { _ = flood.Try(strings.Repeat("NOOP\r\n", 5_000_000)) }()
	noop := s.imap(t)
	go func() { _ = noop.Try(strings.Repeat("a LIST \"\" *\r\n", 2_000_000)) }()
	w.Expect(`^\+OK`)
	s.serves(t) // with the bound on memory
	w.Drop()
	flood.Drop()
	noop.Drop()
}

func TestIMAPWrongPasswordsAreSlowedDown(t *testing.T) {
	s := start(t)
	throttled := false
	for i := range 12 {
		w := s.greetIMAP(t)
		w.Send(fmt.Sprintf("a LOGIN alice@example.test wrong%d\r\n", i))
		line := w.Expect(`^a NO`)
		throttled = throttled || strings.Contains(line, "[UNAVAILABLE]")
		require.Regexp(t, `^a NO \[(AUTHENTICATIONFAILED|UNAVAILABLE)\]`, line)
		w.Drop()
	}
	require.True(t, throttled)

	w := s.submission(t)
	w.Do("AUTH PLAIN "+plain("alice", "wrong again"), `^(454 4\.7\.0|535 5\.7\.8) `)
	w = s.submission(t)
	w.Do("AUTH PLAIN "+plain("alice", harness.Password), `^454 4\.7\.0 `)
	_, err := s.DialPOP3(t, "alice")
	require.ErrorContains(t, err, "-ERR [SYS/TEMP]")
	w = s.greetIMAP(t)
	w.Do("a LOGIN nobody@example.test wrong", `^a NO \[AUTHENTICATIONFAILED\]`)
	for range 2 {
		w.Do("b LOGIN nobody@example.test wrong", `^b NO`)
	}
	require.Contains(t, w.Rest(), "* BYE", "three failures end a connection")
	s.serves(t)
}
