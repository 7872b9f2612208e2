package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// system is the ingress with services of the test behind it.
type system struct {
	server    *Server
	directory *directory
	quota     *quota
	storage   *storage
	registry  *prometheus.Registry
	stop      func()
}

func start(t *testing.T, change ...func(*Config)) *system {
	t.Helper()
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "localhost")
	require.NoError(t, err)
	var cfg Config
	cfg.Flags(pflag.NewFlagSet("test", pflag.ContinueOnError))
	cfg.Hostname = "mx.example.test"
	cfg.Listen, cfg.SubmissionListen, cfg.SubmissionsListen, cfg.LMTPListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.TLSCert, cfg.TLSKey = cert, key
	cfg.DrainWindow = 10 * time.Millisecond
	for _, c := range change {
		c(&cfg)
	}
	require.Empty(t, cfg.Validate())
	s := &system{directory: &directory{}, quota: &quota{full: map[string]bool{}}, storage: newStorage(), registry: prometheus.NewRegistry()}
	log := slog.New(slog.DiscardHandler)
	in := rpc.NewInproc(log, nil)
	directoryv1.RegisterDirectoryServiceServer(in, s.directory)
	quotav1.RegisterQuotaServiceServer(in, s.quota)
	storagev1.RegisterStorageServiceServer(in, s.storage)
	client := in.Client("smtp")
	s.server, err = New(t.Context(), cfg, Deps{
		Directory: directoryv1.NewDirectoryServiceClient(client),
		Quota:     quotav1.NewQuotaServiceClient(client),
		Storage:   storagev1.NewStorageServiceClient(client),
		Log:       log, Registerer: s.registry, Now: time.Now,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Components()[0].Run(ctx) }()
	s.stop = func() {
		cancel()
		if ended != nil {
			require.NoError(t, <-ended)
			ended = nil
		}
	}
	t.Cleanup(s.stop)
	return s
}

// client speaks lines.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (s *system) dial(t *testing.T, listener string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.server.Addr(listener).String())
	require.NoError(t, err)
	if listener == "submissions" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
	c.expect("220 mx.example.test")
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(text))
	require.NoError(c.t, err)
}

// expect reads an answer, of several lines perhaps, and checks how its last line begins.
func (c *client) expect(prefix string) string {
	c.t.Helper()
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		require.NoError(c.t, err, "after %q", all.String())
		all.WriteString(line)
		if len(line) < 4 || line[3] != '-' {
			require.True(c.t, strings.HasPrefix(line, prefix), "got %q, want %q", line, prefix)
			return all.String()
		}
	}
}

// talk plays a conversation: a line to send, and how the answer begins.
func (c *client) talk(turns ...string) {
	c.t.Helper()
	for i := 0; i < len(turns); i += 2 {
		c.send(turns[i] + "\r\n")
		c.expect(turns[i+1])
	}
}

const body = "Subject: Hi\r\nFrom: bob@example.test\r\n\r\nHello\r\n..dot\r\n"

func TestMailComesIn(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	c.send("EHLO peer.example\r\n")
	hello := c.expect("250 ")
	for _, extension := range []string{"PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8", "STARTTLS", "ENHANCEDSTATUSCODES", "CHUNKING"} {
		require.Contains(t, hello, extension)
	}
	require.NotContains(t, hello, "AUTH")
	c.talk(
		"MAIL FROM:<zed@peer.example> SIZE=1234", "250 2.",
		"RCPT TO:<alice@example.test>", "250 2.",
		"RCPT TO:<nobody@example.test>", "550 5.1.1",
		"RCPT TO:<carol@example.test>", "550 5.2.1",
		"RCPT TO:<someone@elsewhere.example>", "550 5.7.1",
		"DATA", "354",
		body+".", "250 2.",
		"QUIT", "221")
	require.EqualValues(t, 1234, s.quota.size)
	mails := s.storage.inbox("alice")
	require.Len(t, mails, 1)
	head, rest, _ := strings.Cut(mails[0], "Subject:")
	require.True(t, strings.HasPrefix(head, "Return-Path: <zed@peer.example>\r\nDelivered-To: alice@example.test\r\nReceived: from peer.example ([127.0.0.1])\r\n\tby mx.example.test with ESMTP id "), head)
	require.Contains(t, head, "for <alice@example.test>;")
	require.Equal(t, strings.ReplaceAll(body, "..dot", ".dot"), "Subject:"+rest)
}

