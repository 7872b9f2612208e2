package metrics

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/tests/harness"
)

// people are the accounts of a varied run.
type people struct {
	reader string // reads what comes
	full   string // has no room
}

// prepare gives the accounts their limits.
func (p people) prepare(tb testing.TB, s *harness.System) {
	tb.Helper()
	s.CLI(tb, "quota", "set", harness.Address(p.full), "2KB")
}

// vary does with every protocol what clients do, right and wrong, and what no client should. word is in all that a client may choose.
func vary(tb testing.TB, s *harness.System, p people, word string) {
	tb.Helper()
	receive(tb, s, p, word)
	submit(tb, s, p, word)
	lmtp(tb, s, p)
	readIMAP(tb, s, p, word)
	readPOP3(tb, s, p, word)
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// message is one of about n octets.
func message(word string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "From: %s@elsewhere.example\r\nTo: you@%s\r\nSubject: about %s\r\nMessage-ID: <%s@elsewhere.example>\r\nDate: Sun, 01 Mar 2026 12:00:00 +0000\r\n\r\n",
		word, harness.Domain, word, word)
	for b.Len() < n {
		b.WriteString("A line of " + word + ".\r\n")
	}
	return b.String()
}

// receive is what other servers do.
func receive(tb testing.TB, s *harness.System, p people, word string) {
	tb.Helper()
	c := s.Wire(tb, s.SMTP, false)
	c.Expect("^220 ")
	c.Do("EHLO "+word+".example", "^250 ")
	c.Do("STARTTLS", "^220 ")
	c.Handshake(s.TLS(tb))
	c.Do("EHLO "+word+".example", "^250 ")
	for range 5 {
		c.Do("MAIL FROM:<"+word+"@elsewhere.example> SIZE=500", "^250 ")
		c.Do("RCPT TO:<"+harness.Address(p.reader)+">", "^250 ")
		c.Do("RCPT TO:<"+word+"@"+harness.Domain+">", "^550 5.1.1")
		c.Do("RCPT TO:<"+word+"@foreign.example>", "^550 5.7.1")
		c.Do("DATA", "^354 ")
		c.Do(message(word, 1000)+".", "^250 ")
	}
	c.Do("MAIL FROM:<"+word+"@elsewhere.example> SIZE=5000", "^250 ")
	c.Do("RCPT TO:<"+harness.Address(p.full)+">", "^552 5.2.2")
	c.Do("RSET", "^250 ")
	c.Do("MAIL FROM:<"+word+"@elsewhere.example>", "^250 ")
	c.Do("RCPT TO:<"+harness.Address(p.full)+">", "^250 ")
	c.Do("DATA", "^354 ")
	c.Do(message(word, 10_000)+".", "^552 5.2.2")
	c.Do("MAIL FROM:<"+word+"@elsewhere.example>", "^250 ")
	c.Do("RCPT TO:<"+harness.Address(p.reader)+">", "^250 ")
	c.Do("DATA", "^354 ")
	c.Do("Subject: bare\r\n\r\nline\nend\r\n.", "^554 5.6.0")
	c.Do(strings.ToUpper(word)+" "+word, "^50")
	c.Do("QUIT", "^221 ")
}

// submit is what users' programs do to send.
func submit(tb testing.TB, s *harness.System, p people, word string) {
	tb.Helper()
	c := s.Wire(tb, s.Submissions, true)
	c.Expect("^220 ")
	c.Do("EHLO client", "^250 ")
	c.Do("MAIL FROM:<"+harness.Address(p.reader)+">", "^530 ")
	c.Do("AUTH "+strings.ToUpper(word), "^504 ")
	c.Do("AUTH PLAIN "+plain(word+"@"+harness.Domain, word), "^535 ")
	c.Do("AUTH PLAIN "+plain(harness.Address(p.reader), harness.Password), "^235 ")
	c.Do("MAIL FROM:<"+word+"@elsewhere.example>", "^550 ")
	c.Do("MAIL FROM:<"+harness.Address(p.reader)+">", "^250 ")
	c.Do("RCPT TO:<"+harness.Address(p.reader)+">", "^250 ")
	c.Do("DATA", "^354 ")
	c.Do(strings.Replace(message(word, 100_000), word+"@elsewhere.example\r\nTo", harness.Address(p.reader)+"\r\nTo", 1)+".", "^250 ")
	c.Do("QUIT", "^221 ")
}

