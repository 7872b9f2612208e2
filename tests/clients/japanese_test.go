package clients

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/yubin-mail/yubin/tests/harness"
)

// charset is one of the ways in which Japanese mail is written.
type charset struct {
	name, transfer string
	encoding.Encoding
}

var charsets = []charset{
	{"ISO-2022-JP", "7bit", japanese.ISO2022JP},
	{"UTF-8", "8bit", unicode.UTF8},
	{"UTF-8", "base64", unicode.UTF8},
	{"Shift_JIS", "8bit", japanese.ShiftJIS},
	{"EUC-JP", "8bit", japanese.EUCJP},
}

func (c charset) encode(t *testing.T, s string) string {
	t.Helper()
	out, err := c.NewEncoder().String(s)
	require.NoError(t, err)
	return out
}

// word is an encoded word (RFC 2047).
func (c charset) word(t *testing.T, s string) string {
	t.Helper()
	return "=?" + c.name + "?B?" + base64.StdEncoding.EncodeToString([]byte(c.encode(t, s))) + "?="
}

// letter is a mail in the charset; the subject and the text name charset and encoding.
func (c charset) letter(t *testing.T) []byte {
	t.Helper()
	body := c.encode(t, "拝啓 "+c.name+" "+c.transfer+"\r\n春の郵便局にて、お手紙を拝見しました。\r\n敬具\r\n")
	if c.transfer == "base64" {
		body = base64.StdEncoding.EncodeToString([]byte(body)) + "\r\n"
	}
	return []byte(crlf("From: "+c.word(t, "山田太郎")+" <yamada@elsewhere.example>\nTo: alice@example.test\nSubject: "+c.word(t, "お花見の")+"\n "+c.word(t, "ご案内")+
		" ("+c.name+" "+c.transfer+")\nDate: Sun, 01 Mar 2026 12:00:00 +0900\nMessage-ID: <"+c.name+c.transfer+"@elsewhere.example>\nMIME-Version: 1.0\nContent-Type: text/plain; charset="+
		c.name+"\nContent-Transfer-Encoding: "+c.transfer+"\n\n") + body)
}

func TestJapaneseMail(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	var sent []string
	for _, c := range charsets {
		m := c.letter(t)
		s.Deliver(t, "alice", m)
		sent = append(sent, string(m))
	}
	c := s.IMAPClient(t, 0, "alice", nil)

	t.Run("comes through byte for byte", func(t *testing.T) {
		for i, got := range harness.Bodies(t, c, "INBOX") {
			require.Equal(t, sent[i], string(harness.AfterTrace(t, got)))
		}
		d := mbsyncDevice(t, s, "alice", "IMAPS")
		d.sync()
		var synced []string
		for _, content := range d.maildir("INBOX") {
			synced = append(synced, string(harness.AfterTrace(t, []byte(crlf(local(content))))))
		}
		require.ElementsMatch(t, sent, synced)
	})

	t.Run("is shown by NeoMutt", func(t *testing.T) {
		d := muttDevice(t, s, "alice")
		d.mutt("=INBOX", "<tag-pattern>~A<enter><tag-prefix><pipe-message>cat > "+d.path("all")+"<enter>")
		shown := d.read("all")
		for _, c := range charsets {
			require.Contains(t, shown, "Subject: お花見のご案内 ("+c.name+" "+c.transfer+")\n")
			require.Contains(t, shown, "\n拝啓 "+c.name+" "+c.transfer+"\n春の郵便局にて、お手紙を拝見しました。\n敬具\n")
		}
		require.Equal(t, len(charsets), strings.Count(shown, "From: 山田太郎 <yamada@elsewhere.example>"))
	})

	t.Run("is found by its text", func(t *testing.T) {
		_, err := c.Select("INBOX", nil).Wait()
		require.NoError(t, err)
		for _, criteria := range []*imap.SearchCriteria{
			{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "花見のご案"}}}, // across two encoded words
			{Header: []imap.SearchCriteriaHeaderField{{Key: "From", Value: "山田"}}},
			{Body: []string{"郵便局"}},
			{Text: []string{"太郎"}},
			{Text: []string{"敬具"}},
		} {
			data, err := c.UIDSearch(criteria, nil).Wait()
			require.NoError(t, err)
			require.Len(t, data.AllUIDs(), len(charsets), "%+v", criteria)
		}
		data, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"秋の郵便局"}}, nil).Wait()
		require.NoError(t, err)
		require.Empty(t, data.AllUIDs())
	})
}

