package clients

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// contents describes every message of an account: mailbox, date, flags and octets.
func contents(t *testing.T, c *imapclient.Client) (out []string) {
	t.Helper()
	for _, mailbox := range names(t, c, "", "*", nil) {
		data, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		require.NoError(t, err)
		if data.NumMessages == 0 {
			continue
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		messages, err := c.Fetch(allUIDs(), &imap.FetchOptions{Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		require.NoError(t, err)
		for _, m := range messages {
			flags := slices.DeleteFunc(m.Flags, func(f imap.Flag) bool { return f == `\Recent` })
			slices.Sort(flags)
			out = append(out, fmt.Sprintf("%s %s %v %q", mailbox, m.InternalDate.UTC().Format(time.DateTime), flags, m.FindBodySection(whole)))
		}
	}
	return out
}

func TestMailMovesInAndOut(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "maildir", "mbox", "imap", "mpop"}})
	c := s.IMAPClient(t, 0, "alice", nil)
	date := time.Date(2019, 12, 31, 23, 59, 58, 0, time.UTC)
	s.Deliver(t, "alice", letter("1", "New", "From the beginning\n>From quoted\n\nFrom after an empty line\n.dot\n"))
	appendMessage(t, c, "INBOX", letter("2", "Read", strings.Repeat("many lines\n", 2000)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged}, Time: date})
	appendMessage(t, c, "Sent", letter("3", "Sent", "answer"), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, imap.FlagAnswered, "$Forwarded"}, Time: date.Add(time.Hour)})
	require.NoError(t, c.Create("仕事/郵便", nil).Wait())
	for _, charset := range charsets {
		appendMessage(t, c, "仕事/郵便", charset.letter(t), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft}, Time: date.Add(2 * time.Hour)})
	}
	want := contents(t, c)
	require.Len(t, want, 3+len(charsets))
	d := newDevice(t)
	alice := harness.Address("alice")

	transfers := map[string]func(to string) []string{
		"maildir": func(to string) []string {
			s.CLI(t, "export", alice, "--to", d.path("backup"))
			return []string{"import", "maildir", d.path("backup"), "--to", to, "--state", d.path("maildir.state")}
		},
		"mbox": func(to string) []string {
			s.CLI(t, "export", alice, "--to", d.path("backup.mbox"))
			return []string{"import", "mbox", d.path("backup.mbox"), "--to", to, "--state", d.path("mbox.state")}
		},
		"imap": func(to string) []string {
			return []string{"import", "imap", s.IMAPS[0], "--user", alice, "--password-stdin", "--no-verify", "--to", to, "--state", d.path("imap.state")}
		},
	}
	for name, transfer := range transfers {
		t.Run(name, func(t *testing.T) {
			args := transfer(harness.Address(name))
			s.CLIInput(t, harness.Password+"\n", args...)
			to := s.IMAPClient(t, 0, name, nil)
			require.ElementsMatch(t, want, contents(t, to))
			s.CLIInput(t, harness.Password+"\n", args...)
			require.Len(t, contents(t, to), len(want), "the second time there is nothing new")
		})
	}

	t.Run("what mpop has downloaded", func(t *testing.T) {
		pc := mpopDevice(t, s, "alice", "delivery mbox ~/inbox.mbox", "keep on")
		pc.run("mpop")
		s.CLI(t, "import", "mbox", pc.path("inbox.mbox"), "--to", harness.Address("mpop"), "--mailbox", "Old mail", "--state", pc.path("state"))
		require.Equal(t, text(t, c, "INBOX"), text(t, s.IMAPClient(t, 0, "mpop", nil), "Old mail"))
	})
	t.Run("wrong password", func(t *testing.T) {
		_, stderr, err := s.TryCLI(t, "wrong\n", "import", "imap", s.IMAPS[0], "--user", alice, "--password-stdin", "--no-verify", "--to", harness.Address("imap"), "--state", d.path("x"))
		require.Equal(t, 1, exitCode(t, err))
		require.NotContains(t, stderr, "wrong\n")
		_, stderr, err = s.TryCLI(t, "wrong\n", "import", "imap", s.IMAPS[0], "--user", alice, "--password-stdin", "--to", harness.Address("imap"), "--state", d.path("x"))
		require.Equal(t, 1, exitCode(t, err))
		require.Contains(t, stderr, "certificate", "a stranger's certificate is not taken")
	})
	require.ElementsMatch(t, want, contents(t, c), "the account itself is as it was")
}
