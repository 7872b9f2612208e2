package clients

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// mbsyncDevice is a machine on which mbsync keeps the Maildirs in ~/mail the same as an account's mailboxes.
func mbsyncDevice(t *testing.T, s *harness.System, name, tls string) *device {
	t.Helper()
	d := newDevice(t)
	addr := s.IMAPS[0]
	if tls == "STARTTLS" {
		addr = s.IMAP[0]
	}
	d.write(".mbsyncrc", fmt.Sprintf(`IMAPAccount yubin
Host localhost
Port %s
User %s
Pass "%s"
SSLType %s
SystemCertificates no
CertificateFile %s

IMAPStore far
Account yubin

MaildirStore near
Path ~/mail/
Inbox ~/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState ~/state/
`, port(t, addr), harness.Address(name), harness.Password, tls, s.CertFile()))
	for _, folder := range []string{"mail", "state"} {
		require.NoError(t, os.Mkdir(d.path(folder), 0o700))
	}
	return d
}

// sync runs mbsync and gives what it says it did.
func (d *device) sync() string {
	d.t.Helper()
	r := d.try("", "mbsync", "--all", "--verbose")
	require.Zero(d.t, r.code, r.all())
	return r.all()
}

// maildir gives the messages of a local folder: by file name without the folder new or cur, in order of the names.
func (d *device) maildir(folder string) map[string]string {
	d.t.Helper()
	out := map[string]string{}
	for _, sub := range []string{"new", "cur"} {
		files, err := os.ReadDir(d.path("mail", folder, sub))
		require.NoError(d.t, err)
		for _, f := range files {
			out[sub+"/"+f.Name()] = d.read("mail", folder, sub, f.Name())
		}
	}
	return out
}

// message gives the one message of a folder whose text has a part, and its file.
func (d *device) message(folder, part string) (file, content string) {
	d.t.Helper()
	for name, content := range d.maildir(folder) {
		if strings.Contains(content, part) {
			return d.path("mail", folder, name), content
		}
	}
	d.t.Fatalf("no message with %q in %s", part, folder)
	return "", ""
}

// flag gives the file of a message other Maildir flags, as a mail program does.
func (d *device) flag(folder, part, flags string) {
	d.t.Helper()
	file, _ := d.message(folder, part)
	base, _, _ := strings.Cut(filepath.Base(file), ":2,")
	require.NoError(d.t, os.Rename(file, d.path("mail", folder, "cur", base+":2,"+flags)))
}

// flags gives the Maildir flags of a message.
func (d *device) flags(folder, part string) string {
	d.t.Helper()
	file, _ := d.message(folder, part)
	_, flags, _ := strings.Cut(filepath.Base(file), ":2,")
	return flags
}

// create writes a new message into a folder, as a mail program does.
func (d *device) create(folder, name, content string) {
	d.t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		require.NoError(d.t, os.MkdirAll(d.path("mail", folder, sub), 0o700))
	}
	d.write(filepath.Join("mail", folder, "cur", name+":2,S"), content)
}

// local is a message as it was before mbsync marked it to find it again.
func local(content string) string {
	lines := strings.SplitAfter(lf(content), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "X-TUID: ") }), "")
}

