package server

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	first  = "Subject: one\r\nTo: alice\r\n\r\nline 1\r\n.line 2\r\n..\r\nline 4\r\n"
	second = "Subject: \xe4\xba\x8c\r\n\r\n.\r\n\r\nbare\rcr\nlf\x00\r\nno end"
	third  = "Subject: three\r\n\r\n"
)

func TestConversation(t *testing.T) {
	w := newWorld(t, newStorage(first, second, third))
	c := w.connect()
	c.ok("user alice")
	if got, want := c.ok("PASS "+password), fmt.Sprintf("maildrop has 3 messages (%d octets)", len(first+second+third)); got != want {
		t.Errorf("login: %q, want %q", got, want)
	}
	if got, want := c.ok("STAT"), fmt.Sprintf("3 %d", len(first+second+third)); got != want {
		t.Errorf("STAT %q, want %q", got, want)
	}
	if got, want := c.multi("LIST"), []string{fmt.Sprint("1 ", len(first)), fmt.Sprint("2 ", len(second)), fmt.Sprint("3 ", len(third))}; !slices.Equal(got, want) {
		t.Errorf("LIST %q, want %q", got, want)
	}
	if got, want := c.ok("LIST 2"), fmt.Sprint("2 ", len(second)); got != want {
		t.Errorf("LIST 2 %q, want %q", got, want)
	}
	if got, want := c.multi("UIDL"), []string{"1 4242.1", "2 4242.3", "3 4242.5"}; !slices.Equal(got, want) {
		t.Errorf("UIDL %q", got)
	}
	if got := c.ok("UIDL 3"); got != "3 4242.5" {
		t.Errorf("UIDL 3 %q", got)
	}
	for n, message := range map[int]string{1: first, 3: third} {
		if got := c.ok(fmt.Sprint("RETR ", n)); got != fmt.Sprint(len(message), " octets") {
			t.Errorf("RETR %d: %q", n, got)
		}
		if got := strings.Join(c.lines(), "\r\n") + "\r\n"; got != message {
			t.Errorf("RETR %d: %q, want %q", n, got, message)
		}
	}
	// The octets of a broken message, of which a line reader would make something else.
	c.ok("RETR 2")
	want := strings.Replace(second, "\r\n.\r\n", "\r\n..\r\n", 1) + "\r\n.\r\n"
	raw := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, raw); err != nil || string(raw) != want {
		t.Errorf("RETR 2: %q, %v; want %q", raw, err, want)
	}
	c.fails("RETR 4", "no such message")
	c.fails("RETR 0", "no such message")
	c.fails("RETR -1", "wrong arguments")
	c.fails("RETR 99999999999999999999", "wrong arguments")
	c.fails("RETR", "wrong arguments")
	c.ok("DELE 2")
	c.fails("DELE 2", "no such message")
	c.fails("RETR 2", "no such message")
	c.fails("LIST 2", "no such message")
	if got, want := c.multi("UIDL"), []string{"1 4242.1", "3 4242.5"}; !slices.Equal(got, want) {
		t.Errorf("UIDL %q after DELE", got)
	}
	if got, want := c.ok("STAT"), fmt.Sprintf("2 %d", len(first+third)); got != want {
		t.Errorf("STAT %q, want %q", got, want)
	}
	c.ok("RSET")
	if got, want := c.ok("STAT"), fmt.Sprintf("3 %d", len(first+second+third)); got != want {
		t.Errorf("STAT %q, want %q", got, want)
	}
	c.ok("NOOP")
	c.ok("DELE 1")
	c.ok("DELE 3")
	c.fails("USER bob", "not possible in this state")
	c.ok("QUIT")
	c.closed()
	if got := w.storage.left(); !slices.Equal(got, []uint32{3}) {
		t.Errorf("left %v", got)
	}
	if n := testutil.CollectAndCount(w.registry, "yubin_pop3_commands_total"); n == 0 {
		t.Error("no metrics of commands")
	}
}

