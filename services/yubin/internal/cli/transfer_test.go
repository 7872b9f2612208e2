package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/mbox"
	"github.com/yubin-mail/yubin/services/yubin/internal/transfer"
)

type importView struct {
	Address  string             `json:"address"`
	Messages int                `json:"messages"`
	Bytes    int64              `json:"bytes"`
	Before   int                `json:"before"`
	Complete bool               `json:"complete"`
	Skipped  []transfer.Skipped `json:"skipped"`
}

// stored is a message as it is in storage.
type stored struct {
	mailbox, text string
	flags         uint32
	keywords      string
	date          int64
}

func (w *world) stored(address string) (out []stored) {
	w.t.Helper()
	ctx := w.t.Context()
	acc, err := w.clients.account(ctx, address)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := w.storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: acc.GetAccountId()})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, box := range list.GetMailboxes() {
		sync, err := w.storage.Sync(ctx, &storagev1.SyncRequest{AccountId: acc.GetAccountId(), MailboxId: box.GetMailboxId()})
		if err != nil {
			w.t.Fatal(err)
		}
		var states []*storagev1.MessageState
		for {
			resp, err := sync.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				w.t.Fatal(err)
			}
			states = append(states, resp.GetChanged()...)
		}
		for _, m := range states {
			read, err := w.storage.Read(ctx, &storagev1.ReadRequest{AccountId: acc.GetAccountId(), MailboxId: box.GetMailboxId(), Uid: m.GetUid()})
			if err != nil {
				w.t.Fatal(err)
			}
			var text []byte
			for {
				resp, err := read.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					w.t.Fatal(err)
				}
				text = append(text, resp.GetChunk()...)
			}
			out = append(out, stored{box.GetName(), string(text), m.GetFlags(), strings.Join(m.GetKeywords(), " "), m.GetInternalUnix()})
		}
	}
	return out
}