func TestMbsyncKeepsTwoDevicesTheSame(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	laptop, desktop := mbsyncDevice(t, s, "alice", "IMAPS"), mbsyncDevice(t, s, "alice", "STARTTLS")
	both := func() {
		t.Helper()
		laptop.sync()
		desktop.sync()
	}
	for _, subject := range []string{"Alpha", "Beta", "Gamma"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	both()
	for _, d := range []*device{laptop, desktop} {
		require.Len(t, d.maildir("INBOX"), 3)
		for _, folder := range []string{"Drafts", "Sent", "Junk", "Trash", "Archive"} {
			require.Empty(t, d.maildir(folder))
		}
		_, beta := d.message("INBOX", "Subject: Beta")
		require.Equal(t, string(letter("Beta", "Beta", "the text of Beta")), string(harness.AfterTrace(t, []byte(crlf(local(beta))))))
	}

	// Read and answered here, starred there; a draft and a folder with a folder within.
	laptop.flag("INBOX", "Subject: Alpha", "RS")
	desktop.flag("INBOX", "Subject: Beta", "FS")
	draft := lf(string(letter("draft", "Unfinished", "dear")))
	laptop.create("Drafts", "1.local.laptop", draft)
	laptop.create("Projects/Post office", "2.local.laptop", lf(string(letter("project", "Plans", "many"))))
	both()
	laptop.sync()
	for _, d := range []*device{laptop, desktop} {
		require.Equal(t, "RS", d.flags("INBOX", "Subject: Alpha"))
		require.Equal(t, "FS", d.flags("INBOX", "Subject: Beta"))
		require.Empty(t, d.flags("INBOX", "Subject: Gamma"))
		_, got := d.message("Drafts", "Unfinished")
		require.Equal(t, draft, local(got))
		_, got = d.message("Projects/Post office", "Plans")
		require.Contains(t, got, "many\n")
	}
	c := s.IMAPClient(t, 0, "alice", nil)
	require.Len(t, text(t, c, "Projects/Post office"), 1)

	// Deleted here, deleted there; the folder removed here, gone there.
	laptop.flag("INBOX", "Subject: Gamma", "ST")
	file, _ := desktop.message("INBOX", "Subject: Alpha")
	require.NoError(t, os.Remove(file))
	file, _ = desktop.message("Drafts", "Unfinished")
	require.NoError(t, os.Remove(file))
	both()
	laptop.sync()
	for _, d := range []*device{laptop, desktop} {
		require.Len(t, d.maildir("INBOX"), 1)
		require.Empty(t, d.maildir("Drafts"))
	}
	require.Len(t, text(t, c, "INBOX"), 1)
	file, _ = laptop.message("Projects/Post office", "Plans")
	require.NoError(t, os.Remove(file))
	both()
	require.NoError(t, os.RemoveAll(laptop.path("mail", "Projects", "Post office")))
	both()

	require.NoDirExists(t, desktop.path("mail", "Projects", "Post office", "cur"))

	// A move on the server, as a phone does, arrives as a move.
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	_, err = c.Move(allUIDs(), "Archive").Wait()
	require.NoError(t, err)
	both()
	for _, d := range []*device{laptop, desktop} {
		require.Empty(t, d.maildir("INBOX"))
		require.Equal(t, "FS", d.flags("Archive", "Subject: Beta"))
	}
}

// snapshot lists all files under ~/mail with their content.
func (d *device) snapshot() map[string]string {
	d.t.Helper()
	out := map[string]string{}
	require.NoError(d.t, filepath.WalkDir(d.path("mail"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		out[path] = string(content)
		return err
	}))
	return out
}

func TestMbsyncCarriesFiveHundredMessagesAndThenNothing(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}})
	const n = 500
	old, d := mbsyncDevice(t, s, "alice", "IMAPS"), mbsyncDevice(t, s, "alice", "IMAPS")
	old.sync()
	sent := map[string]bool{}
	for i := range n {
		m := lf(string(letter(fmt.Sprintf("bulk-%d", i), fmt.Sprintf("Number %d", i), strings.Repeat("line\n", i%40))))
		sent[m] = true
		old.create("INBOX", fmt.Sprintf("%d.local", i), m)
	}
	old.sync()
	d.sync()
	got := d.maildir("INBOX")
	require.Len(t, got, n)
	for file, content := range got {
		content = local(content)
		require.True(t, sent[content], "%s is not what was filed", file)
		delete(sent, content)
		require.True(t, strings.HasSuffix(file, ":2,S"), file)
	}
	require.Empty(t, sent)

	before, status := d.snapshot(), mailboxList(t, s, "alice")
	require.NotRegexp(t, `[+*#]0*[1-9]`, lastLine(d.sync()), "nothing is left to do")
	require.Equal(t, before, d.snapshot())
	require.Equal(t, status, mailboxList(t, s, "alice"))
}

// mailboxList is what the operator sees of an account's mailboxes.
func mailboxList(t *testing.T, s *harness.System, name string) string {
	t.Helper()
	return s.CLI(t, "mailbox", "list", harness.Address(name), "--json")
}

func lastLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}
