package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// imapFlow is ImapFlow, the IMAP client of many web services, in a process that makes the calls which it is told (testdata/imapflow/calls.js).
type imapFlow struct {
	t      *testing.T
	in     io.Writer
	out    *bufio.Reader
	events []flowEvent // told by the server since the last look
}

type flowEvent struct {
	Event string
	Data  struct {
		Path    string
		Seq     int
		UID     int
		Count   int
		Flags   []string
		Earlier bool
	}
}

// flowMessage is what its fetch gives.
type flowMessage struct {
	Seq, UID, Size  int
	Flags           []string
	Modseq          string
	EmailID         string
	ThreadID        string
	Source, Headers string
	Envelope        struct{ Subject string }
	BodyStructure   struct {
		Type       string
		ChildNodes []struct{ Part, Type, Disposition string }
	}
}

// startImapFlow connects by TLS with QRESYNC, IMAP4rev2, UTF8=ACCEPT and compression.
func startImapFlow(t *testing.T, s *harness.System, gateway int, name string) *imapFlow {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	calls, err := filepath.Abs("testdata/imapflow/calls.js")
	require.NoError(t, err)
	cert, err := os.ReadFile(s.CertFile())
	require.NoError(t, err)
	p, err := strconv.Atoi(port(t, s.IMAPS[gateway]))
	require.NoError(t, err)
	options, err := json.Marshal(map[string]any{
		"host": "localhost", "port": p, "secure": true, "tls": map[string]any{"ca": string(cert)}, "qresync": true,
		"auth": map[string]string{"user": harness.Address(name), "pass": harness.Password},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	cmd := exec.CommandContext(ctx, "node", calls, string(options))
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr = append(os.Environ(), "NODE_PATH="+filepath.Join(cache, "yubin-test", "imapflow", "node_modules")), &stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", &stderr)
		}
	})
	f := &imapFlow{t: t, in: in, out: bufio.NewReader(out)}
	f.do(nil, "connect")
	return f
}

// line reads one; an event is kept, and line gives nil.
func (f *imapFlow) line() json.RawMessage {
	f.t.Helper()
	text, err := f.out.ReadBytes('\n')
	require.NoError(f.t, err, "%s", text)
	var line struct {
		Result json.RawMessage
		Error  string
		flowEvent
	}
	require.NoError(f.t, json.Unmarshal(text, &line), "%s", text)
	require.Empty(f.t, line.Error)
	if line.Event != "" {
		f.events = append(f.events, line.flowEvent)
		return nil
	}
	return line.Result
}

// do makes a call that must succeed.
func (f *imapFlow) do(result any, method string, args ...any) {
	f.t.Helper()
	call, err := json.Marshal(append([]any{method}, args...))
	require.NoError(f.t, err)
	_, err = f.in.Write(append(call, '\n'))
	require.NoError(f.t, err)
	answer := f.line()
	for answer == nil {
		answer = f.line()
	}
	if result != nil {
		require.NoError(f.t, json.Unmarshal(answer, result), "%s: %s", method, answer)
	}
}

// told waits until the server has told an event that fits, and forgets those up to it.
func (f *imapFlow) told(what string, fits func(flowEvent) bool) {
	f.t.Helper()
	for {
		if i := slices.IndexFunc(f.events, fits); i >= 0 {
			f.events = f.events[i+1:]
			return
		}
		require.Empty(f.t, f.line(), "while waiting for %s", what)
	}
}

// subjects lists the messages of the mailbox that is open: subject and flags.
func (f *imapFlow) subjects(options map[string]any) []string {
	f.t.Helper()
	var messages []flowMessage
	f.do(&messages, "fetchAll", "1:*", map[string]any{"uid": true, "flags": true, "envelope": true}, options)
	out := []string{}
	for _, m := range messages {
		slices.Sort(m.Flags)
		out = append(out, strings.TrimSpace(m.Envelope.Subject+" "+strings.Join(m.Flags, " ")))
	}
	return out
}

type anyMap = map[string]any