func TestABackendThatIsDownRefusesForNow(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	s.directory.down = true
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "451 4.3.0")
	s.directory.down, s.quota.down = false, true
	c.talk("RCPT TO:<alice@example.test>", "451 4.3.0")
	s.quota.down = false
	s.storage.failBefore = 100
	c.talk("RCPT TO:<alice@example.test>", "250", "DATA", "354", body+".", "451 4.3.0")
	require.Empty(t, s.storage.inbox("alice"))
}

func TestALostAnswerDoesNotDeliverTwice(t *testing.T) {
	s := start(t)
	s.storage.failAfter = 2
	s.dial(t, "smtp").talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354", body+".", "250")
	require.Len(t, s.storage.inbox("alice"), 1)
}

func TestFullMailbox(t *testing.T) {
	s := start(t)
	s.quota.full["alice"] = true
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250",
		"RCPT TO:<alice@example.test>", "552 5.2.2",
		"RCPT TO:<team@example.test>", "552 5.2.2",
		"RCPT TO:<bob@example.test>", "250")

	temporary := start(t, func(c *Config) { c.OverQuotaCode = 452 })
	temporary.quota.full["alice"] = true
	temporary.dial(t, "smtp").talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "452 4.2.2")
}

func TestFullAtTheEndOfData(t *testing.T) {
	s := start(t)
	s.storage.full["alice"] = true
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250",
		"MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354",
		body+".", "452 4.2.2",
		"MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354",
		body+".", "552 5.2.2")
	require.Empty(t, s.storage.inbox("bob"), "the peer will send to bob again")

	l := s.dial(t, "lmtp")
	l.talk("LHLO x", "250", "MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354")
	l.send(body + ".\r\n")
	l.expect("552 5.2.2 <alice@example.test>")
	l.expect("250 2.0.0 <bob@example.test>")
	require.Len(t, s.storage.inbox("bob"), 1)
}

