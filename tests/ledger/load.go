package ledger

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"github.com/yubin-mail/yubin/tests/harness"
)

// Load is clients that work until they are stopped, whatever the server does.
type Load struct {
	t      *testing.T
	ways   []*harness.System
	tls    *tls.Config
	ledger *Ledger
	pause  time.Duration
	stop   context.CancelFunc
	group  sync.WaitGroup

	witnesses []*witness
}

// Begin starts the clients. Each of their connections takes one of the ways, as gateways that a load balancer chooses from; pause is what
// a client waits between two actions.
func Begin(t *testing.T, l *Ledger, pause time.Duration, ways ...*harness.System) *Load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &Load{t: t, ways: ways, tls: ways[0].TLS(t), ledger: l, pause: pause, stop: stop}
	for _, account := range l.imapUsers {
		w.run(ctx, account, w.smtp, w.lmtp, w.appends, w.changes)
	}
	for _, account := range l.popUsers {
		w.run(ctx, account, w.smtp, w.lmtp, w.downloads)
	}
	return w
}

func (w *Load) run(ctx context.Context, account string, clients ...func(context.Context, string)) {
	for _, client := range clients {
		w.group.Go(func() {
			for ctx.Err() == nil {
				client(ctx, account) // it returns when its connection breaks
				wait(ctx, 20*time.Millisecond)
			}
		})
	}
}

// wait tells whether there is more to do.
func wait(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	return ctx.Err() == nil
}

// End stops the clients and waits for them.
func (w *Load) End() {
	w.stop()
	w.group.Wait()
}

// way gives the gateways for a connection.
func (w *Load) way() *harness.System { return w.ways[w.ledger.intn(len(w.ways))] }

// dial connects for at most as long as an answer takes, so that no client outlives the load by more.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return conn, err
}

func (w *Load) smtp(ctx context.Context, account string) {
	w.deliver(ctx, w.way().SMTP, smtp.NewClient, account)
}

func (w *Load) lmtp(ctx context.Context, account string) {
	w.deliver(ctx, w.way().LMTP, smtp.NewClientLMTP, account)
}

// deliver sends mail to one account over SMTP or LMTP.
func (w *Load) deliver(ctx context.Context, addr string, client func(net.Conn) *smtp.Client, account string) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return
	}
	c := client(conn)
	defer c.Close()
	for wait(ctx, w.pause) {
		key, message := w.ledger.compose(account)
		if c.Mail("sender@elsewhere.example", nil) != nil || c.Rcpt(harness.Address(account), nil) != nil {
			w.ledger.delivered(key, refused)
			return
		}
		body, err := c.Data()
		if err != nil {
			w.ledger.delivered(key, refused)
			return
		}
		if _, err = body.Write(message); err == nil {
			err = body.Close()
		}
		code, _ := harness.SMTPCode(err)
		switch {
		case err == nil:
			w.ledger.delivered(key, done)
		case code >= 500:
			w.ledger.delivered(key, refused)
			w.ledger.trouble("a healthy message was refused for good: %v", err)
		default: // 4xx: the sender is to send again, so it may be there
			return
		}
	}
}

// imap logs in.
func (w *Load) imap(ctx context.Context, account string) *imapclient.Client {
	conn, err := dial(ctx, w.way().IMAPS[0])
	if err != nil {
		return nil
	}
	c := imapclient.New(tls.Client(conn, w.tls), nil)
	if c.Login(harness.Address(account), harness.Password).Wait() != nil {
		_ = c.Close()
		return nil
	}
	return c
}

// appends saves messages as a mail program does.
func (w *Load) appends(ctx context.Context, account string) {
	c := w.imap(ctx, account)
	if c == nil {
		return
	}
	defer c.Close()
	for wait(ctx, w.pause) {
		key, message := w.ledger.compose(account)
		cmd := c.Append("INBOX", int64(len(message)), nil)
		if _, err := cmd.Write(message); err != nil {
			return
		}
		if cmd.Close() != nil {
			return
		}
		data, err := cmd.Wait()
		if err != nil {
			return
		}
		w.ledger.delivered(key, done)
		if data.UID != 0 {
			w.ledger.seen(place{account, "INBOX", data.UIDValidity, data.UID}, key)
		}
	}
}