// TestImapFlow is a day with a phone on another gateway, and the next morning.
func TestImapFlow(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice"}})
	for _, subject := range []string{"Alpha", "Beta", "Gamma"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	phone := s.IMAPClient(t, 1, "alice", nil)
	_, err := phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	f := startImapFlow(t, s, 0, "alice")

	var state struct{ Enabled []string }
	f.do(&state, "state")
	require.ElementsMatch(t, []string{"CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4REV2"}, state.Enabled)
	var folders []struct {
		Path, SpecialUse string
		Status           struct{ Messages, Unseen int }
	}
	f.do(&folders, "list", anyMap{"statusQuery": anyMap{"messages": true, "unseen": true, "uidNext": true, "highestModseq": true}})
	uses := map[string]string{}
	for _, folder := range folders {
		uses[folder.Path] = fmt.Sprintf("%s %d %d", folder.SpecialUse, folder.Status.Messages, folder.Status.Unseen)
	}
	require.Equal(t, map[string]string{"INBOX": `\Inbox 3 3`, "Sent": `\Sent 0 0`, "Drafts": `\Drafts 0 0`, "Archive": `\Archive 0 0`, "Junk": `\Junk 0 0`, "Trash": `\Trash 0 0`}, uses)

	// What is there, with ids.
	f.do(nil, "mailboxOpen", "INBOX")
	var messages []flowMessage
	f.do(&messages, "fetchAll", "1:*", anyMap{"uid": true, "flags": true, "size": true, "source": true, "threadId": true, "bodyStructure": true, "headers": []string{"subject"}})
	require.Len(t, messages, 3)
	for i, subject := range []string{"Alpha", "Beta", "Gamma"} {
		m := messages[i]
		require.Contains(t, m.Source, "the text of "+subject+"\r\n")
		require.Equal(t, "Subject: "+subject+"\r\n\r\n", m.Headers)
		require.Len(t, m.Source, m.Size)
		require.Equal(t, "text/plain", m.BodyStructure.Type)
		require.NotEmpty(t, m.EmailID)
		require.NotEmpty(t, m.ThreadID)
	}

	// The phone is heard while this one waits in IDLE, and the other way round.
	f.do(nil, "idle")
	s.Deliver(t, "alice", withAttachment("Delta", "see the file", `filename="=?utf-8?q?=E5=86=99=E7=9C=9F?=.bin"`, bytes.Repeat([]byte("0123456789abcdef"), 20_000)))
	f.told("a new message", func(e flowEvent) bool { return e.Event == "exists" && e.Data.Count == 4 })
	addFlags(t, phone, imap.UIDSetNum(1, 3), "$Work")
	f.told("flags", func(e flowEvent) bool { return e.Event == "flags" && slices.Contains(e.Data.Flags, "$Work") })
	f.do(nil, "messageDelete", "2", anyMap{"uid": true})
	f.told("its own expunge", func(e flowEvent) bool { return e.Event == "expunge" && e.Data.UID == 2 })
	require.NoError(t, phone.Noop().Wait())
	require.EqualValues(t, 3, phone.Mailbox().NumMessages)

	// Searches, and an attachment that comes in pieces.
	var found []int
	for _, query := range []anyMap{
		{"subject": "delta"}, {"body": "see the file"}, {"larger": 100_000}, {"or": []anyMap{{"subject": "delta"}, {"keyword": "$Nothing"}}, "unseen": true},
		{"not": anyMap{"subject": "a l p h a"}, "text": "写真", "since": "2020-01-01"}, {"emailId": messageOf(f, "Delta").EmailID}, {"threadId": messageOf(f, "Delta").ThreadID},
	} {
		f.do(&found, "search", query, anyMap{"uid": true})
		require.Equal(t, []int{4}, found, "%v", query)
	}
	var file struct {
		Meta    struct{ Filename string }
		Content string
	}
	f.do(&file, "download", "4", "2", anyMap{"uid": true})
	require.Equal(t, strings.Repeat("0123456789abcdef", 20_000), file.Content)
	require.Equal(t, "写真.bin", file.Meta.Filename)

	// A folder with a name that is no ASCII, a draft of 8-bit text, a move there.
	const letters = `手紙 & "Briefe"`
	f.do(nil, "mailboxCreate", letters)
	var appended struct{ UID int }
	f.do(&appended, "append", letters, "Subject: =?utf-8?b?5omL57SZ?=\r\n\r\n手紙を書く\r\n", []string{`\Seen`, `\Draft`}, "2026-01-02T03:04:05Z")
	require.Equal(t, 1, appended.UID)
	var moved struct{ UIDMap map[string]int }
	f.do(&moved, "messageMove", "3", letters, anyMap{"uid": true})
	require.Equal(t, map[string]int{"3": 2}, moved.UIDMap)
	f.do(nil, "mailboxOpen", letters)
	require.Equal(t, []string{`手紙 \Draft \Seen`, "Gamma $Work"}, f.subjects(nil))
	require.Len(t, text(t, phone, letters), 2)
	var quota struct{ Storage struct{ Usage, Limit int64 } }
	f.do(&quota, "getQuota", "INBOX")
	require.Positive(t, quota.Storage.Usage)
	f.do(nil, "mailboxOpen", "INBOX")
	var inbox struct{ UIDValidity, HighestModseq string }
	f.do(&inbox, "mailboxOpen", "INBOX")
	f.do(nil, "logout")

	// At night the phone flags one, removes one; one comes. In the morning that is all that is told.
	_, err = phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	addFlags(t, phone, uidsOf(t, phone, "Delta"), imap.FlagFlagged)
	_, err = phone.Move(uidsOf(t, phone, "Alpha"), "Archive").Wait()
	require.NoError(t, err)
	s.Deliver(t, "alice", letter("Epsilon", "Epsilon", "the text of Epsilon"))
	f = startImapFlow(t, s, 0, "alice")
	f.do(nil, "mailboxOpen", "INBOX", anyMap{"changedSince": inbox.HighestModseq, "uidValidity": inbox.UIDValidity})
	f.told("what went", func(e flowEvent) bool { return e.Event == "expunge" && e.Data.UID == 1 && e.Data.Earlier })
	require.Equal(t, []string{`Delta \Flagged`, "Epsilon"}, f.subjects(anyMap{"changedSince": inbox.HighestModseq, "uid": true}))
	var said []string
	f.do(&said, "said")
	require.Regexp(t, `SELECT INBOX \(QRESYNC \(`+inbox.UIDValidity+` `+inbox.HighestModseq+`\)\)`, strings.Join(said, "\n"))
	require.Regexp(t, `\(CHANGEDSINCE `+inbox.HighestModseq+` VANISHED\)`, strings.Join(said, "\n"))
	f.do(nil, "mailboxRename", letters, "Alte Briefe")
	require.Contains(t, names(t, phone, "", "*", nil), "Alte Briefe")
	f.do(nil, "mailboxDelete", "Alte Briefe")
	require.NotContains(t, names(t, phone, "", "*", nil), "Alte Briefe")
	f.do(nil, "logout")
}

// uidsOf are the messages of the selected mailbox with a subject.
func uidsOf(t *testing.T, c *imapclient.Client, subject string) imap.UIDSet {
	t.Helper()
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: subject}}}, nil).Wait()
	require.NoError(t, err)
	require.NotEmpty(t, found.AllUIDs(), subject)
	return imap.UIDSetNum(found.AllUIDs()...)
}

// messageOf is the message of the mailbox that is open with a subject.
func messageOf(f *imapFlow, subject string) (m flowMessage) {
	f.t.Helper()
	var found []int
	f.do(&found, "search", anyMap{"subject": subject}, anyMap{"uid": true})
	require.Len(f.t, found, 1)
	f.do(&m, "fetchOne", strconv.Itoa(found[0]), anyMap{"uid": true, "threadId": true}, anyMap{"uid": true})
	return m
}