func TestImportIsResumable(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	file, state := writeMbox(t, 5), filepath.Join(w.state, "state")
	w.ok("quota set alice@example.test --messages 2")
	r := w.runWith("", "import", "mbox", file, "--to", "alice@example.test", "--state", state)
	if r.code != exitFailed || !strings.Contains(r.out, "2 messages (") || !strings.Contains(r.err, "the account is full") || !strings.Contains(r.err, "Run the same command again") {
		t.Errorf("over quota: %+v", r)
	}
	w.ok("quota set alice@example.test --messages none")
	run := func(more string) importView {
		t.Helper()
		return jsonLines[importView](w, "import mbox %s --to alice@example.test --state %s %s", file, state, more)[0]
	}
	if got := run(""); got.Messages != 3 || got.Before != 2 || !got.Complete {
		t.Errorf("again: %+v", got)
	}
	if got := run(""); got.Messages != 0 || got.Before != 5 {
		t.Errorf("third time: %+v", got)
	}
	if err := os.Remove(state); err != nil { // a lost state: storage knows the messages by their append ids
		t.Fatal(err)
	}
	run("")
	if got := w.stored("alice@example.test"); len(got) != 5 {
		t.Errorf("%d messages after the state was lost", len(got))
	}
	if err := os.WriteFile(state, append(mustRead(t, state), `"cut`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(""); got.Before != 5 {
		t.Errorf("after a cut state: %+v", got)
	}
	run("--restart")
	got := w.stored("alice@example.test")
	if len(got) != 10 {
		t.Errorf("%d messages after --restart", len(got))
	}
	if m := got[0]; m.mailbox != "INBOX" || m.text != "Subject: message a\r\n\r\nHello\r\n" || m.flags != uint32(storagev1.Flag_FLAG_SEEN) ||
		m.date != time.Date(2022, 11, 24, 18, 22, 48, 0, time.UTC).Unix() {
		t.Errorf("%+v", m)
	}
	w.fails(exitFailed, "is about", "import mbox %s --to bob@example.test --state %s", file, state)
	w.fails(exitFailed, "not an mbox", "import mbox %s --to bob@example.test --state %s/other", state, w.state)
	w.fails(exitFailed, "no such file", "import mbox %s/none --to bob@example.test --state %s/other", w.state, w.state)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// stopAfter is a person who presses Ctrl-C after so many messages.
type stopAfter struct {
	n    int
	stop context.CancelFunc
}

func (s *stopAfter) Start(int, int64) {}
func (s *stopAfter) Finish()          {}
func (s *stopAfter) Done(int64) {
	if s.n--; s.n == 0 {
		s.stop()
	}
}

func TestInterruptedImportGoesOn(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	acc, err := w.clients.account(t.Context(), "alice@example.test")
	if err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, progress transfer.Progress) (transfer.ImportResult, error) {
		source, err := transfer.OpenMbox(filepath.Join(w.state, "in.mbox"), mbox.RD)
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		state, err := transfer.OpenState(filepath.Join(w.state, "state"), source.ID(), acc.GetAccountId(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		return (&transfer.Import{Storage: w.clients.storage, AccountID: acc.GetAccountId(), Source: source, State: state, Progress: progress}).Run(ctx)
	}
	if err := os.Rename(writeMbox(t, 6), filepath.Join(w.state, "in.mbox")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result, err := run(ctx, &stopAfter{4, stop})
	if err == nil || result.Messages != 4 {
		t.Fatalf("interrupted: %+v, %v", result, err)
	}
	result, err = run(t.Context(), &stopAfter{})
	if err != nil || result.Messages != 2 || result.Before != 4 {
		t.Errorf("again: %+v, %v", result, err)
	}
	if got := w.stored("alice@example.test"); len(got) != 6 {
		t.Errorf("%d messages", len(got))
	}
}

// fill makes an account with mail in several mailboxes, and gives it.
func (w *world) fill() []stored {
	w.t.Helper()
	w.accounts()
	acc, err := w.clients.account(w.t.Context(), "alice@example.test")
	if err != nil {
		w.t.Fatal(err)
	}
	for i, m := range []stored{
		{mailbox: "INBOX", text: "Subject: a\r\n\r\nFrom me\r\n>From you\r\n", flags: uint32(storagev1.Flag_FLAG_SEEN), date: 1700000000},
		{mailbox: "INBOX", text: "Subject: a\r\n\r\nFrom me\r\n>From you\r\n", date: 1700000000},
		{mailbox: "Sent", text: "Subject: \xe6\x97\xa5\r\nStatus: well\r\n\r\n\r\n\r\nFrom a Thu Nov 24 18:22:48 2022\r\n", flags: 31, keywords: "$Forwarded $label", date: 1600000000},
		{mailbox: "仕事/v1.2", text: "X: " + strings.Repeat("long ", 40000) + "\r\n\r\n\x00\r\n", flags: 4, date: 1500000000},
	} {
		if i == 3 {
			if _, err := w.storage.CreateMailbox(w.t.Context(), &storagev1.CreateMailboxRequest{AccountId: acc.GetAccountId(), Name: m.mailbox}); err != nil {
				w.t.Fatal(err)
			}
		}
		stream, err := w.storage.Append(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range []*storagev1.AppendRequest{
			{Message: &storagev1.AppendRequest_Target_{Target: &storagev1.AppendRequest_Target{AccountId: acc.GetAccountId(), Mailbox: m.mailbox}}},
			{Message: &storagev1.AppendRequest_Start{Start: &storagev1.AppendRequest_Message{Flags: m.flags, Keywords: strings.Fields(m.keywords), InternalUnix: m.date}}},
			{Message: &storagev1.AppendRequest_Chunk{Chunk: []byte(m.text)}},
			{Message: &storagev1.AppendRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(m.text))}}},
		} {
			if err := stream.Send(r); err != nil {
				w.t.Fatal(err)
			}
		}
		if _, err := stream.CloseAndRecv(); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.stored("alice@example.test")
}

func TestExportAndImportAgain(t *testing.T) {
	w := newWorld(t)
	mail := w.fill()
	dir, file := filepath.Join(w.state, "maildir"), filepath.Join(w.state, "all.mbox")
	want(t, w.ok("export alice@example.test --to %s", dir), "4 messages (")
	want(t, w.ok("export alice@example.test --to %s", dir), "0 messages (0 B) exported", "4 were there before")
	want(t, w.ok("export alice@example.test --to %s", file), "4 messages (")
	w.fails(exitFailed, "is there already", "export alice@example.test --to %s", file)
	w.fails(exitFailed, "mailbox", "export alice@example.test --to %s/x --mailbox Nowhere", w.state)

	w.ok("import maildir %s --to bob@example.test --state %s/1", dir, w.state)
	if got := w.stored("bob@example.test"); !slices.Equal(got, mail) {
		t.Errorf("through a Maildir:\n%.2000s\nwant\n%.2000s", fmt.Sprint(got), fmt.Sprint(mail))
	}
	w.ok("account add carol@example.test --no-password")
	w.ok("import mbox %s --to carol@example.test --state %s/2", file, w.state)
	if got := w.stored("carol@example.test"); !slices.Equal(got, mail) {
		t.Errorf("through an mbox:\n%.2000s\nwant\n%.2000s", fmt.Sprint(got), fmt.Sprint(mail))
	}
	w.ok("account add dave@example.test --no-password")
	w.ok("import maildir %s --to dave@example.test --mailbox Old/Mail --state %s/3", dir, w.state)
	for _, m := range w.stored("dave@example.test") {
		if m.mailbox != "Old/Mail" {
			t.Errorf("a message is in %s", m.mailbox)
		}
	}
	one := filepath.Join(w.state, "sent.mbox")
	want(t, w.ok("export alice@example.test --to %s --mailbox Sent", one), "1 message (")
	if left, err := filepath.Glob(filepath.Join(w.state, "*.part-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// otherServer is an IMAP server of somebody else.
func otherServer(t *testing.T, implicit bool) (address string) {
	t.Helper()
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	user := imapmemserver.NewUser("alice", "their password")
	for name := range otherMailboxes {
		if err := user.Create(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	add := func(mailbox, text string, flags ...imap.Flag) {
		_, err := user.Append(mailbox, literal{bytes.NewReader([]byte(text))}, &imap.AppendOptions{Flags: flags, Time: time.Unix(1700000000, 0)})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 120 { // more than one batch
		add("INBOX", fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", i))
	}
	add("Gesendet", "Subject: sent\r\n\r\n\x01\r\n", imap.FlagSeen, imap.FlagAnswered, "$Label")
	add("All Mail", "Subject: sent\r\n\r\n\x01\r\n")
	add("Work.2024", strings.Repeat("Subject: long\r\n", 10000)+"\r\n")
	memory := imapmemserver.New()
	memory.AddUser(user)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			session, ok := memory.NewSession().(imapserver.SessionIMAP4rev2)
			if !ok {
				return nil, nil, errors.New("the server speaks no IMAP4rev2")
			}
			return otherSession{session}, nil, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}, imap.CapSpecialUse: {}, imap.CapListExtended: {}, imap.CapCreateSpecialUse: {}},
		TLSConfig:    config,
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if implicit {
		l = tls.NewListener(l, config)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

var otherMailboxes = map[string][]imap.MailboxAttr{
	"INBOX": nil, "Gesendet": {imap.MailboxAttrSent}, "All Mail": {imap.MailboxAttrAll}, "Work.2024": nil,
}

// otherSession adds special uses and another delimiter, which the server in memory lacks.
type otherSession struct{ imapserver.SessionIMAP4rev2 }

// List implements imapserver.Session.
func (otherSession) List(w *imapserver.ListWriter, _ string, _ []string, options *imap.ListOptions) error {
	for name, uses := range otherMailboxes {
		data := &imap.ListData{Mailbox: name, Delim: '.'}
		if options.ReturnSpecialUse {
			data.Attrs = uses
		}
		if err := w.WriteList(data); err != nil {
			return err
		}
	}
	return nil
}

type literal struct{ *bytes.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

func TestImportFromIMAP(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	address := otherServer(t, true)
	run := func(password string, more ...string) result {
		return w.runWith(password+"\n", append([]string{"import", "imap", address, "--user", "alice", "--password-stdin", "--to", "alice@example.test",
			"--state", filepath.Join(w.state, "s")}, more...)...)
	}
	if r := run("their password"); r.code != exitFailed || !strings.Contains(r.err, "certificate") {
		t.Errorf("a certificate of nobody: %+v", r)
	}
	if r := run("wrong", "--no-verify"); r.code != exitFailed || !strings.Contains(r.err, "log in to "+address+" as alice") {
		t.Errorf("wrong password: %+v", r)
	}
	w.ok("quota set alice@example.test --messages 70")
	if r := run("their password", "--no-verify"); r.code != exitFailed || !strings.Contains(r.out, "70 messages (") || !strings.Contains(r.err, "the account is full") {
		t.Errorf("full: %+v", r)
	}
	w.ok("quota set alice@example.test --messages none")
	if r := run("their password", "--no-verify"); r.code != exitOK || !strings.Contains(r.out, "52 messages (") || !strings.Contains(r.out, "70 were there before") {
		t.Errorf("again: %+v", r)
	}
	got := w.stored("alice@example.test")
	byBox := map[string]int{}
	for i, m := range got {
		byBox[m.mailbox]++
		if m.date != 1700000000 {
			t.Errorf("%s: date %d", m.mailbox, m.date)
		}
		switch m.mailbox {
		case "INBOX":
			if m.text != fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", i) {
				t.Errorf("message %d is %q", i, m.text)
			}
		case "Sent": // by its use, not by its name
			if m.text != "Subject: sent\r\n\r\n\x01\r\n" || m.flags != 3 || m.keywords != "$Label" && m.keywords != "$label" {
				t.Errorf("%+v", m)
			}
		case "Work/2024":
			if m.text != strings.Repeat("Subject: long\r\n", 10000)+"\r\n" {
				t.Errorf("long message has %d octets", len(m.text))
			}
		}
	}
	if byBox["INBOX"] != 120 || byBox["Sent"] != 1 || byBox["Work/2024"] != 1 || len(byBox) != 3 {
		t.Errorf("%v", byBox)
	}
	if r := run("their password", "--no-verify", "--from-mailbox", "Nowhere"); r.code != exitFailed || !strings.Contains(r.err, `no mailbox "Nowhere"`) {
		t.Errorf("%+v", r)
	}
}

func TestImportFromIMAPWithoutImplicitTLS(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	address := otherServer(t, false)
	for to, security := range map[string][]string{"alice": {"--starttls", "--no-verify"}, "bob": {"--insecure"}} {
		r := w.runWith("their password\n", append([]string{"import", "imap", address, "--user", "alice", "--password-stdin", "--from-mailbox", "Gesendet",
			"--to", to + "@example.test", "--state", filepath.Join(w.state, to)}, security...)...)
		if r.code != exitOK {
			t.Errorf("%v: %+v", security, r)
		}
		if got := w.stored(to + "@example.test"); len(got) != 1 || got[0].mailbox != "Sent" {
			t.Errorf("%v: %+v", security, got)
		}
	}
	w.fails(exitUsage, "[insecure starttls] were all set", "import imap x --user a --to b@example.test --insecure --starttls")
}
