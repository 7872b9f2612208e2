package clients

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// eventually waits for what happens in the background, such as a notice or the settlement of a quota.
func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, 50*time.Millisecond, what)
}

// usage is what `yubin quota show` says of an account.
type usage struct {
	UsedBytes    int64 `json:"used_bytes"`
	UsedMessages int64 `json:"used_messages"`
	LimitBytes   int64 `json:"limit_bytes"`
}

func usageOf(t *testing.T, s *harness.System, address string) usage {
	t.Helper()
	var u usage
	require.NoError(t, json.Unmarshal([]byte(s.CLI(t, "quota", "show", address, "--json")), &u))
	return u
}

// fillTo delivers one mail after which an account uses so many percent of its limit, and a little more.
func fillTo(t *testing.T, s *harness.System, name string, percent int64) {
	t.Helper()
	u := usageOf(t, s, harness.Address(name))
	target := u.LimitBytes*percent/100 - u.UsedBytes
	require.Positive(t, target)
	s.Deliver(t, name, letter("fill", "Photos", strings.Repeat(strings.Repeat("x", 98)+"\n", int(target/100))))
}

// notices are the subjects of the messages in a mailbox that Yubin itself wrote.
func notices(t *testing.T, c *imapclient.Client, mailbox string) (subjects []string) {
	t.Helper()
	for _, m := range text(t, c, mailbox) {
		if _, rest, ok := strings.Cut(m, "\r\nSubject: "); ok && strings.Contains(m, "Auto-Submitted: auto-generated\r\n") {
			subject, _, _ := strings.Cut(rest, "\r\n")
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

func TestMyMailboxIsFull(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	s.CLI(t, "quota", "set", harness.Address("alice"), "200kB")
	c := s.IMAPClient(t, 0, "alice", nil)
	warned := func(n int) {
		t.Helper()
		eventually(t, func() bool { return len(notices(t, c, "INBOX")) >= n }, "the owner is warned")
		require.Len(t, notices(t, c, "INBOX"), n, "once")
	}
	big := letter("big", "Too big", strings.Repeat("0123456789abcdef\n", 3000))
	refused := func() {
		t.Helper()
		err := s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, big)
		code, enhanced := harness.SMTPCode(err)
		require.Equal(t, 552, code, "%v", err)
		require.Equal(t, "5.2.2", enhanced)
	}

	fillTo(t, s, "alice", 82)
	warned(1)
	fillTo(t, s, "alice", 92)
	warned(2)
	refused()
	warned(3)
	refused()
	s.Deliver(t, "alice", letter("small", "Small", "fits"))
	warned(3)
	subjects := notices(t, c, "INBOX")
	require.Contains(t, subjects[0], "80")
	require.Contains(t, subjects[1], "90")
	require.Contains(t, strings.ToLower(subjects[2]), "full")

	roots, err := c.GetQuotaRoot("INBOX").Wait()
	require.NoError(t, err)
	storage := roots[0].Resources[imap.QuotaResourceStorage]
	require.EqualValues(t, 195, storage.Limit, "in units of 1,024 octets")
	require.InDelta(t, 0.93*195, storage.Usage, 4, "the mail program shows how full it is")

	// Cleaning up: to throw away is not enough, the trash must be emptied.
	_, err = c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	_, err = c.Move(allUIDs(), "Trash").Wait()
	require.NoError(t, err, "moving works in a full mailbox")
	refused()
	_, err = c.Select("Trash", nil).Wait()
	require.NoError(t, err)
	addFlags(t, c, allUIDs(), imap.FlagDeleted)
	require.NoError(t, c.Expunge().Close())
	eventually(t, func() bool { return usageOf(t, s, harness.Address("alice")).UsedBytes == 0 }, "the space is free")
	s.Deliver(t, "alice", big)
	eventually(t, func() bool { return usageOf(t, s, harness.Address("alice")).UsedMessages == 1 }, "mail flows again, and is counted")
	fillTo(t, s, "alice", 82)
	warned(1)

	// Cleaning up again, with a program that downloads.
	d := mpopDevice(t, s, "alice", "delivery maildir ~/mail/INBOX", "keep off")
	d.run("mpop")
	require.Len(t, d.maildir("INBOX"), 3)
	eventually(t, func() bool { return usageOf(t, s, harness.Address("alice")).UsedBytes == 0 }, "the space is free")
	s.Deliver(t, "alice", big)
}

func TestMoreSpaceHelpsAtOnce(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: []string{"--smtp-over-quota-code", "452"}})
	s.CLI(t, "quota", "set", harness.Address("alice"), "10kB")
	d := newDevice(t)
	body := d.write("body.txt", strings.Repeat("0123456789abcdef\n", 1000))
	send := []string{"--from", "sender@elsewhere.example", "--to", harness.Address("alice"), "--body", "@" + body}
	r := d.swaks(s.SMTP, send...)
	require.Equal(t, swaksData, r.code, r.all())
	require.Contains(t, r.all(), "452 4.2.2", "by policy the sender's server tries again later")
	s.CLI(t, "quota", "set", harness.Address("alice"), "100kB")
	d.mustSwaks(s.SMTP, send...)
	require.Len(t, text(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"), 1)
}

func TestIChangedTheMachineAndEverythingIsGone(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}})
	old := mbsyncDevice(t, s, "alice", "IMAPS")
	s.Deliver(t, "alice", letter("inbox", "Important", "in the inbox"))
	old.sync()
	old.create("Family/Letters", "1.local", lf(string(letter("family", "From mother", "in a folder"))))
	old.sync()
	c := s.IMAPClient(t, 0, "alice", nil)
	inbox, family := text(t, c, "INBOX"), text(t, c, "Family/Letters")
	require.Len(t, inbox, 1)
	require.Len(t, family, 1)

	// The user throws the folder away, and empties the inbox: both are gone on the new machine.
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	addFlags(t, c, allUIDs(), imap.FlagDeleted)
	require.NoError(t, c.Expunge().Close())
	require.NoError(t, c.Delete("Family/Letters").Wait())
	eventually(t, func() bool { return usageOf(t, s, harness.Address("alice")).UsedMessages == 0 }, "what is deleted does not count")
	fresh := mbsyncDevice(t, s, "alice", "IMAPS")
	fresh.sync()
	require.Empty(t, fresh.maildir("INBOX"))
	require.NoDirExists(t, fresh.path("mail", "Family", "Letters", "cur"))

	type deleted struct{ ID, Mailbox, Subject string }
	var found []deleted
	for _, line := range strings.Split(strings.TrimSpace(s.CLI(t, "mailbox", "deleted", harness.Address("alice"), "--json")), "\n") {
		var d deleted
		require.NoError(t, json.Unmarshal([]byte(line), &d))
		found = append(found, d)
	}
	require.Len(t, found, 2)
	for _, d := range found {
		require.Equal(t, map[string]string{"INBOX": "Important", "Family/Letters": "From mother"}[d.Mailbox], d.Subject)
		s.CLI(t, "mailbox", "restore", harness.Address("alice"), d.ID)
	}
	require.Equal(t, inbox, text(t, c, "INBOX"), "byte for byte")
	require.Equal(t, family, text(t, c, "Family/Letters"), "the folder is there again too")
	fresh.sync()
	require.Len(t, fresh.maildir("INBOX"), 1)
	require.Len(t, fresh.maildir("Family/Letters"), 1)
	require.Empty(t, strings.TrimSpace(s.CLI(t, "mailbox", "deleted", harness.Address("alice"), "--json")))
	require.EqualValues(t, 2, usageOf(t, s, harness.Address("alice")).UsedMessages, "they count again")
}

func TestThePhoneDownloadedItAndThePCDoesNotHaveIt(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	s.Deliver(t, "alice", letter("1", "Invoice", "pay"))
	phone, pc := mpopDevice(t, s, "alice", "delivery maildir ~/mail/INBOX", "keep off"), mbsyncDevice(t, s, "alice", "IMAPS")
	phone.run("mpop")
	require.Len(t, phone.maildir("INBOX"), 1)
	pc.sync()
	require.Empty(t, pc.maildir("INBOX"))

	// The operator brings it back, and changes what POP3 deletes mean.
	s.CLI(t, "mailbox", "restore", harness.Address("alice"), "--all")
	s.CLI(t, "account", "set", harness.Address("alice"), "--pop-delete", "keep")
	phone.run("mpop")
	pc.sync()
	require.Len(t, pc.maildir("INBOX"), 1, "now both have it")
	s.Deliver(t, "alice", letter("2", "Second invoice", "pay again"))
	phone.run("mpop")
	pc.sync()
	require.Len(t, pc.maildir("INBOX"), 2)
	before := len(phone.maildir("INBOX"))
	phone.run("mpop")
	require.Len(t, phone.maildir("INBOX"), before, "and the phone downloads nothing twice")
}
