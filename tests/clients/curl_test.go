package clients

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// curl runs curl as an account, trusting the system's certificate.
func (d *device) curl(s *harness.System, name, password string, args ...string) result {
	d.t.Helper()
	return d.try("", "curl", append([]string{"--silent", "--show-error", "--max-time", "60", "--cacert", s.CertFile(),
		"--user", harness.Address(name) + ":" + password}, args...)...)
}

// mustCurl is curl as an account with its password, for what must succeed; it gives the standard output.
func (d *device) mustCurl(s *harness.System, name string, args ...string) string {
	d.t.Helper()
	r := d.curl(s, name, harness.Password, args...)
	require.Zero(d.t, r.code, "curl %q:\n%s", args, r.all())
	return r.stdout
}

// curlLoginDenied is curl's exit code for it.
const curlLoginDenied = 67

func TestCurlSubmits(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}})
	d := newDevice(t)
	const header, body = "From: alice@example.test\r\nTo: bob@example.test\r\nSubject: From curl\r\n", "\r\n.dot at the beginning\r\n..two\r\n\r\nend\r\n"
	const message = header + body
	file := d.write("message.eml", message)
	to := []string{"--mail-from", harness.Address("alice"), "--mail-rcpt", harness.Address("bob"), "--upload-file", file}
	bob := s.IMAPClient(t, 0, "bob", nil)

	starttls, implicit := "smtp://"+s.Submission+"/laptop.example", "smtps://"+s.Submissions+"/laptop.example"
	for i, args := range [][]string{
		{"--ssl-reqd", "--url", starttls},
		{"--ssl-reqd", "--login-options", "AUTH=PLAIN", "--url", starttls},
		{"--ssl-reqd", "--login-options", "AUTH=LOGIN", "--url", starttls},
		{"--url", implicit},
		{"--login-options", "AUTH=LOGIN", "--sasl-ir", "--url", implicit},
		{"--login-options", "AUTH=PLAIN", "--sasl-ir", "--url", implicit},
	} {
		d.mustCurl(s, "alice", append(args, to...)...)
		got := text(t, bob, "INBOX")
		require.Len(t, got, i+1)
		require.True(t, strings.HasSuffix(got[i], body), "the body came through as it was: %q", got[i])
		require.Contains(t, got[i], "Subject: From curl\r\n")
		require.Contains(t, got[i], "Return-Path: <alice@example.test>\r\n")
		require.Contains(t, got[i], "Delivered-To: bob@example.test\r\n")
		require.Contains(t, got[i], "Received: from laptop.example (")
		require.Contains(t, got[i], " with ESMTPSA", "RFC 3848: the trace says TLS and login")
	}

	r := d.curl(s, "alice", "wrong", append([]string{"--url", implicit}, to...)...)
	require.Equal(t, curlLoginDenied, r.code, r.all())
	r = d.curl(s, "alice", harness.Password, append([]string{"--verbose", "--url", "smtp://" + s.Submission}, to...)...)
	require.NotZero(t, r.code, "no login without TLS")
	require.NotContains(t, r.stderr, "> AUTH", "nor does the server invite it: the password would be in the open")
	require.Len(t, text(t, bob, "INBOX"), 6)

	// curl declares the size, so a full mailbox refuses before the mail is on its way.
	s.CLI(t, "quota", "set", harness.Address("bob"), "10kB")
	big := d.write("big.eml", message+strings.Repeat("0123456789abcdef\r\n", 1000))
	r = d.curl(s, "alice", harness.Password, "--verbose", "--url", implicit, "--mail-from", harness.Address("alice"), "--mail-rcpt", harness.Address("bob"), "--upload-file", big)
	require.NotZero(t, r.code)
	require.Contains(t, r.stderr, "< 552 5.2.2")
	require.NotContains(t, r.stderr, "> DATA")
}