// changes flags, files and deletes what is in the mailbox.
func (w *Load) changes(ctx context.Context, account string) {
	c := w.imap(ctx, account)
	if c == nil {
		return
	}
	defer c.Close()
	peek := &imap.FetchItemBodySection{Peek: true}
	var validity uint32 // of INBOX, as the last SELECT said
	for wait(ctx, w.pause) {
		floor := w.ledger.floor(box{account, "INBOX", validity})
		data, err := c.Select("INBOX", nil).Wait()
		if err != nil {
			return
		}
		if validity == data.UIDValidity {
			w.ledger.selected(box{account, "INBOX", validity}, floor, uint32(data.UIDNext))
		}
		validity = data.UIDValidity
		if data.NumMessages == 0 {
			continue
		}
		n := uint32(w.ledger.intn(int(data.NumMessages))) + 1
		messages, err := c.Fetch(imap.SeqSetNum(n), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{peek}}).Collect()
		if err != nil || len(messages) != 1 {
			return
		}
		key, uid := keyOf(messages[0].FindBodySection(peek)), messages[0].UID
		w.ledger.seen(place{account, "INBOX", validity, uid}, key)
		if !w.change(c, account, key, imap.UIDSetNum(uid)) {
			return
		}
	}
}

// change does something to a message, and tells whether it was acknowledged.
func (w *Load) change(c *imapclient.Client, account, key string, uid imap.UIDSet) bool {
	switch w.ledger.intn(5) {
	case 0, 1, 2:
		op, set := imap.StoreFlagsAdd, true
		if w.ledger.intn(2) == 0 {
			op, set = imap.StoreFlagsDel, false
		}
		certain := w.ledger.certain(key)
		w.ledger.flagging(key)
		if c.Store(uid, &imap.StoreFlags{Op: op, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close() != nil {
			return false
		}
		w.ledger.flagged(key, set, certain)
	case 3:
		data, err := c.Move(uid, "Archive").Wait()
		if err != nil {
			return false
		}
		if to, ok := data.DestUIDs.(imap.UIDSet); ok && len(to) == 1 && to[0].Start == to[0].Stop {
			w.ledger.seen(place{account, "Archive", data.UIDValidity, to[0].Start}, key)
		}
	case 4:
		if c.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close() != nil {
			return false
		}
		w.ledger.deleted(unknown, key)
		if c.UIDExpunge(uid).Close() != nil {
			return false
		}
		w.ledger.deleted(done, key)
	}
	return true
}

// downloads takes mail as a POP3 client does: the deletions of a session hold all or not at all.
func (w *Load) downloads(ctx context.Context, account string) {
	conn, err := dial(ctx, w.way().POP3S)
	if err != nil {
		return
	}
	defer conn.Close()
	p := NewPOP3(tls.Client(conn, w.tls))
	p.Do("USER " + harness.Address(account))
	p.Do("PASS " + harness.Password)
	stat := p.Do("STAT")
	var n int
	if _, err := fmt.Sscanf(stat, "+OK %d", &n); p.Err != nil || err != nil || n == 0 {
		return
	}
	var keys []string
	for i := range min(n, 1+w.ledger.intn(20)) {
		top := p.multi(fmt.Sprintf("TOP %d 0", i+1))
		p.Do(fmt.Sprintf("DELE %d", i+1))
		if p.Err != nil {
			return
		}
		keys = append(keys, keyOf([]byte(top)))
	}
	w.ledger.deleted(unknown, keys...)
	w.ledger.quitting(keys)
	if p.Do("QUIT"); p.Err == nil {
		w.ledger.deleted(done, keys...)
	}
}

// POP3 gives up at the first answer that is not +OK.
type POP3 struct {
	// Err is why it gave up.
	Err error

	conn net.Conn
	r    *bufio.Reader
}

// NewPOP3 makes a client on a connection, and reads the greeting.
func NewPOP3(conn net.Conn) *POP3 {
	p := &POP3{conn: conn, r: bufio.NewReader(conn)}
	p.line()
	return p
}

func (p *POP3) line() string {
	if p.Err != nil {
		return ""
	}
	var line string
	if line, p.Err = p.r.ReadString('\n'); p.Err == nil && !strings.HasPrefix(line, "+OK") {
		p.Err = fmt.Errorf("answer %q", line)
	}
	return line
}

// Do sends a command and gives the first line of its answer.
func (p *POP3) Do(command string) string {
	if p.Err == nil {
		_, p.Err = p.conn.Write([]byte(command + "\r\n"))
	}
	return p.line()
}

func (p *POP3) multi(command string) string {
	p.Do(command)
	var text strings.Builder
	for p.Err == nil {
		var line string
		if line, p.Err = p.r.ReadString('\n'); line == ".\r\n" {
			break
		}
		text.WriteString(line)
	}
	return text.String()
}