func TestTop(t *testing.T) {
	long := "X-Long: " + strings.Repeat("y", 2*maxHeader) + "\r\n\r\n1\r\n2\r\n3\r\n"
	w := newWorld(t, newStorage(first, long, third, "Subject: no body", "\r\n.dot\r\n2\r\n"))
	c := w.login()
	for command, want := range map[string][]string{
		"TOP 1 0":     {"Subject: one", "To: alice", ""},
		"TOP 1 2":     {"Subject: one", "To: alice", "", "line 1", ".line 2"},
		"TOP 1 99999": {"Subject: one", "To: alice", "", "line 1", ".line 2", "..", "line 4"},
		"TOP 2 0":     {long[:2*maxHeader+8], ""},
		"TOP 2 2":     {long[:2*maxHeader+8], "", "1", "2"},
		"TOP 3 5":     {"Subject: three", ""},
		"TOP 4 1":     {"Subject: no body"},
	} {
		c.ok(command)
		var got []string
		for line := c.line(); line != "."; line = c.line() {
			got = append(got, strings.TrimPrefix(line, "."))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	c.fails("TOP 1", "wrong arguments")
	c.fails("TOP 1 -1", "wrong arguments")
	c.fails("TOP 9 1", "no such message")
}

func TestDeletePolicies(t *testing.T) {
	for policy, want := range map[directoryv1.PopDelete]storagev1.CommitMaildropRequest_Action{
		directoryv1.PopDelete_POP_DELETE_EXPUNGE: storagev1.CommitMaildropRequest_ACTION_EXPUNGE,
		directoryv1.PopDelete_POP_DELETE_TRASH:   storagev1.CommitMaildropRequest_ACTION_TRASH,
		directoryv1.PopDelete_POP_DELETE_KEEP:    storagev1.CommitMaildropRequest_ACTION_KEEP,
	} {
		st := newStorage()
		for _, uid := range []uint32{1, 2, 3, 5, 6, 9} {
			st.add(uid, first)
		}
		st.popped[5] = true
		w := newWorld(t, st)
		w.directory.policy = policy
		c := w.login()
		if got, want := c.multi("UIDL"), []string{"1 4242.1", "2 4242.2", "3 4242.3", "4 4242.6", "5 4242.9"}; !slices.Equal(got, want) {
			t.Errorf("UIDL %q, want %q: what has left the maildrop is not listed", got, want)
		}
		for n := range 5 {
			if n != 1 {
				c.ok(fmt.Sprint("DELE ", n+1))
			}
		}
		c.ok("QUIT")
		got := w.storage.commits[0]
		if got.GetAction() != want {
			t.Errorf("policy %v gives action %v", policy, got.GetAction())
		}
		var ranges []string
		for _, r := range got.GetUids() {
			ranges = append(ranges, fmt.Sprintf("%d:%d", r.GetStart(), r.GetStop()))
		}
		if want := []string{"1:1", "3:3", "6:6", "9:9"}; !slices.Equal(ranges, want) {
			t.Errorf("committed %v, want %v", ranges, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	w := newWorld(t, newStorage(), "--pop3-insecure-auth=false", "--pop3-login-delay=0s")
	always := []string{"TOP", "UIDL", "UTF8 USER", "LANG", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER", "LOGIN-DELAY 0", "IMPLEMENTATION Yubin"}
	check := func(c *client, others ...string) {
		t.Helper()
		got := c.multi("CAPA")
		want := slices.Concat(always, others)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("capabilities %q, want %q", got, want)
		}
	}
	c := w.connect()
	check(c, "STLS", "SASL SCRAM-SHA-256")
	c.fails("USER alice", "[AUTH]")
	c.fails("AUTH PLAIN", "[AUTH]")
	c.ok("STLS")
	c.Conn = tls.Client(c.Conn, clientTLS)
	c.r = bufio.NewReader(c.Conn)
	check(c, "USER", "SASL SCRAM-SHA-256 PLAIN LOGIN")
	c.fails("STLS", "TLS is active")
	c.ok("USER alice")
	c.ok("PASS " + password)
	check(c)
	if start := w.directory.lastStart(); !start.GetTls() || start.GetProtocol() != "pop3" || start.GetClientIp() != "127.0.0.1" {
		t.Errorf("the directory was told %v", start)
	}

	implicit := w.dial("pop3s")
	implicit.line()
	check(implicit, "USER", "SASL SCRAM-SHA-256 PLAIN LOGIN")
}

// Who sits between client and server can put commands behind STLS; they must not be taken for the client's.
func TestStlsDropsWhatWasBefore(t *testing.T) {
	w := newWorld(t, newStorage())
	c := w.connect()
	c.ok("USER mallory")
	c.ok("LANG ja")
	c.send("STLS\r\nUSER mallory\r\nQUIT\r\n")
	c.want("+OK TLSを開始してください")
	if c.r.Buffered() > 0 {
		t.Fatal("the injected commands were answered in plain text")
	}
	c.Conn = tls.Client(c.Conn, clientTLS)
	c.r = bufio.NewReader(c.Conn)
	c.fails("PASS "+password, "not possible in this state")
	c.ok("USER alice")
	c.ok("PASS " + password)
}

func TestLoginFailures(t *testing.T) {
	w := newWorld(t, newStorage())
	c := w.connect()
	c.fails("PASS x", "not possible in this state")
	c.ok("USER nobody")
	c.fails("PASS wrong", "[AUTH]")
	c.fails("PASS wrong", "not possible in this state")
	c.ok("USER alice")
	c.fails("PASS", "[AUTH]")
	c.ok("USER throttled")
	c.fails("PASS x", "[SYS/TEMP]")
	c.closed() // the third failure
	for user, code := range map[string]string{"disabled": "[SYS/PERM]", "down": "[SYS/TEMP]"} {
		c := w.connect()
		c.ok("USER " + user)
		c.fails("PASS "+password, code)
	}
	c = w.connect()
	c.fails("USER \xff", "wrong arguments")
	c.fails("STAT", "not possible in this state")
	c.ok("QUIT")
	c.closed()
}

func TestSASL(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	plain := b64("\x00alice\x00" + password)
	w := newWorld(t, newStorage(first))
	for name, talk := range map[string]func(c *client){
		"initial response": func(c *client) { c.ok("AUTH PLAIN " + plain) },
		"challenge": func(c *client) {
			c.send("auth plain\r\n")
			c.want("+ ")
			c.ok(plain)
		},
		"login": func(c *client) {
			c.send("AUTH LOGIN\r\n")
			c.want("+ " + b64("Username:"))
			c.send(b64("alice") + "\r\n")
			c.want("+ " + b64("Password:"))
			c.ok(b64(password))
		},
		"cancelled": func(c *client) {
			c.send("AUTH PLAIN\r\n")
			c.want("+ ")
			c.fails("*", "authentication exchange failed")
			c.ok("AUTH PLAIN " + plain)
		},
		"no base64": func(c *client) {
			c.fails("AUTH PLAIN %%%", "authentication exchange failed")
			c.send("AUTH PLAIN\r\n")
			c.want("+ ")
			c.fails(strings.Repeat("A", 20000), "authentication exchange failed")
			c.ok("AUTH PLAIN " + plain)
		},
		"long response": func(c *client) {
			c.send("AUTH PLAIN\r\n")
			c.want("+ ")
			c.fails(b64("\x00alice\x00"+strings.Repeat("x", 8000)), "[AUTH]")
		},
		"wrong": func(c *client) { c.fails("AUTH PLAIN "+b64("\x00alice\x00x"), "[AUTH]") },
		"unknown mechanism": func(c *client) {
			c.fails("AUTH CRAM-MD5", "unknown authentication mechanism")
			c.fails("AUTH", "wrong arguments")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.connect()
			c.t = t
			talk(c)
			_ = c.Close()
		})
	}
}

func TestPipelining(t *testing.T) {
	w := newWorld(t, newStorage(first, third))
	c := w.connect()
	c.send("USER alice\r\nPASS " + password + "\r\nSTAT\r\nRETR 2\r\nDELE 1\r\nBOGUS\r\nLIST 1\r\nQUIT\r\n")
	for _, want := range []string{
		"+OK send the password", fmt.Sprintf("+OK maildrop has 2 messages (%d octets)", len(first+third)), fmt.Sprintf("+OK 2 %d", len(first+third)),
		fmt.Sprintf("+OK %d octets", len(third)), "Subject: three", "", ".", "+OK message 1 deleted", "-ERR unknown command", "-ERR no such message", "+OK bye",
	} {
		c.want(want)
	}
	c.closed()
}

func TestLanguages(t *testing.T) {
	w := newWorld(t, newStorage())
	c := w.connect()
	if got, want := c.multi("LANG"), []string{"i-default Default (English)", "en English", "ja 日本語"}; !slices.Equal(got, want) {
		t.Errorf("languages %q", got)
	}
	for tag, want := range map[string]string{"en-GB": "en texts will be in English", "*": "i-default texts will be in English", "JA-jp": "ja 日本語で応答します"} {
		if got := c.ok("LANG " + tag); got != want {
			t.Errorf("LANG %s: %q, want %q", tag, got, want)
		}
	}
	c.fails("LANG tlh", "")
	c.ok("LANG ja")
	c.fails("BOGUS", "未知のコマンドです")
	c.ok("UTF8")
	c.ok("USER 花子")
	c.ok("PASS " + password)
	c.fails("UTF8", "")
	c.ok("LANG en")
}

func TestBadInput(t *testing.T) {
	w := newWorld(t, newStorage(), "--pop3-max-bad-commands=6")
	c := w.connect()
	c.fails(strings.Repeat("x", 254), "line is too long")
	c.fails(strings.Repeat("x", 60000), "line is too long")
	c.fails("USER a\x00b", "syntax error")
	c.fails("\x16\x03\x01\x02", "syntax error")
	c.fails("", "syntax error")
	c.ok("CAPA")
	c.lines()
	c.fails("GET / HTTP/1.0", "too many bad commands")
	c.closed()

	c = w.connect()
	c.send(strings.Repeat("x", 1<<20))
	c.closed()
}

// A mailbox of any size is listed whole.
func TestManyMessages(t *testing.T) {
	st := newStorage()
	const n = 120_000
	for uid := range uint32(n) {
		st.uids = append(st.uids, uid+1)
	}
	st.messages[n] = first
	w := newWorld(t, st)
	c := w.login()
	for _, command := range []string{"LIST", "UIDL"} {
		lines := c.multi(command)
		if len(lines) != n || !strings.HasPrefix(lines[n-1], fmt.Sprint(n, " ")) {
			t.Errorf("%s lists %d messages, the last %q", command, len(lines), lines[len(lines)-1])
		}
	}
	c.ok(fmt.Sprint("RETR ", n))
	c.lines()
}

func TestProxyProtocol(t *testing.T) {
	w := newWorld(t, newStorage())
	c := w.dial("pop3-proxy")
	c.send("PROXY TCP4 192.0.2.7 192.0.2.1 4000 110\r\n")
	c.line()
	c.ok("USER alice")
	c.ok("PASS " + password)
	if ip := w.directory.lastStart().GetClientIp(); ip != "192.0.2.7" {
		t.Errorf("client %q", ip)
	}
}

func TestLoginDelay(t *testing.T) {
	w := newWorld(t, newStorage(), "--pop3-login-delay=1h")
	c := w.login()
	c.ok("QUIT")
	c.closed()
	c = w.connect()
	if !slices.Contains(c.multi("CAPA"), "LOGIN-DELAY 3600") {
		t.Error("the login delay is not told")
	}
	c.ok("USER alice")
	c.fails("PASS "+password, "[LOGIN-DELAY]")
	c.ok("USER bob")
	c.ok("PASS " + password)
}
