package hostile

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// asLiteral is a string that does not wait for leave (RFC 7888).
func asLiteral(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

// TestIMAPNamesWithLineEnds: what comes in a literal never becomes a line of the answer, in any command that has a name.
func TestIMAPNamesWithLineEnds(t *testing.T) {
	s := start(t)
	s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	w := s.imap(t)
	commands := []string{
		"CREATE %s", "DELETE %s", "SELECT %s", "EXAMINE %s", "SUBSCRIBE %s", "UNSUBSCRIBE %s", "STATUS %s (MESSAGES)", "RENAME INBOX %s", "RENAME %s other",
		"COPY 1 %s", "MOVE 1 %s", "LIST \"\" %s", "LIST %s *", "LSUB \"\" %s", "APPEND %s {1+}\r\nx", "GETQUOTA %s", "GETQUOTAROOT %s", "GETMETADATA %s /shared/comment",
		"GETMETADATA INBOX %s", "SETMETADATA INBOX (%s NIL)", "SETMETADATA %s (/shared/comment \"x\")", "GETACL %s", "MYRIGHTS %s", "SETACL INBOX %s lr",
		"DELETEACL INBOX %s", "LISTRIGHTS INBOX %s", "NOTIFY SET STATUS (mailboxes %s (MessageNew MessageExpunge))", "ESEARCH IN (mailboxes %s) ALL",
		"SEARCH SUBJECT %s", "SEARCH HEADER %s x", "FETCH 1 BODY[HEADER.FIELDS (%s)]", "ID (\"name\" %s)", "REPLACE 1 %s {1+}\r\nx", "SORT (SUBJECT) UTF-8 TEXT %s",
	}
	// UNSELECT and the like may leave the mailbox; a line that none of ours can be begins with the word.
	stray := regexp.MustCompile(`(?m)^(EVIL|\x00)`)
	for i, command := range commands {
		for _, name := range []string{"a\r\nEVIL OK x", "a\nEVIL", "\r\nEVIL BYE\r\n", "a\x00b", "\x00EVIL", "&AA0ACgBF-EVIL", "&AAA-", "\x7f", "\xc3\x28", "a\u2028EVIL", "\xed\xa0\x80"} {
			tag := fmt.Sprintf("n%d", i)
			w.Send(tag + " " + fmt.Sprintf(command, asLiteral(name)) + "\r\n")
			var answer []string
			for {
				line, err := w.TryLine()
				require.NoError(t, err, "%s with %q, after %q", command, name, answer)
				answer = append(answer, line)
				if strings.HasPrefix(line, tag+" ") || strings.HasPrefix(line, "* BYE") {
					break
				}
			}
			text := strings.Join(answer, "\n")
			assert.NotRegexp(t, stray, text, "%s with %q", command, name)
			if strings.Contains(text, "* BYE") {
				w = s.imap(t)
				continue
			}
			w.Do("m SELECT INBOX", `^m OK`)
		}
	}
	w.Do("n NOTIFY NONE", `^n OK`)
	// What is there now is listed in lines that are ours.
	w.Send("l LIST (SUBSCRIBED) \"\" * RETURN (STATUS (MESSAGES))\r\nk LIST \"\" *\r\n")
	for {
		line := w.Line()
		assert.Regexp(t, `^(\* (LIST|STATUS) |l OK|k OK)`, line)
		if strings.HasPrefix(line, "k ") {
			break
		}
	}
	s.serves(t)
}

// TestIMAPAuthenticationJunk: exchanges that are none end with an answer.
func TestIMAPAuthenticationJunk(t *testing.T) {
	s := start(t, "--imap-max-auth-failures", "1000", "--imap-max-bad-commands", "1000")
	b64 := base64.StdEncoding.EncodeToString
	w := s.greetIMAP(t)
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "X-NONE", ""} {
		for _, response := range []string{
			"", "=", "*", "====", "\x00\xff", "!!!!", b64([]byte("n,,n=alice,r=")), b64([]byte("n,,n=" + strings.Repeat("=2C", 1000) + ",r=x")), b64([]byte("y,,n=alice,r=abc")),
			b64([]byte("p=tls-unique,,n=alice,r=abc")), b64([]byte("n,a=bob@example.test,n=alice@example.test,r=abcdefgh")), b64([]byte("c=biws,r=abc,p=AAAA")),
			b64([]byte("\x00\x00")), b64([]byte("\x00alice\x00")), b64([]byte("\x00" + long(3000) + "\x00" + long(3000))), b64([]byte("bob\x00alice@example.test\x00x")),
			b64([]byte("user=alice\x01auth=Bearer \x01\x01")), b64([]byte("n,a=alice,\x01auth=Bearer " + long(3000) + "\x01\x01")), b64([]byte{0xff, 0xfe, 0}),
		} {
			for _, initial := range []bool{true, false} {
				first := "a AUTHENTICATE " + mechanism
				if initial {
					first += " " + response
				}
				if w.Try(first+"\r\n") != nil {
					w = s.greetIMAP(t)
					continue
				}
				over := false
				for range 6 {
					line, err := w.TryLine()
					if over = err != nil || strings.HasPrefix(line, "* BYE"); over {
						break
					}
					if !strings.HasPrefix(line, "+") {
						require.Regexp(t, `^(a|\*) (NO|BAD) `, line, "%s %q", mechanism, response)
						break
					}
					if over = w.Try(response+"\r\n") != nil; over {
						break
					}
				}
				if !over {
					w.Send("z LOGOUT\r\n")
					w.Rest()
				}
				w = s.greetIMAP(t)
			}
		}
	}
	s.serves(t)
}

