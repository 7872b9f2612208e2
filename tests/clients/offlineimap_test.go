package clients

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// offlineIMAPDevice is a machine on which OfflineIMAP keeps the Maildirs in ~/mail the same as an account's mailboxes.
func offlineIMAPDevice(t *testing.T, s *harness.System, name, settings string) *device {
	t.Helper()
	d := newDevice(t)
	d.write(".offlineimaprc", fmt.Sprintf(`[general]
accounts = yubin
metadata = ~/state

[Account yubin]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = ~/mail
sync_deletes = yes

[Repository far]
type = IMAP
remotehost = localhost
remoteport = %s
remoteuser = %s
remotepass = %s
ssl = yes
sslcacertfile = %s
expunge = yes
createfolders = yes
%s
`, port(t, s.IMAPS[0]), harness.Address(name), harness.Password, s.CertFile(), settings))
	return d
}

// offlineIMAP synchronises once.
func (d *device) offlineIMAP() string {
	d.t.Helper()
	r := d.try("", "offlineimap", "-o", "-u", "basic")
	require.Zero(d.t, r.code, r.all())
	require.NotContains(d.t, r.all(), "ERROR")
	return r.all()
}

// near lists the messages of the Maildirs: folder, flags and octets. Header fields that the program added are left out.
func (d *device) near(added string) []string {
	d.t.Helper()
	out := []string{}
	folders, err := filepath.Glob(d.path("mail", "*", "cur"))
	require.NoError(d.t, err)
	for _, folder := range folders {
		folder = filepath.Base(filepath.Dir(folder))
		for file, content := range d.maildir(folder) {
			_, flags, _ := strings.Cut(file, ":2,")
			lines := strings.SplitAfter(lf(content), "\n")
			lines = slices.DeleteFunc(lines, func(l string) bool { return added != "" && strings.HasPrefix(l, added+": ") })
			out = append(out, fmt.Sprintf("%s %s %q", folder, flags, strings.Join(lines, "")))
		}
	}
	slices.Sort(out)
	return out
}

// far lists the messages of an account as near does.
func far(t *testing.T, c *imapclient.Client, added string) []string {
	t.Helper()
	out := []string{}
	for _, mailbox := range names(t, c, "", "*", nil) {
		data, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		require.NoError(t, err)
		if data.NumMessages == 0 {
			continue
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		messages, err := c.Fetch(allUIDs(), &imap.FetchOptions{Flags: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		require.NoError(t, err)
		for _, m := range messages {
			var flags []byte
			for flag, letter := range map[imap.Flag]byte{imap.FlagDraft: 'D', imap.FlagFlagged: 'F', imap.FlagAnswered: 'R', imap.FlagSeen: 'S', imap.FlagDeleted: 'T'} {
				if slices.Contains(m.Flags, flag) {
					flags = append(flags, letter)
				}
			}
			slices.Sort(flags)
			lines := bytes.SplitAfter(m.FindBodySection(whole), []byte("\n"))
			lines = slices.DeleteFunc(lines, func(l []byte) bool { return added != "" && bytes.HasPrefix(l, []byte(added+": ")) })
			out = append(out, fmt.Sprintf("%s %s %q", mailbox, flags, lf(string(bytes.Join(lines, nil)))))
		}
	}
	slices.Sort(out)
	return out
}

// TestOfflineIMAP synchronises, then after changes on both sides, over a plain and a compressed connection.
func TestOfflineIMAP(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	laptop := offlineIMAPDevice(t, s, "alice", "usecompression = yes")
	desktop := offlineIMAPDevice(t, s, "alice", "maxconnections = 3\nsingleconnection = no")
	c := s.IMAPClient(t, 0, "alice", nil)
	const added = "X-OfflineIMAP" // by which it finds what it has uploaded
	same := func() {
		t.Helper()
		laptop.offlineIMAP()
		desktop.offlineIMAP()
		laptop.offlineIMAP()
		want := far(t, c, added)
		require.Equal(t, want, laptop.near(added))
		require.Equal(t, want, desktop.near(added))
	}
	for _, subject := range []string{"Alpha", "Beta", "Gamma", "Delta"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	same()
	require.Len(t, laptop.near(added), 4)

	// Here: a flag, a new message in a new folder, a message that goes. There: another flag, a move, mail that comes.
	laptop.flag("INBOX", "Subject: Alpha", "RS")
	laptop.create("Projects", "1.local", lf(string(letter("project", "Plans", "many"))))
	file, _ := laptop.message("INBOX", "Subject: Delta")
	require.NoError(t, os.Remove(file))
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	beta := uidsOf(t, c, "Beta")
	addFlags(t, c, beta, imap.FlagFlagged)
	_, err = c.Move(beta, "Archive").Wait()
	require.NoError(t, err)
	s.Deliver(t, "alice", letter("Epsilon", "Epsilon", "new"))
	same()
	got := strings.Join(desktop.near(added), "\n")
	require.Len(t, desktop.near(added), 5)
	for _, want := range []string{"Archive F ", "INBOX RS ", "Projects S ", "Subject: Epsilon", "Subject: Gamma"} {
		require.Contains(t, got, want)
	}
	require.NotContains(t, got, "Subject: Delta")
}
