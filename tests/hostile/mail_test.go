package hostile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// header begins every hostile message; the rest of its header follows.
const header = "From: Mallory <mallory@elsewhere.example>\r\nTo: alice@example.test\r\n"

// messages that are no mail, or more mail than anybody would write.
func messages() []struct{ name, text string } {
	return []struct{ name, text string }{
		{"NUL in header and body", header + "Subject: a\x00b\r\nX-\x00: y\r\n\r\nnul \x00 in the body\r\n"},
		{"raw 8-bit everywhere", "From: Andr\xe9 <andr\xe9@elsewhere.example>\r\nTo: \xe5\xb1\xb1\xe7\x94\xb0 <alice@example.test>\r\nSubject: \xff\xfe caf\xe9 \x80\r\n" +
			"Content-Type: text/plain; name=\"\xe9\xff.txt\"; charset=\"\xff\"\r\nContent-Disposition: attachment; filename=\xe9.txt\r\n\r\n\xff\xfe\x80 body\r\n"},
		{"control characters", header + "Subject: \x01\x07\x1b[31m\x7f \"\\\r\nMessage-ID: <\x02@\x03>\r\n\r\n\x1b[2J\r\n"},
		{"no header", "\r\nonly a body\r\n"},
		{"no blank line", header + "Subject: unfinished\r\n"},
		{"no colon in the header", "this is no header field\r\nnor is this\r\n\r\nbody\r\n"},
		{"only line ends", "\r\n\r\n\r\n"},
		{"header of nearly 1 MiB in one folded field", header + "X-Long: " + strings.Repeat(long(900)+"\r\n ", 1000) + "end\r\n\r\nbody\r\n"},
		{"a field of nearly 1 MiB in one line", header + "Subject: " + long(1_000_000) + "\r\n\r\nbody\r\n"},
		{"a body line of nearly 1 MiB", header + "Subject: long line\r\n\r\n" + long(1_000_000) + "\r\n"},
		{"20,000 header fields", header + strings.Repeat("Received: from x by y; Sun, 01 Mar 2026 12:00:00 +0000\r\nX-N: 1\r\n", 40) + strings.Repeat("X: y\r\n", 20_000) + "\r\nbody\r\n"},
		{"100,000 recipients in To", "From: mallory@elsewhere.example\r\nTo: " + strings.Repeat("a@b.c,\r\n ", 99_999) + "alice@example.test\r\nSubject: all\r\n\r\nbody\r\n"},
		{"an address of 100,000 comments", "From: " + strings.Repeat("(", 100_000) + " <mallory@elsewhere.example>\r\nSubject: x\r\n\r\nbody\r\n"},
		{"comments closed and quoted", "From: " + strings.Repeat("((\\)\")", 50_000) + strings.Repeat(")", 50_000) + " <m@e.example>\r\nTo: " + strings.Repeat("g:", 50_000) + strings.Repeat(";", 50_000) + "\r\n\r\nbody\r\n"},
		{"100,000 encoded words", header + "Subject: " + strings.Repeat("=?utf-8?b?8J+SqQ==?=\r\n ", 30_000) + "\r\n\r\nbody\r\n"},
		{"broken encoded words", header + "Subject: =?utf-8?q?" + strings.Repeat("=?=", 30_000) + "?=\r\n\r\nbody\r\n"},
		{"50,000 parameters", header + "Content-Type: text/plain" + strings.Repeat("; a=b", 100_000) + "\r\n\r\nbody\r\n"},
		{"10,000 continued parameters", header + "Content-Type: text/plain" + parameters(10_000) + "\r\n\r\nbody\r\n"},
		{"10,000 parts", header + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 10_000) + "--b--\r\n"},
		{"10,000 nested multiparts", header + multiparts(10_000)},
		{"10,000 nested messages", header + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10_000) + "Subject: core\r\n\r\nbody\r\n"},
		{"multiparts and messages by turns", header + turns(5_000)},
		{"one boundary at every level", header + strings.Repeat("Content-Type: multipart/mixed; boundary=same\r\n\r\n--same\r\n", 10_000) + "\r\nbody\r\n--same--\r\n"},
		{"boundaries that are prefixes", header + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--bb\r\n\r\nx\r\n--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\ny\r\n--b--\r\n"},
		{"100,000 lines that look like boundaries", header + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--bx\r\n", 100_000)},
		{"an empty boundary", header + "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----\r\n"},
		{"no boundary", header + "Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n"},
		{"a boundary of 100 kB", header + "Content-Type: multipart/mixed; boundary=" + long(100_000) + "\r\n\r\n--" + long(100_000) + "\r\n\r\nx\r\n"},
		{"broken encodings", header + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n====!!!!A\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ=\r\n=\r\n--b\r\n" +
			"Content-Transfer-Encoding: x-unknown\r\nContent-Type: text/\"; charset\r\n\r\n\x00\xff\r\n--b--\r\n"},
		{"a date from nowhere", header + "Date: Foo, 99 Bar 99999999999999999999 99:99:99 +9999\r\nDate: again\r\n\r\nbody\r\n"},
		{"dots", header + "Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n...\r\n"},
	}
}

func parameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ";\r\n name*%d*=%%E5%%B1", i)
	}
	return b.String()
}

func multiparts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	b.WriteString("\r\ncore\r\n")
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "--b%d--\r\n", i)
	}
	return b.String()
}

func turns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\nContent-Type: message/rfc822\r\n\r\nSubject: level %d\r\n", i, i, i)
	}
	return b.String() + "\r\ncore\r\n"
}

// sections that a client may ask of any message.
var sections = []*imap.FetchItemBodySection{
	{Peek: true},
	{Peek: true, Specifier: imap.PartSpecifierHeader},
	{Peek: true, Specifier: imap.PartSpecifierText},
	{Peek: true, Part: []int{1}},
	{Peek: true, Part: []int{1}, Specifier: imap.PartSpecifierMIME},
	{Peek: true, Part: []int{1, 1, 1, 1, 1, 1, 1, 1}},
	{Peek: true, Part: []int{9999}},
	{Peek: true, Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject", "X-Long"}},
	{Peek: true, Partial: &imap.SectionPartial{Offset: 1 << 31, Size: 1 << 31}},
}

func TestBrokenMailIsReadBackAsItCame(t *testing.T) {
	s := start(t)
	all := messages()
	ways := []string{"SMTP", "LMTP"}
	client := s.IMAPClient(t, 0, "alice", nil)
	for i, m := range all {
		way := ways[i%2]
		w := s.smtp
		if way == "LMTP" {
			w = s.lmtp
		}
		c := w(t)
		data(c)
		c.Send(strings.ReplaceAll("\r\n"+m.text, "\r\n.", "\r\n..")[2:] + ".\r\n")
		c.Expect(`^250 `)
		c.Do("QUIT", `^221 `)
		if !strings.Contains(m.text, "\x00") { // RFC 9051 section 4.3.1: no NUL in a literal
			require.NoError(t, appendMessage(t, client, "Drafts", []byte(m.text)), m.name)
		}
	}

	data, err := client.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.EqualValues(t, len(all), data.NumMessages)
	pop := s.POP3Client(t, "alice")
	require.Equal(t, len(all), pop.Count())
	for i, m := range all {
		t.Run(m.name, func(t *testing.T) {
			fetched, err := client.Fetch(imap.SeqSetNum(uint32(i+1)), &imap.FetchOptions{
				Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, Flags: true, InternalDate: true, RFC822Size: true, UID: true, BodySection: sections,
			}).Collect()
			require.NoError(t, err)
			require.Len(t, fetched, 1)
			whole := fetched[0].FindBodySection(sections[0])
			require.Equal(t, m.text, string(harness.AfterTrace(t, whole)), "IMAP gives back what came")
			require.EqualValues(t, len(whole), fetched[0].RFC822Size)
			require.NotNil(t, fetched[0].Envelope)
			require.NotNil(t, fetched[0].BodyStructure)
			require.Equal(t, string(whole), string(fetched[0].FindBodySection(sections[1]))+string(fetched[0].FindBodySection(sections[2])))
			require.Equal(t, string(whole), string(pop.Multi(fmt.Sprintf("RETR %d", i+1))), "POP3 gives back the same")
			require.True(t, strings.HasPrefix(string(whole), strings.TrimSuffix(string(pop.Multi(fmt.Sprintf("TOP %d 0", i+1))), "\r\n")), "TOP is the beginning")
		})
	}
	for _, criteria := range []*imap.SearchCriteria{
		{Text: []string{"core"}}, {Body: []string{"\u00e9"}}, {Body: []string{"nowhere"}}, {Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "x"}}},
		{Header: []imap.SearchCriteriaHeaderField{{Key: "To", Value: "nobody"}}},
	} {
		_, err := client.Search(criteria, nil).Wait()
		require.NoError(t, err)
	}
	drafts := harness.Bodies(t, client, "Drafts")
	for _, m := range all {
		if strings.Contains(m.text, "\x00") {
			continue
		}
		require.Equal(t, m.text, string(drafts[0]), "APPEND keeps %s", m.name)
		drafts = drafts[1:]
	}
	s.serves(t)
}