func TestJapaneseAttachmentNames(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	const name = "写真の一覧表.txt"
	sjis, err := japanese.ShiftJIS.NewEncoder().String(name)
	require.NoError(t, err)
	jis, err := japanese.ISO2022JP.NewEncoder().String(name)
	require.NoError(t, err)
	c := s.IMAPClient(t, 0, "alice", nil)
	for i, form := range []struct {
		name, disposition string
		raw               bool // 8-bit without a charset: what a client makes of it is its own affair
	}{
		{"RFC 2231", `filename*=UTF-8''%E5%86%99%E7%9C%9F%E3%81%AE%E4%B8%80%E8%A6%A7%E8%A1%A8.txt`, false},
		{"RFC 2231, continued", "filename*0*=UTF-8''%E5%86%99%E7%9C%9F%E3%81%AE;\n filename*1*=%E4%B8%80%E8%A6%A7%E8%A1%A8;\n filename*2=.txt", false},
		{"RFC 2231, Shift_JIS", "filename*=Shift_JIS''" + percent(sjis), false},
		{"encoded word within a parameter", `filename="=?ISO-2022-JP?B?` + base64.StdEncoding.EncodeToString([]byte(jis)) + `?="`, false},
		{"raw UTF-8", `filename="` + name + `"`, false},
		{"raw Shift_JIS", `filename="` + sjis + `"`, true},
	} {
		m := withAttachment(form.name, "本文", form.disposition, []byte("一覧\n"))
		s.Deliver(t, "alice", m)
		got := harness.Bodies(t, c, "INBOX")
		require.Len(t, got, i+1)
		require.Equal(t, string(m), string(harness.AfterTrace(t, got[i])), form.name)

		messages, err := c.Fetch(imap.SeqSetNum(uint32(i+1)), &imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{Extended: true}}).Collect()
		require.NoError(t, err, form.name)
		parts := messages[0].BodyStructure.(*imap.BodyStructureMultiPart).Children
		require.Len(t, parts, 2)
		if !form.raw {
			require.Equal(t, name, parts[1].(*imap.BodyStructureSinglePart).Filename(), form.name)
		}

		d := muttDevice(t, s, "alice")
		d.mutt("=INBOX", "<limit>~s '"+form.name+"$'<enter><view-attachments><last-entry><save-entry><enter><exit><limit>~A<enter>")
		if !form.raw {
			require.Equal(t, "一覧\n", d.read(name), form.name)
		}
	}
}

// percent writes all octets as RFC 2231 does.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[s[i]>>4])+string("0123456789abcdef"[s[i]&15])))
	}
	return b.String()
}

func TestJapaneseFolders(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	message := charsets[0].letter(t)
	s.Deliver(t, "alice", message)

	d := muttDevice(t, s, "alice")
	d.mutt("=INBOX", "<save-message>=仕事/郵便<enter>")
	const folder = "仕事/郵便"
	c := s.IMAPClient(t, 0, "alice", nil)
	require.Len(t, text(t, c, folder), 1, "NeoMutt, with modified UTF-7")
	require.Contains(t, s.CLI(t, "mailbox", "list", harness.Address("alice")), folder)

	modern := s.IMAPClient(t, 0, "alice", nil)
	_, err := modern.Enable(imap.CapIMAP4rev2).Wait()
	require.NoError(t, err)
	require.Contains(t, names(t, modern, "", "*", nil), folder)
	require.NoError(t, modern.Create("写真", nil).Wait())
	require.NoError(t, modern.Rename("写真", "思い出 📷", nil).Wait())
	appendMessage(t, modern, "思い出 📷", message, nil)
	require.Equal(t, []string{string(message)}, text(t, c, "思い出 📷"), "IMAP4rev2 made it in UTF-8, IMAP4rev1 reads it in UTF-7")

	laptop := mbsyncDevice(t, s, "alice", "IMAPS")
	laptop.sync()
	for _, there := range []string{"&TtVOiw-/&kPVPvw-", "&YB0wRFH6- &2D3c9w-"} { // mbsync 1.4 leaves the names as IMAP4rev1 has them
		require.Len(t, laptop.maildir(there), 1)
	}
	laptop.create("&Ykt9GQ- &- &UZl3Hw-", "1.local.laptop", lf(string(message)))
	laptop.sync()
	require.Contains(t, s.CLI(t, "mailbox", "list", harness.Address("alice")), "手紙 & 写真")
	laptop.sync()
	desktop := mbsyncDevice(t, s, "alice", "IMAPS")
	desktop.sync()
	require.Len(t, desktop.maildir("&Ykt9GQ- &- &UZl3Hw-"), 1)
}
