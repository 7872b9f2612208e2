package clients

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// mpopDevice is a machine on which mpop downloads an account's mail; delivery and more are lines of its configuration.
func mpopDevice(t *testing.T, s *harness.System, name string, more ...string) *device {
	t.Helper()
	d := newDevice(t)
	d.write(".mpoprc", fmt.Sprintf(`account default
host localhost
port %s
user %s
password %s
tls on
tls_starttls off
tls_trust_file %s
tls_crl_file
auth scram-sha-256
received_header off
uidls_file ~/uidls
%s
`, port(t, s.POP3S), harness.Address(name), harness.Password, s.CertFile(), strings.Join(more, "\n")))
	for _, sub := range []string{"cur", "new", "tmp"} {
		require.NoError(t, os.MkdirAll(d.path("mail", "INBOX", sub), 0o700))
	}
	return d
}

// downloads runs mpop and tells which messages lie in the Maildir, without their trace.
func (d *device) downloads(args ...string) []string {
	d.t.Helper()
	d.run("mpop", args...)
	var out []string
	for _, content := range d.maildir("INBOX") {
		out = append(out, string(harness.AfterTrace(d.t, []byte(crlf(content)))))
	}
	return out
}

func TestMpopDownloads(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	var sent []string
	deliver := func(subject, body string) {
		t.Helper()
		m := letter(subject, subject, body)
		s.Deliver(t, "alice", m)
		sent = append(sent, string(m))
	}
	deliver("One", "the first\n.dot\n..dots\n")
	deliver("Two", strings.Repeat("a longer one, of many lines\n", 50_000))

	keeper := mpopDevice(t, s, "alice", "delivery maildir ~/mail/INBOX", "keep on")
	require.ElementsMatch(t, sent, keeper.downloads())
	require.ElementsMatch(t, sent, keeper.downloads(), "mpop knows them by their UIDL")
	deliver("Three", "new")
	require.ElementsMatch(t, sent, keeper.downloads(), "only the new one is downloaded")
	s.Stop(t)
	s.Restart(t)
	require.ElementsMatch(t, sent, keeper.downloads(), "the UIDLs are the same after a restart")

	for i, config := range [][]string{
		{"auth plain"}, {"auth login"}, {"auth user"}, {"auth scram-sha-256"}, {"pipelining off"}, {"pipelining on"},
		{"port " + port(t, s.POP3), "tls_starttls on"},
	} {
		again := mpopDevice(t, s, "alice", append(config, "delivery maildir ~/mail/INBOX", "keep on")...)
		require.ElementsMatch(t, sent, again.downloads(), "%d: %v", i, config)
	}
	wrong := mpopDevice(t, s, "alice", "password wrong", "delivery maildir ~/mail/INBOX")
	r := wrong.try("", "mpop")
	require.NotZero(t, r.code)
	require.Contains(t, r.stderr, "authentication failed")

	pc := mpopDevice(t, s, "alice", "delivery mbox ~/inbox.mbox", "keep off")
	pc.run("mpop")
	box := pc.read("inbox.mbox")
	at := 0
	for _, m := range sent {
		body := strings.SplitN(lf(m), "\n\n", 2)[1]
		i := strings.Index(box[at:], body)
		require.GreaterOrEqual(t, i, 0, "%.60q is in the mbox, in order", body)
		at += i + len(body)
	}
	require.Equal(t, len(sent), strings.Count("\n"+box, "\nFrom "))
	require.Zero(t, s.POP3Client(t, "alice").Count(), "downloaded is deleted")
	require.Empty(t, text(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"))
}
