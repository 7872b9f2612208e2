package clients

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// muttDevice is a machine on which NeoMutt reads and sends an account's mail.
func muttDevice(t *testing.T, s *harness.System, name string) *device {
	t.Helper()
	d := newDevice(t)
	imap := "imaps://localhost:" + port(t, s.IMAPS[0]) + "/"
	d.write(".config/neomutt/neomuttrc", fmt.Sprintf(`
set imap_user="%[1]s" imap_pass="%[2]s" smtp_pass="%[2]s" pop_user="%[1]s" pop_pass="%[2]s" pop_delete=yes
set from="%[1]s" use_from=yes realname="%[3]s" hostname=example.test
set folder="%[4]s" spoolfile="+INBOX" record="+Sent" postponed="+Drafts" trash="+Trash"
set smtp_url="smtps://%[5]s@localhost:%[6]s/"
set certificate_file="%[7]s" ssl_force_tls=yes
set charset=utf-8 assumed_charset="utf-8:iso-2022-jp" rfc2047_parameters=yes send_charset="us-ascii:utf-8"
set copy=yes delete=yes quit=yes confirmappend=no confirmcreate=no mark_old=no sleep_time=0 wait_key=no
set editor="sh %[8]s" autoedit=no edit_headers=no fast_reply=yes askcc=no askbcc=no
set pipe_decode=yes imap_check_subscribed=no mail_check=0 timeout=1 sort=mailbox-order abort_key="\Cx"
`, harness.Address(name), harness.Password, name, imap, strings.ReplaceAll(harness.Address(name), "@", "%40"), port(t, s.Submissions), s.CertFile(), d.path("editor")))
	return d
}

// mutt opens a mailbox, "=" and its name or a URL, in NeoMutt on a terminal, presses keys, and leaves with what "quit" does: it saves the changes.
func (d *device) mutt(folder, keys string) {
	d.t.Helper()
	script := d.write("keys.muttrc", "push \""+keys+"<sync-mailbox><quit>\"\n")
	r := d.try("", "script", "--quiet", "--return", "--command", fmt.Sprintf("neomutt -f '%s' -e 'source %s'", folder, script), "/dev/null")
	require.Zero(d.t, r.code, "%s\n%s", keys, r.all())
}

// send sends a mail as a person does who writes it in an editor and attaches a file. The copy goes to Sent.
func (d *device) send(to, subject, body, attachment string) {
	d.t.Helper()
	d.write("editor", "cat "+d.write("body.txt", body)+" > \"$1\"\n")
	keys := "<mail>" + to + "<enter>" + subject + "<enter>"
	if attachment != "" {
		keys += "<attach-file>" + attachment + "<enter>"
	}
	d.mutt("=INBOX", keys+"<send-message>")
}

func TestNeoMuttReadsAndFiles(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	for _, subject := range []string{"Alpha", "Beta", "Gamma", "Delta"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	d := muttDevice(t, s, "alice")
	c := s.IMAPClient(t, 0, "alice", nil)

	d.mutt("=INBOX", "<search>~s Beta<enter><pipe-message>cat > "+d.path("beta")+"<enter>")
	require.Contains(t, d.read("beta"), "Subject: Beta\n")
	require.Contains(t, d.read("beta"), "\nthe text of Beta\n")

	d.mutt("=INBOX", "<tag-pattern>~s Alpha|~s Beta<enter><tag-prefix><save-message>=Projects<enter>")
	require.Len(t, text(t, c, "INBOX"), 2)
	projects := text(t, c, "Projects")
	require.Len(t, projects, 2)
	require.Equal(t, string(letter("Alpha", "Alpha", "the text of Alpha")), string(harness.AfterTrace(t, []byte(projects[0]))))

	d.mutt("=INBOX", "<search>~s Gamma<enter><flag-message><search>~s Delta<enter><delete-message>")
	require.Len(t, text(t, c, "INBOX"), 1)
	require.Contains(t, mailboxList(t, s, "alice"), `"name":"Trash"`)
	require.Len(t, text(t, c, "Trash"), 1, "what is deleted goes to the trash")
	require.Contains(t, text(t, c, "Trash")[0], "Subject: Delta")
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.Contains(t, fetchFlags(t, c), `\Flagged`)

	d.mutt("=Trash", "<delete-pattern>~A<enter>")
	require.Empty(t, text(t, c, "Trash"), "and leaves the trash for good")
	d.mutt("=INBOX", "<copy-message>=Archive<enter>")
	require.Len(t, text(t, c, "Archive"), 1)
	require.Len(t, text(t, c, "INBOX"), 1)

	// Search on the server: a body that NeoMutt has not downloaded.
	d.mutt("=Projects", "<limit>=b 'text of Alpha'<enter><pipe-message>cat > "+d.path("found")+"<enter><limit>~A<enter>")
	require.Contains(t, d.read("found"), "Subject: Alpha\n")
}

func TestNeoMuttReadsOverPOP3(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	for _, subject := range []string{"Alpha", "Beta"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	d := muttDevice(t, s, "alice")
	d.mutt("pops://localhost:"+port(t, s.POP3S)+"/", "<search>~s Beta<enter><pipe-message>cat > "+d.path("beta")+"<enter><search>~s Alpha<enter><delete-message>")
	require.Contains(t, d.read("beta"), "\nthe text of Beta\n")
	left := text(t, s.IMAPClient(t, 0, "alice", nil), "INBOX")
	require.Len(t, left, 1)
	require.Contains(t, left[0], "Subject: Beta\r\n")
}

func TestNeoMuttSendsAndKeepsACopy(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}})
	d := muttDevice(t, s, "alice")
	file := d.write("report.txt", "numbers\n")
	d.send(harness.Address("bob"), "Report", "Hello Bob\n.\n.leading dots\nFrom here\n", file)

	inbox := text(t, s.IMAPClient(t, 0, "bob", nil), "INBOX")
	require.Len(t, inbox, 1)
	require.Contains(t, inbox[0], "Subject: Report\r\n")
	require.Contains(t, inbox[0], "\r\n.\r\n.leading dots\r\n")
	require.Contains(t, inbox[0], filepath.Base(file))
	sent := text(t, s.IMAPClient(t, 0, "alice", nil), "Sent")
	require.Len(t, sent, 1, "the copy is in Sent")
	_, kept, _ := strings.Cut(sent[0], "\r\n")
	_, received, _ := strings.Cut(string(harness.AfterTrace(t, []byte(inbox[0]))), "\r\n")
	require.Equal(t, kept, received, "and is what was sent, but for the Date, which NeoMutt writes anew")

	r := d.try("Hello\n", "neomutt", "-s", "Out", "--", "friend@gmail.example")
	require.NotZero(t, r.code, "mail to elsewhere is refused while NeoMutt is connected")
	require.Contains(t, r.all(), "5.7.1")

	phone := muttDevice(t, s, "bob")
	phone.mutt("=INBOX", "<pipe-message>cat > "+phone.path("mail")+"<enter><view-attachments><next-entry><save-entry><kill-line>"+phone.path("saved.txt")+"<enter><exit>")
	require.Contains(t, phone.read("mail"), "Hello Bob\n.\n.leading dots\n")
	require.Equal(t, "numbers\n", phone.read("saved.txt"))
}
