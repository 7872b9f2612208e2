package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// TestThunderbird plays a user's days, with the settings that change what Thunderbird says. After each step it has what the server has.
func TestThunderbird(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		compress, utf8 bool
	}{{"plain", false, false}, {"compressed", true, false}, {"with UTF-8", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, harness.Options{Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice"}})
			other := s.IMAPClient(t, 1, "alice", nil) // her phone, on the other gateway
			files := map[string]*tbFolder{}
			start := func() *thunderbird { return startThunderbird(t, s, "alice", files, c.compress, c.utf8) }
			firstDay(t, s, start(), other)
			secondDay(t, s, start(), other)
		})
	}
}

// firstDay begins with an account that has mail.
func firstDay(t *testing.T, s *harness.System, b *thunderbird, phone *imapclient.Client) {
	large := letter("large", "Large", strings.Repeat("a line of a large message\r\n", 8000))
	for _, subject := range []string{"Alpha", "Beta", "Gamma", "Delta"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	s.Deliver(t, "alice", large)
	require.Contains(t, b.listed, "INBOX")
	for name, use := range map[string]string{"Drafts": `\Drafts`, "Sent": `\Sent`, "Trash": `\Trash`, "Junk": `\Junk`, "Archive": `\Archive`} {
		require.Contains(t, b.listed[name], use, "the folders that Thunderbird would make are there")
	}
	inbox := b.open("INBOX")
	require.Len(t, inbox.messages, 5)
	require.NotEmpty(t, b.quota, "for the bar in the status line")
	b.same(phone, "INBOX")

	// She reads, one that is large in chunks, tags and stars; the filter for junk learns.
	for _, subject := range []string{"Alpha", "Large"} {
		text := b.read(b.uid(inbox, subject))
		require.Len(t, text, inbox.messages[b.uid(inbox, subject)].size)
		require.Contains(t, inbox.messages[b.uid(inbox, subject)].flags, `\Seen`)
	}
	require.Contains(t, inbox.messages[b.uid(inbox, "Large")].body, string(large[len(large)-100:]))
	b.ok(`uid store %d +Flags (\Flagged)`, b.uid(inbox, "Beta"))
	b.ok(`uid store %d +FLAGS ($label1)`, b.uid(inbox, "Beta"))
	b.ok(`uid store %d +FLAGS (NonJunk)`, b.uid(inbox, "Alpha"))
	b.ok(`uid store %d -Flags (\Seen)`, b.uid(inbox, "Alpha"))
	require.Equal(t, "NonJunk", inbox.messages[b.uid(inbox, "Alpha")].flags)
	b.same(phone, "INBOX")

	// Mail comes while she looks; her phone stars and removes something.
	b.idle(func() { s.Deliver(t, "alice", letter("Epsilon", "Epsilon", "new")) }, func() bool { return len(inbox.seq) == 6 })
	require.Len(t, inbox.messages, 6)
	delta := b.uid(inbox, "Delta")
	_, err := phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	b.idle(func() { addFlags(t, phone, imap.UIDSetNum(imap.UID(delta)), imap.FlagFlagged) }, func() bool { return inbox.messages[delta].flags == `\Flagged` })
	b.idle(func() {
		addFlags(t, phone, imap.UIDSetNum(imap.UID(delta)), imap.FlagDeleted)
		require.NoError(t, phone.Expunge().Close())
	}, func() bool { return len(inbox.seq) == 5 })
	b.same(phone, "INBOX")

	// She writes a draft, which is saved twice, and sends it.
	first := b.upload("Drafts", `\Seen \Draft`, letter("draft", "Unfinished", "Dear"))
	drafts := b.open("Drafts")
	second := b.upload("Drafts", `\Seen \Draft`, letter("draft", "Unfinished", "Dear Bob"))
	b.ok(`uid store %s +Flags (\Deleted)`, first)
	b.ok("UID EXPUNGE %s", first)
	b.update(drafts)
	b.same(phone, "Drafts")
	require.Len(t, drafts.messages, 1)
	b.upload("Sent", `\Seen`, letter("sent", "Finished", "Dear Bob, 手紙"))
	b.ok(`uid store %s +Flags (\Deleted)`, second)
	b.ok("UID EXPUNGE %s", second)
	b.update(drafts)
	require.Empty(t, drafts.messages)
	b.open("Sent")
	b.same(phone, "Sent")

	// She deletes: to the trash, and one by the way of servers without MOVE; the other folders are asked whether there is something new.
	b.open("INBOX")
	b.move("Trash", b.uid(inbox, "Gamma"))
	b.remove("Trash", b.uid(inbox, "Epsilon"))
	b.same(phone, "INBOX")
	b.status = nil
	b.ok(`STATUS "Trash" (UIDNEXT MESSAGES UNSEEN RECENT)`)
	require.Len(t, b.status, 1)
	require.Regexp(t, `^\* STATUS "?Trash"? \(UIDNEXT 3 MESSAGES 2 UNSEEN 2 RECENT 0\)$`, b.status[0])
	b.open("Trash")
	b.same(phone, "Trash")

	// A search on the server, a preview, and a look at the address of an answer.
	b.open("INBOX")
	b.ok(`uid SEARCH UNDELETED HEADER Message-ID <Beta@elsewhere.example>`)
	require.Equal(t, []string{fmt.Sprint(b.uid(inbox, "Beta"))}, b.found)
	if !b.utf8 { // RFC 6855 section 3 forbids CHARSET then
		b.tag++
		b.send(fmt.Sprintf("%d uid SEARCH CHARSET UTF-8 UNDELETED TEXT {12}\r\n", b.tag))
		b.wait("+")
		b.send("text of Beta\r\n")
		require.Regexp(t, "^OK", b.end())
		require.Equal(t, []string{fmt.Sprint(b.uid(inbox, "Beta"))}, b.found)
	}
	b.ok(`UID fetch %d (UID BODY.PEEK[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] BODY.PEEK[TEXT]<0.2048>)`, b.uid(inbox, "Beta"))
	b.ok("check")
	b.ok("logout")
}

// secondDay begins with what the phone has done since.
func secondDay(t *testing.T, s *harness.System, b *thunderbird, phone *imapclient.Client) {
	inbox := b.open("INBOX")
	_, err := phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	beta := imap.UIDSetNum(imap.UID(b.uid(inbox, "Beta")))
	b.ok("close")
	b.ok("logout")
	addFlags(t, phone, beta, imap.FlagAnswered, imap.FlagSeen)
	b = startThunderbird(t, s, "alice", b.folders, false, b.utf8)
	b.open("INBOX")
	require.Contains(t, inbox.messages[b.uid(inbox, "Beta")].flags, `\Answered`, "a changed flag")
	b.same(phone, "INBOX")
	b.ok("close")

	// Flags, a message that went and two that came, all at once.
	_, err = phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	addFlags(t, phone, allUIDs(), "$label2")
	_, err = phone.Move(beta, "Archive").Wait()
	require.NoError(t, err)
	s.Deliver(t, "alice", letter("Zeta", "Zeta", "more"))
	s.Deliver(t, "alice", letter("Eta", "Eta", "more"))
	b.open("INBOX")
	require.Len(t, inbox.messages, 4)
	b.same(phone, "INBOX")
	b.open("Archive")
	b.same(phone, "Archive")

	// Folders: made, renamed with what is in them, deleted, and the trash is emptied.
	name, renamed := "手紙", "郵便"
	if !b.utf8 {
		name, renamed = "&YksffQ-", "&kPVPvw-"
	}
	for _, folder := range []string{name, name + "/2026"} {
		b.ok(`create "%s"`, folder)
		b.ok(`subscribe "%s"`, folder)
		b.ok(`list "" "%s"`, folder)
	}
	b.open("INBOX")
	b.move(name+"/2026", b.uid(inbox, "Zeta"), b.uid(inbox, "Eta"))
	b.ok(`list "" "%s/%%"`, name)
	b.ok(`list "" "%s/%%/%%"`, name)
	b.rename(name, renamed, "/2026")
	b.discover()
	require.Contains(t, b.listed, renamed+"/2026")
	require.NotContains(t, b.listed, name)
	b.open(renamed + "/2026")
	require.Len(t, b.selected.messages, 2)
	b.ok("close")
	b.selected = nil
	b.rename(renamed, "Trash/"+renamed, "/2026")
	trash := b.open("Trash")
	b.ok(`STORE 1:* +FLAGS.SILENT (\Deleted)`)
	b.ok("expunge")
	b.update(trash)
	require.Empty(t, trash.messages)
	b.ok(`list "" "Trash/*"`) // DeleteSubFolders, the longest first
	for _, folder := range []string{"Trash/" + renamed + "/2026", "Trash/" + renamed} {
		b.ok(`delete "%s"`, folder)
		b.ok(`unsubscribe "%s"`, folder)
	}
	b.discover()
	for folder := range b.listed {
		require.NotContains(t, folder, renamed)
	}
	b.ok("logout")
}