func TestRemovedAccountAtTheEndOfData(t *testing.T) {
	s := start(t)
	s.storage.gone["alice"] = true
	s.dial(t, "smtp").talk("EHLO x", "250",
		"MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354",
		body+".", "452 4.2.1",
		"MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354",
		body+".", "550 5.1.1")
	require.Empty(t, s.storage.inbox("bob"), "the peer will send to bob again")

	l := s.dial(t, "lmtp")
	l.talk("LHLO x", "250", "MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354")
	l.send(body + ".\r\n")
	l.expect("550 5.1.1 <alice@example.test>")
	l.expect("250 2.0.0 <bob@example.test>")
	require.Len(t, s.storage.inbox("bob"), 1)

	user := s.dial(t, "submissions")
	user.talk("EHLO x", "250", "AUTH PLAIN "+plain("bob@example.test", "secret"), "235",
		"MAIL FROM:<bob@example.test>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354",
		body+".", "550 5.1.1",
		"MAIL FROM:<bob@example.test>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354",
		body+".", "250")
	require.Len(t, s.storage.notices["bob"], 1)
	require.Contains(t, s.storage.notices["bob"][0], "Status: 5.1.1")

	s.storage.full["bob"] = true
	s.dial(t, "smtp").talk("EHLO x", "250",
		"MAIL FROM:<zed@peer.example>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354",
		body+".", "552 5.2.2")
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

func TestSubmission(t *testing.T) {
	s := start(t)
	c := s.dial(t, "submissions")
	c.talk(
		"EHLO x", "250",
		"MAIL FROM:<bob@example.test>", "530 5.7.0",
		"AUTH PLAIN "+plain("bob@example.test", "wrong"), "535 5.7.8",
		"AUTH PLAIN", "334",
		plain("bob@example.test", "secret"), "235",
		"MAIL FROM:<alice@example.test>", "550 5.7.1",
		"MAIL FROM:<bob@example.test>", "250",
		"MAIL FROM:<bob@example.test>", "503 5.5.1",
		"RCPT TO:<someone@elsewhere.example>", "550 5.7.1",
		"RCPT TO:<alice@example.test>", "250",
		"DATA", "354",
		body+".", "250",
		"MAIL FROM:<bob@example.test>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354",
		"From: alice@example.test\r\n\r\n.", "550 5.7.1")
	mails := s.storage.inbox("alice")
	require.Len(t, mails, 1)
	require.Contains(t, mails[0], "with ESMTPSA id")
	require.Contains(t, mails[0], "\r\nMessage-ID: <")
	require.Contains(t, mails[0], "\r\nDate: ")
}

func TestTheSenderLearnsWhoDidNotGetIt(t *testing.T) {
	s := start(t)
	s.storage.full["alice"] = true
	s.dial(t, "submissions").talk(
		"EHLO x", "250", "AUTH PLAIN "+plain("bob@example.test", "secret"), "235",
		"MAIL FROM:<bob@example.test>", "250", "RCPT TO:<alice@example.test>", "250", "RCPT TO:<bob@example.test>", "250", "DATA", "354",
		body+".", "250")
	require.Len(t, s.storage.inbox("bob"), 1)
	require.Len(t, s.storage.notices["bob"], 1)
	require.Contains(t, s.storage.notices["bob"][0], "Final-Recipient: rfc822; alice@example.test")
}

func TestPasswordsNeedTLS(t *testing.T) {
	s := start(t)
	c := s.dial(t, "submission")
	c.send("EHLO x\r\n")
	require.NotContains(t, c.expect("250"), "AUTH")
	c.talk("AUTH PLAIN "+plain("bob@example.test", "secret"), "523 5.7.10")
}

func TestNothingBeforeSTARTTLSCountsAfterIt(t *testing.T) {
	s := start(t)
	c := s.dial(t, "submission")
	c.talk("EHLO x", "250")
	c.send("STARTTLS\r\nMAIL FROM:<injected@example.test>\r\n")
	c.expect("220")
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	if err := secure.Handshake(); err != nil {
		return // the injected line broke the handshake: as good
	}
	c.conn, c.r = secure, bufio.NewReader(secure)
	c.talk("RCPT TO:<alice@example.test>", "502", "EHLO x", "250", "RCPT TO:<alice@example.test>", "502 5.5.1 Missing MAIL")
}

func TestSmuggling(t *testing.T) {
	s := start(t)
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n"} {
		c := s.dial(t, "smtp")
		c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354")
		c.send("Subject: a\r\n\r\nx" + end + "MAIL FROM:<evil@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: b\r\n\r\n\r\n.\r\n")
		c.expect("554 5.6.0")
		c.talk("NOOP", "250")
	}
	require.Empty(t, s.storage.inbox("alice"))

	// go-smtp drops the dot and the CR of CRLF.CR before we see them: one message comes in, without them.
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354")
	c.send("Subject: a\r\n\r\nx\r\n.\rMAIL FROM:<evil@example.test>\r\n.\r\n")
	c.expect("250")
	c.talk("NOOP", "250")
	require.Len(t, s.storage.inbox("alice"), 1)
}

func TestBDAT(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250")
	c.send("BDAT 12\r\nSubject: a\r\n")
	c.expect("250")
	c.send("BDAT 7 LAST\r\n\r\n.\r\nx\n")
	c.expect("554 5.6.0")
	c.talk("MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250")
	c.send("BDAT 12\r\nSubject: a\r\n")
	c.expect("250")
	c.send("BDAT 8 LAST\r\n\r\n.\r\nx\r\n")
	c.expect("250")
	require.Len(t, s.storage.inbox("alice"), 1)
	require.True(t, strings.HasSuffix(s.storage.inbox("alice")[0], "Subject: a\r\n\r\n.\r\nx\r\n"))
}

