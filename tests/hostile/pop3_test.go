package hostile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

func TestPOP3NonsenseIsRefused(t *testing.T) {
	s := start(t)
	s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	w := s.pop3(t)
	w.Do("NOOP "+long(10_000), `^-ERR`)
	for _, command := range []string{
		"RETR 0", "RETR 2", "RETR -1", "RETR 99999999999999999999", "RETR 1 1", "RETR", "RETR x",
		"TOP 1", "TOP 1 -1", "TOP 1 99999999999999999999", "LIST 18446744073709551617", "DELE 0", "UIDL \x00",
	} {
		w.Do(command, `^-ERR`)
	}
	w.Do("STAT", `^\+OK 1 `)
	w.Do("QUIT", `^\+OK`)

	w = s.Wire(t, s.POP3S, true)
	w.Expect(`^\+OK`)
	for _, command := range []string{"STAT", "RETR 1", "USER", "APOP alice " + long(32), "AUTH X-NONE", "\x00\xff"} {
		w.Do(command, `^-ERR`)
	}
	for _, exchange := range []string{"AUTH PLAIN ====", "AUTH PLAIN " + long(200), "AUTH PLAIN\r\n" + long(12_000), "AUTH PLAIN\r\n*"} {
		w = s.Wire(t, s.POP3S, true)
		w.Do(exchange, `^-ERR`)
	}

	w = s.Wire(t, s.POP3S, true) // a line without end
	w.Expect(`^\+OK`)
	go func() { _ = w.Try(long(64 * mib)) }()
	require.Less(t, len(w.Rest()), 1000)

	w = s.Wire(t, s.POP3S, true) // nothing but nonsense
	w.Expect(`^\+OK`)
	go func() { _ = w.Try(strings.Repeat("GIBBERISH\r\n", 100_000)) }()
	require.Less(t, strings.Count(w.Rest(), "\n"), 100)

	w = s.pop3(t)
	go func() { _ = w.Try(strings.Repeat("NOOP\r\nLIST\r\n", 20_000) + "QUIT\r\n") }()
	require.Greater(t, strings.Count(w.Rest(), "+OK"), 40_000, "each pipelined command is answered")
	require.Len(t, s.inbox(t), 1)
	s.serves(t)
}

func TestPOP3ClientsThatStallAreDroppedAndLeaveTheMaildrop(t *testing.T) {
	s := start(t, append([]string{"--imap-idle-timeout", "30m"}, shortPatience[8:12]...)...)
	s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	for name, stall := range map[string]func(*testing.T) *harness.Wire{
		"before the greeting's answer": func(t *testing.T) *harness.Wire { return s.Wire(t, s.POP3, false) },
		"before the TLS handshake":     func(t *testing.T) *harness.Wire { return s.Wire(t, s.POP3S, false) },
		"after STLS": func(t *testing.T) *harness.Wire {
			w := s.Wire(t, s.POP3, false)
			w.Expect(`^\+OK`)
			w.Do("STLS", `^\+OK`)
			return w
		},
		"in AUTH": func(t *testing.T) *harness.Wire {
			w := s.Wire(t, s.POP3S, true)
			w.Expect(`^\+OK`)
			w.Do("AUTH PLAIN", `^\+`)
			return w
		},
		"in a command, with a mail deleted": func(t *testing.T) *harness.Wire {
			w := s.pop3(t)
			w.Do("DELE 1", `^\+OK`)
			w.Send("QUI")
			return w
		},
	} {
		t.Run(name, func(t *testing.T) { t.Logf("%q", stall(t).Rest()) })
	}
	require.Len(t, s.inbox(t), 1, "without QUIT nothing is deleted")
	pop := s.POP3Client(t, "alice")
	require.Equal(t, 1, pop.Count(), "the maildrop is free again")
	pop.Do("QUIT")
	s.serves(t)
}

func TestPOP3ClientsThatVanishDeleteNothing(t *testing.T) {
	s := start(t)
	s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	for _, last := range []string{"DELE 1\r\n", "DELE 1\r\nQUI", "DELE 1\r\nRETR 1\r\nTOP 1"} {
		var w *harness.Wire
		require.Eventually(t, func() bool { // the last one's maildrop may be held for a moment
			w = s.Wire(t, s.POP3S, true)
			w.Expect(`^\+OK`)
			w.Do("USER "+harness.Address("alice"), `^\+OK`)
			w.Send("PASS " + harness.Password + "\r\n")
			return strings.HasPrefix(w.Line(), "+OK")
		}, patience, tick)
		w.Send(last)
		w.Expect(`^\+OK`)
		w.Drop()
	}
	require.Len(t, s.inbox(t), 1)
	s.nothingReserved(t)
	s.serves(t)
}
