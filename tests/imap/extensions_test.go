package imap

import (
	"compress/flate"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

func TestConversationsAndSearchesOverMailboxes(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	mail := func(id, subject, more string) {
		s.Deliver(t, "alice", []byte("From: bob@example.test\r\nMessage-ID: <"+id+"@x>\r\nSubject: "+subject+"\r\n"+more+"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\ntext "+id+"\r\n"))
	}
	mail("a", "lunch", "")
	mail("b", "Re: lunch", "References: <a@x>\r\n")
	mail("c", "dinner", "In-Reply-To: <missing@x>\r\n")
	mail("d", "Re: lunch", "References: <a@x>\r\n <b@x>\r\n")
	mail("e", "supper", "References: <missing@x>\r\n")
	mail("f", "Re: lunch", "References: <a@x>\r\n")
	c := connect(t, s, 0)
	c.ok("SELECT INBOX")
	contains(t, c.ok("THREAD REFERENCES UTF-8 ALL"), "* THREAD (1 (2 4)(6))((3)(5))")
	contains(t, c.ok("UID THREAD REFERENCES UTF-8 UID 2:5"), "* THREAD (2 4)((3)(5))")
	// RFC 7377.
	c.ok("CREATE Work/Plans")
	c.ok("COPY 1:2 Work/Plans")
	validity := regexp.MustCompile(`UIDVALIDITY \d+`)
	found := c.ok("ESEARCH IN (personal) RETURN (ALL COUNT) SUBJECT lunch")
	require.Len(t, found, 2)
	require.Equal(t, `* ESEARCH (TAG "`+fmt.Sprintf("t%d", c.n)+`" MAILBOX INBOX UIDVALIDITY) UID ALL 1:2,4,6 COUNT 4`, validity.ReplaceAllString(found[0], "UIDVALIDITY"))
	require.Contains(t, found[1], " MAILBOX Work/Plans ")
	require.Contains(t, found[1], ") UID ALL 1:2 COUNT 2")
	require.Len(t, c.ok("ESEARCH IN (subtree Work) UID *"), 1)
	require.Empty(t, c.ok("ESEARCH IN (subtree Work) TEXT supper"))
	// RFC 4469.
	c.ok(`APPEND Work CATENATE (URL "/INBOX/;UID=1/;SECTION=HEADER" TEXT {5+}` + "\r\nmore\n URL \"/INBOX/;UID=6/;SECTION=TEXT/;PARTIAL=0.6\")")
	c.ok("SELECT Work")
	require.Contains(t, strings.Join(c.ok("FETCH 1 BODY.PEEK[TEXT]"), "|"), "{11}|more|text f)")
	// RFC 9586.
	c.ok("ENABLE UIDONLY")
	contains(t, c.ok("UID FETCH 1 FLAGS"), "* 1 UIDFETCH (FLAGS ())")
	c.no(`BAD \[UIDREQUIRED\]`, "FETCH 1 FLAGS")
}

// TestNotifyOverGateways: RFC 5465, what happens at one gateway is told at another.
func TestNotifyOverGateways(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{
		Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice"}, Args: append([]string{"--imap-poll-interval", "1s"}, cheapPasswords...),
	})
	watcher, other := connect(t, s, 0), connect(t, s, 1)
	watcher.ok("SELECT INBOX")
	watcher.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))")
	s.Deliver(t, "alice", harness.Compose("news", "text"))
	watcher.Expect(`^\* 1 EXISTS`)
	watcher.Expect(`^\* 1 FETCH \(UID 1\)`)
	other.ok("SELECT INBOX")
	other.ok(`COPY 1 Trash`)
	watcher.Expect(`^\* STATUS Trash \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY \d+ UNSEEN 1\)`)
	other.ok(`STORE 1 +FLAGS (\Deleted)`)
	watcher.Expect(`^\* 1 FETCH \(UID 1 FLAGS \(\\Deleted\)\)`) // RFC 5465 section 5.1: with the UID
	other.ok("EXPUNGE")
	watcher.Expect(`^\* 1 EXPUNGE`)
	other.ok("CREATE Plans") // names are looked at from time to time
	watcher.Expect(`^\* LIST \(\\HasNoChildren\) "/" Plans`)
	other.ok("RENAME Plans Ideas")
	watcher.Expect(`^\* LIST \(\\HasNoChildren\) "/" Ideas \("OLDNAME" \(Plans\)\)`)
	other.ok("DELETE Ideas")
	watcher.Expect(`^\* LIST \(\\NonExistent\) "/" Ideas`)
}

// TestCompressedMail: RFC 4978, a mailbox is read over a compressed connection.
func TestCompressedMail(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: cheapPasswords})
	c := connect(t, s, 0)
	for i := range 50 {
		c.append(fmt.Sprint("message ", i))
	}
	c.ok("COMPRESS DEFLATE")
	w, err := flate.NewWriter(c.Conn, flate.DefaultCompression)
	require.NoError(t, err)
	_, err = io.WriteString(w, "x SELECT INBOX\r\ny FETCH 1:* BODY.PEEK[]\r\nz LOGOUT\r\n")
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	all, err := io.ReadAll(flate.NewReader(c.Conn))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF) // no final block, as no server sends one
	require.Equal(t, 50, strings.Count(string(all), " FETCH (BODY[] {"))
	require.Contains(t, string(all), "z OK LOGOUT completed\r\n")
}