// lmtp is what a filter in front of the system does.
func lmtp(tb testing.TB, s *harness.System, p people) {
	tb.Helper()
	c := s.Wire(tb, s.LMTP, false)
	c.Expect("^220 ")
	c.Do("LHLO filter", "^250 ")
	c.Do("MAIL FROM:<>", "^250 ")
	c.Do("RCPT TO:<"+harness.Address(p.reader)+">", "^250 ")
	c.Do("DATA", "^354 ")
	c.Do(message("lmtp", 500)+".", "^250 ")
	c.Do("QUIT", "^221 ")
}

// readIMAP is what users' programs do to read, and what they should not.
func readIMAP(tb testing.TB, s *harness.System, p people, word string) {
	tb.Helper()
	c := s.Wire(tb, s.IMAP[0], false)
	greeting := c.Expect("^\\* OK ")
	if !regexp.MustCompile(`\(session [a-z0-9]+\)$`).MatchString(greeting) {
		tb.Errorf("no session in %q", greeting)
	}
	n := 0
	do := func(command, pattern string) {
		tb.Helper()
		n++
		tag := fmt.Sprintf("a%d", n)
		c.Do(tag+" "+command, "^"+tag+" "+pattern)
	}
	do("STARTTLS", "OK")
	c.Handshake(s.TLS(tb))
	do("SELECT INBOX", "BAD")
	do("LOGIN "+word+"@"+harness.Domain+" "+word, "NO")
	do("LOGIN "+harness.Address(p.reader)+` "`+harness.Password+`"`, "OK")
	do(strings.ToUpper(word)+" 1", "BAD")
	do(`LIST "" "*"`, "OK")
	do("CREATE "+word, "OK")
	do("STATUS INBOX (MESSAGES)", "OK")
	do("SELECT INBOX", "OK")
	do("FETCH 1:* (FLAGS ENVELOPE)", "OK")
	do("UID FETCH 1:* (BODY.PEEK[])", "OK")
	do("FETCH 1 (BODY.PEEK[]<100.200>)", "OK")
	do(`STORE 1 +FLAGS (\Flagged `+word+`)`, "OK")
	do("SEARCH SUBJECT "+word, "OK")
	do("SEARCH TEXT "+word, "OK")
	do("COPY 1 "+word, "OK")
	do("MOVE 1 "+word, "OK")
	do("COPY 1 "+word+"-missing", "NO")
	c.Send("b1 APPEND " + word + " {300+}\r\n" + message(word, 300)[:298] + "\r\n\r\n")
	c.Expect("^b1 OK")
	c.Send("b2 IDLE\r\n")
	c.Expect("^\\+ ")
	c.Send("DONE\r\n")
	c.Expect("^b2 OK")
	do(`STORE 1 +FLAGS (\Deleted)`, "OK")
	do("EXPUNGE", "OK")
	do("GETQUOTAROOT INBOX", "OK")
	do("LOGOUT", "OK")
	// One that breaks off in the middle, over TLS from the start.
	c = s.Wire(tb, s.IMAPS[0], true)
	c.Expect("^\\* OK ")
	c.Send("x LOGIN {100+}\r\nabc")
	c.Drop()
}

// readPOP3 is what users' programs do to download.
func readPOP3(tb testing.TB, s *harness.System, p people, word string) {
	tb.Helper()
	c := s.Wire(tb, s.POP3, false)
	c.Expect("^\\+OK .*\\(session [a-z0-9]+\\)$")
	c.Do("CAPA", "^\\.$")
	c.Do("STLS", "^\\+OK")
	c.Handshake(s.TLS(tb))
	c.Do("AUTH "+strings.ToUpper(word), "^-ERR")
	c.Do("USER "+word+"@"+harness.Domain, "^\\+OK")
	c.Do("PASS "+word, "^-ERR")
	c.Do(strings.ToUpper(word), "^-ERR")
	c.Do("USER "+harness.Address(p.reader), "^\\+OK")
	c.Do("PASS "+harness.Password, "^\\+OK")
	c.Do("STAT", "^\\+OK")
	c.Do("LIST", "^\\.$")
	c.Do("UIDL", "^\\.$")
	c.Do("RETR 1", "^\\.$")
	c.Do("RETR 999", "^-ERR")
	c.Do("DELE 1", "^\\+OK")
	c.Do("QUIT", "^\\+OK")
}