func TestCurlDownloadsOverPOP3(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	d := newDevice(t)
	messages := [][]byte{letter("1", "One", "first\n.dot"), letter("2", "Two", strings.Repeat("second\n", 5000))}
	for _, m := range messages {
		s.Deliver(t, "alice", m)
	}
	for _, base := range [][]string{{"pop3s://" + s.POP3S}, {"pop3://" + s.POP3, "--ssl-reqd"}} {
		curl := func(path string, args ...string) string {
			return d.mustCurl(s, "alice", append(append([]string{base[0] + path}, base[1:]...), args...)...)
		}
		require.Regexp(t, `^1 \d+\r\n2 \d+\r\n$`, curl("/"))
		require.Regexp(t, `^1 \d+\.1\r\n2 \d+\.2\r\n$`, curl("/", "--request", "UIDL"))
		for i, m := range messages {
			path := []string{"/1", "/2"}[i]
			require.Equal(t, string(m), string(harness.AfterTrace(t, []byte(curl(path)))))
		}
		require.NotContains(t, curl("/", "--request", "TOP 2 1"), "second\r\nsecond")
		require.Contains(t, curl("/", "--request", "TOP 2 1"), "Subject: Two\r\n")
		for _, mechanism := range []string{"PLAIN", "LOGIN"} {
			require.Regexp(t, `^1 \d+\r\n2`, curl("/", "--login-options", "AUTH="+mechanism))
		}
	}
	r := d.curl(s, "alice", "wrong", "pop3s://"+s.POP3S+"/")
	require.Equal(t, curlLoginDenied, r.code, r.all())
	r = d.curl(s, "alice", harness.Password, "--verbose", "pop3://"+s.POP3+"/")
	require.NotZero(t, r.code, "no login without TLS")
	require.NotContains(t, r.stderr, "> PASS")

	d.mustCurl(s, "alice", "pop3s://"+s.POP3S+"/1", "--request", "DELE", "--head")
	require.Regexp(t, `^1 \d+\r\n$`, d.mustCurl(s, "alice", "pop3s://"+s.POP3S+"/"), "one message is left")
}

func TestCurlReadsAndFilesOverIMAP(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	d := newDevice(t)
	message := letter("1", "Read me", "over IMAP")
	s.Deliver(t, "alice", message)
	s.Deliver(t, "alice", letter("2", "Other", "text"))
	for _, base := range [][]string{{"imaps://" + s.IMAPS[0]}, {"imap://" + s.IMAP[0], "--ssl-reqd"}} {
		curl := func(path string, args ...string) string {
			return d.mustCurl(s, "alice", append(append([]string{base[0] + path}, base[1:]...), args...)...)
		}
		list := curl("/")
		for _, line := range []string{`"/" "?INBOX"?`, `\\Sent\b.*Sent`, `\\Drafts\b.*Drafts`, `\\Trash\b.*Trash`, `\\Junk\b.*Junk`, `\\Archive\b.*Archive`} {
			require.Regexp(t, line, list)
		}
		require.Equal(t, string(message), string(harness.AfterTrace(t, []byte(curl("/INBOX;UID=1")))))
		require.Equal(t, string(message), string(harness.AfterTrace(t, []byte(curl("/INBOX;MAILINDEX=1")))))
		require.Equal(t, "Subject: Read me\r\n\r\n", curl("/INBOX;MAILINDEX=1;SECTION=HEADER.FIELDS%20(SUBJECT)"))
		require.Equal(t, "over IMAP\r\n", curl("/INBOX;UID=1;SECTION=TEXT"))
		require.Regexp(t, `^\* SEARCH 2\r\n$`, curl("/INBOX?SUBJECT%20Other"))
		require.Regexp(t, `^\* SEARCH\r\n$`, curl("/INBOX?BODY%20nothing"))
		require.Contains(t, curl("/", "--request", "STATUS INBOX (MESSAGES UIDNEXT)"), "MESSAGES 2 UIDNEXT 3")
		for _, mechanism := range []string{"PLAIN", "LOGIN"} {
			require.Contains(t, curl("/", "--login-options", "AUTH="+mechanism), "INBOX")
			require.Contains(t, curl("/", "--sasl-ir", "--login-options", "AUTH="+mechanism), "INBOX")
		}
	}
	d.mustCurl(s, "alice", "imaps://"+s.IMAPS[0]+"/Drafts", "--upload-file", d.write("draft.eml", string(message)))
	require.Equal(t, string(message), d.mustCurl(s, "alice", "imaps://"+s.IMAPS[0]+"/Drafts;UID=1"), "what was filed is what is read, with nothing added")
	require.Contains(t, d.mustCurl(s, "alice", "imaps://"+s.IMAPS[0]+"/INBOX", "--request", `STORE 1 +FLAGS (\Flagged)`), `\Flagged`)

	r := d.curl(s, "alice", "wrong", "imaps://"+s.IMAPS[0]+"/")
	require.Equal(t, curlLoginDenied, r.code, r.all())
	r = d.curl(s, "alice", harness.Password, "--verbose", "imap://"+s.IMAP[0]+"/")
	require.NotZero(t, r.code, "no login without TLS")
	require.NotContains(t, r.stderr, "LOGIN ", "curl does not even try: LOGINDISABLED")
	require.NotContains(t, r.stderr, "AUTHENTICATE ")
}
