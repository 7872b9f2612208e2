package clients

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// swaks sends a mail with swaks.
func (d *device) swaks(server string, args ...string) result {
	d.t.Helper()
	return d.try("", "swaks", append([]string{"--server", "127.0.0.1", "--port", port(d.t, server), "--helo", "client.example", "--timeout", "60"}, args...)...)
}

func (d *device) mustSwaks(server string, args ...string) string {
	d.t.Helper()
	r := d.swaks(server, args...)
	require.Zero(d.t, r.code, "swaks %q:\n%s", args, r.all())
	return r.stdout
}

// Exit codes of swaks.
const (
	swaksMail = 23
	swaksRcpt = 24
	swaksData = 26
	swaksAuth = 28
	swaksTLS  = 29
)

func TestSwaksSubmits(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}})
	d := newDevice(t)
	bob := s.IMAPClient(t, 0, "bob", nil)
	login := []string{"--auth-user", harness.Address("alice"), "--auth-password", harness.Password, "--from", harness.Address("alice"),
		"--tls-verify", "--tls-ca-path", s.CertFile()}
	to := []string{"--to", harness.Address("bob")}
	sent := 0
	for _, c := range []struct {
		server string
		args   []string
	}{
		{s.Submission, []string{"--tls", "--auth", "PLAIN"}},
		{s.Submission, []string{"--tls", "--auth", "LOGIN"}},
		{s.Submission, []string{"--tls", "--auth"}}, // the best that swaks knows
		{s.Submissions, []string{"--tls-on-connect", "--auth", "PLAIN"}},
		{s.Submissions, []string{"--tls-on-connect", "--auth", "LOGIN"}},
		{s.Submissions, []string{"--tls-on-connect", "--auth", "PLAIN", "--pipeline"}},
		{s.Submission, []string{"--tls", "--auth", "PLAIN", "--pipeline"}},
	} {
		d.mustSwaks(c.server, append(append(c.args, login...), to...)...)
		sent++
		require.Len(t, text(t, bob, "INBOX"), sent, "%v", c.args)
	}

	refused := func(code int, reply string, server string, args ...string) {
		t.Helper()
		r := d.swaks(server, args...)
		require.Equal(t, code, r.code, r.all())
		require.Contains(t, r.all(), reply)
	}
	authed := append([]string{"--tls", "--auth", "PLAIN"}, login...)
	refused(swaksAuth, "535 5.7.8", s.Submission, "--tls", "--auth", "PLAIN", "--auth-user", harness.Address("alice"), "--auth-password", "wrong", "--to", harness.Address("bob"))
	refused(swaksAuth, "535 5.7.8", s.Submission, "--tls", "--auth", "LOGIN", "--auth-user", "nobody@example.test", "--auth-password", "wrong", "--to", harness.Address("bob"))
	refused(swaksRcpt, "550 5.7.1", s.Submission, append(authed, "--to", "friend@gmail.example")...)
	refused(swaksRcpt, "550 5.1.1", s.Submission, append(authed, "--to", harness.Address("nobody"))...)
	refused(swaksMail, "5.7.1", s.Submission, append(append([]string{"--tls", "--auth", "PLAIN"}, login[:4]...), "--from", harness.Address("bob"), "--to", harness.Address("bob"))...)
	r := d.swaks(s.Submission, "--from", harness.Address("alice"), "--to", harness.Address("bob"))
	require.Equal(t, swaksMail, r.code, r.all())
	require.Regexp(t, `530 5\.7\.[01]`, r.all(), "submission asks for a login")
	r = d.swaks(s.Submission, "--auth", "CRAM-MD5", "--tls", "--auth-user", "x", "--auth-password", "y", "--to", harness.Address("bob"))
	require.Equal(t, swaksAuth, r.code, "CRAM-MD5 would need the password in the clear on the server: %s", r.all())
	r = d.swaks(s.Submission, "--auth", "PLAIN", "--auth-user", harness.Address("alice"), "--auth-password", harness.Password, "--to", harness.Address("bob"))
	require.Equal(t, swaksAuth, r.code, r.all())
	require.NotContains(t, r.all(), "-> AUTH", "no login without TLS")
	require.Len(t, text(t, bob, "INBOX"), sent)
}

func TestSwaksDeliversFromOutside(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice", "bob", "full"}})
	d := newDevice(t)
	alice, bob := s.IMAPClient(t, 0, "alice", nil), s.IMAPClient(t, 0, "bob", nil)
	from := []string{"--from", "sender@elsewhere.example"}
	both := slices.Concat(from, []string{"--to", harness.Address("alice") + "," + harness.Address("bob")})

	d.mustSwaks(s.SMTP, both...)
	d.mustSwaks(s.SMTP, append(both, "--pipeline")...)
	d.mustSwaks(s.SMTP, append(both, "--tls", "--tls-verify", "--tls-ca-path", s.CertFile())...)
	d.mustSwaks(s.SMTP, append(both, "--protocol", "SMTP")...)
	d.mustSwaks(s.SMTP, append([]string{"--from", "<>"}, "--to", harness.Address("alice"))...)
	require.Len(t, text(t, alice, "INBOX"), 5)
	got := text(t, bob, "INBOX")
	require.Len(t, got, 4)
	for i, protocol := range []string{"ESMTP", "ESMTP", "ESMTPS", "E?SMTP"} {
		require.Regexp(t, `(?s)^Return-Path: <sender@elsewhere.example>\r\nDelivered-To: bob@example.test\r\nReceived: from client.example \(.*?\tby mx.example.test with `+
			protocol+`\s`, got[i])
	}

	for _, c := range []struct {
		code  int
		reply string
		args  []string
	}{
		{swaksRcpt, "550 5.1.1", []string{"--to", harness.Address("nobody")}},
		{swaksRcpt, "550 5.7.1", []string{"--to", "someone@gmail.example"}},
		{swaksRcpt, "501 5", []string{"--to", "no-domain"}},
	} {
		r := d.swaks(s.SMTP, append(from, c.args...)...)
		require.Equal(t, c.code, r.code, r.all())
		require.Contains(t, r.all(), c.reply)
	}
	r := d.swaks(s.SMTP, append(from, "--to", harness.Address("alice"), "--auth", "PLAIN", "--tls", "--auth-user", "x", "--auth-password", "y")...)
	require.Equal(t, swaksAuth, r.code, "logins belong on the submission ports: %s", r.all())

	s.CLI(t, "quota", "set", harness.Address("full"), "10kB")
	body := d.write("body.txt", strings.Repeat("0123456789abcdef\n", 1000))
	r = d.swaks(s.SMTP, append(from, "--to", harness.Address("full"), "--body", "@"+body)...)
	require.Equal(t, swaksData, r.code, r.all())
	require.Contains(t, r.all(), "552 5.2.2", "swaks does not declare the size, so it learns at the end of the data")

	// RFC 2033: over LMTP each recipient has its own answer.
	out := d.mustSwaks(s.LMTP, append(from, "--protocol", "LMTP", "--to", harness.Address("alice")+","+harness.Address("bob"))...)
	require.Contains(t, out, "LHLO client.example")
	require.Len(t, text(t, alice, "INBOX"), 6)
	require.Len(t, text(t, bob, "INBOX"), 5)
	r = d.swaks(s.LMTP, append(from, "--protocol", "LMTP", "--to", harness.Address("full")+","+harness.Address("bob"), "--body", "@"+body)...)
	require.Contains(t, r.all(), "552 5.2.2")
	require.Len(t, text(t, bob, "INBOX"), 6, "the one with room has it")
}