func TestLoopsEnd(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	for _, header := range []string{strings.Repeat("Received: x\r\n", 51), "Delivered-To: alice@example.test\r\n"} {
		c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354", header+"\r\n.", "554 5.4.6")
	}
}

func TestLimits(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxMessageSize, c.MaxHeaderSize, c.MaxLineLength = 100_000, 20_000, 30_000 })
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<> SIZE=100001", "552 5.3.4", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250")
	for range 998 {
		c.talk("RCPT TO:<bob@example.test>", "250")
	}
	c.talk("RCPT TO:<bob@example.test>", "250", "RCPT TO:<bob@example.test>", "452 4.5.3",
		"DATA", "354", strings.Repeat("0123456789abcde\r\n", 6_000)+".", "552 5.3.4",
		"MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250",
		"DATA", "354", strings.Repeat("Subject: x\r\n", 2_000)+"\r\n.", "552 5.3.4",
		"MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250",
		"DATA", "354", "\r\n"+strings.Repeat("x", 31_000)+"\r\n.", "500 5.5.2")
	require.Empty(t, s.storage.inbox("alice"))
}

func TestAClientThatVanishesLeavesNothing(t *testing.T) {
	s := start(t)
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354")
	c.send("Subject: a\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 20_000))
	require.NoError(t, c.conn.Close())
	s.stop() // waits for the session
	require.Empty(t, s.storage.inbox("alice"))
}

func TestAClientThatStallsIsLeft(t *testing.T) {
	s := start(t, func(c *Config) { c.CommandTimeout, c.DataTimeout = 300*time.Millisecond, 300*time.Millisecond })
	s.dial(t, "smtp").expect("421 4.4.2")
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354")
	c.send("Subject: a\r\n\r\n")
	c.expect("421 4.4.2")
	require.Empty(t, s.storage.inbox("alice"))
}

func TestAClientThatStallsInBDATIsToldSo(t *testing.T) {
	s := start(t, func(c *Config) { c.DataTimeout = 300 * time.Millisecond })
	c := s.dial(t, "smtp")
	c.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250")
	c.send("BDAT 100\r\nSubject: a\r\n")
	c.expect("421 4.4.2")
	require.Empty(t, s.storage.inbox("alice"))
}

func TestLeavingPolitely(t *testing.T) {
	s := start(t)
	idle, busy, secure := s.dial(t, "smtp"), s.dial(t, "smtp"), s.dial(t, "submissions")
	idle.talk("NOOP", "250")
	secure.talk("EHLO x", "250")
	busy.talk("EHLO x", "250", "MAIL FROM:<>", "250", "RCPT TO:<alice@example.test>", "250", "DATA", "354")
	busy.send("Subject: a\r\n\r\nfirst half, ")
	stopped := make(chan struct{})
	go func() {
		s.stop()
		close(stopped)
	}()
	idle.expect("421 4.3.2 mx.example.test")
	secure.expect("421 4.3.2 mx.example.test")
	busy.send("second half\r\n.\r\n")
	busy.expect("250 2.0.0")
	busy.expect("421 4.3.2")
	<-stopped
	require.Len(t, s.storage.inbox("alice"), 1)
}

func TestConnectionLimit(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.MaxConnsPerNetwork = 2 })
	s.dial(t, "smtp")
	s.dial(t, "smtp")
	conn, err := net.Dial("tcp", s.server.Addr("smtp").String())
	require.NoError(t, err)
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "421 4.7.0")
}

func TestValidateNamesEveryError(t *testing.T) {
	var cfg Config
	cfg.Flags(pflag.NewFlagSet("test", pflag.ContinueOnError))
	cfg.OverQuotaCode, cfg.MaxRecipients, cfg.ProxyListen = 550, 1, ":26"
	text := fmt.Sprint(cfg.Validate())
	for _, flag := range []string{"smtp-over-quota-code", "smtp-max-recipients", "smtp-trusted-proxies", "smtp-submissions-listen", "smtp-submission-listen"} {
		require.Contains(t, text, "--"+flag)
	}
}