// TestIMAPPipelines: a client that sends very many commands, which may run beside each other, and reads their answers at its leisure.
func TestIMAPPipelines(t *testing.T) {
	s := start(t)
	for range 3 {
		s.Deliver(t, "alice", harness.Compose("Mine", "x"))
	}
	w := s.imap(t)
	const rounds = 3_000
	round := "a FETCH 1:3 (UID FLAGS)\r\nb UID FETCH 1:* BODY.PEEK[TEXT]\r\nc STATUS INBOX (MESSAGES)\r\nd UID SEARCH TEXT x\r\ne NOOP\r\n"
	go func() { _ = w.Try(strings.Repeat(round, rounds) + "z LOGOUT\r\n") }()
	// The first answers are read, the rest is not for a while: everybody else is served meanwhile.
	w.Expect(`^e OK`)
	s.serves(t)
	rest := w.Rest()
	for _, tag := range "abcde" {
		require.InDelta(t, rounds, strings.Count(rest, "\n"+string(tag)+" OK "), 5, "each command %c is answered", tag)
	}
	require.NotContains(t, rest, " BAD ")
	s.serves(t)
}

// TestIMAPFloodsOfAnnotations: annotations have limits, beyond which the mailbox is used on.
func TestIMAPFloodsOfAnnotations(t *testing.T) {
	s := start(t)
	w := s.imap(t)
	value := asLiteral(strings.Repeat("v", 60_000))
	refused := ""
	for i := 0; i < 200 && refused == ""; i++ {
		w.Send(fmt.Sprintf("m%d SETMETADATA INBOX (/private/vendor/evil/%d %s)\r\n", i, i, value))
		if line := w.Expect(fmt.Sprintf(`^m%d `, i)); !strings.Contains(line, " OK ") {
			refused = line
		}
	}
	require.Contains(t, refused, "NO [METADATA TOOMANY]")
	w.Do(`g GETMETADATA (DEPTH infinity MAXSIZE 10) INBOX (/private /shared)`, `^g OK \[METADATA LONGENTRIES 60000\]`)
	w.Do(`h SETMETADATA INBOX (/private/comment {70000}`, `^h NO \[METADATA MAXSIZE 65536\]`)
	w.Do("i SETMETADATA INBOX ("+strings.Repeat("/private/a NIL ", 5000)+"/private/b NIL)", `^i (NO|BAD) `)
	w.Do("j GETMETADATA INBOX ("+strings.TrimSpace(strings.Repeat("/private/a ", 3000))+")", `^j (NO|BAD) `)
	w.Do("k NOTIFY SET (personal (MailboxMetadataChange MessageNew MessageExpunge)) (mailboxes ("+strings.TrimSpace(strings.Repeat("box ", 3000))+") (MailboxName))", `^k (OK|NO|BAD) `)
	w.Do("l ESEARCH IN (subtree ("+strings.TrimSpace(strings.Repeat("box ", 3000))+") personal) RETURN (PARTIAL 4294967295:4294967294) ALL", `^l (OK|NO|BAD) `)
	w.Do("m ESEARCH IN (personal) RETURN (PARTIAL 1:4294967296) ALL", `^m BAD `)
	w.Do("n UID SORT RETURN (PARTIAL -1:-4294967295) (ARRIVAL) UTF-8 ALL", `^n OK`)
	w.Do("o SEARCH "+strings.Repeat("1:*,", 4000)+"1", `^o (OK|BAD) `)
	w.Do("p UID SEARCH UID "+strings.Repeat("4294967295,", 4000)+"1", `^p (OK|BAD) `)
	s.serves(t)
}
