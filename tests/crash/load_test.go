package crash

import (
	"bufio"
	"context"
	"crypto/sha256"
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

// accounts that the load is on: alice reads over IMAP, bob over POP3.
const (
	imapUser = "alice"
	popUser  = "bob"
)

// load is clients that work until they are stopped, whatever the server does.
type load struct {
	t      *testing.T
	s      *harness.System
	tls    *tls.Config
	ledger *ledger
	stop   context.CancelFunc
	group  sync.WaitGroup
}

// begin starts the clients.
func begin(t *testing.T, s *harness.System, l *ledger) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &load{t: t, s: s, tls: s.TLS(t), ledger: l, stop: stop}
	for _, client := range []func(context.Context){
		func(ctx context.Context) { w.deliver(ctx, s.SMTP, smtp.NewClient, imapUser) },
		func(ctx context.Context) { w.deliver(ctx, s.SMTP, smtp.NewClient, popUser) },
		func(ctx context.Context) { w.deliver(ctx, s.LMTP, smtp.NewClientLMTP, imapUser) },
		func(ctx context.Context) { w.deliver(ctx, s.LMTP, smtp.NewClientLMTP, popUser) },
		w.appends, w.changes, w.downloads,
	} {
		w.group.Go(func() {
			for ctx.Err() == nil {
				client(ctx) // it returns when its connection breaks
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return w
}

// end stops the clients and waits for them.
func (w *load) end() {
	w.stop()
	w.group.Wait()
}

// dial connects for at most as long as the load lasts, so that no client outlives it by more than an answer.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return conn, err
}

// deliver sends mail to one account over SMTP or LMTP.
func (w *load) deliver(ctx context.Context, addr string, client func(net.Conn) *smtp.Client, name string) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return
	}
	c := client(conn)
	defer c.Close()
	for ctx.Err() == nil {
		key, message := w.ledger.compose(name)
		if c.Mail("sender@elsewhere.example", nil) != nil || c.Rcpt(harness.Address(name), nil) != nil {
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
			w.t.Errorf("a healthy message was refused for good: %v", err)
		default: // 4xx: the sender is to send again, so it may be there
			return
		}
	}
}

// imap logs in.
func (w *load) imap(ctx context.Context) *imapclient.Client {
	conn, err := dial(ctx, w.s.IMAPS[0])
	if err != nil {
		return nil
	}
	c := imapclient.New(tls.Client(conn, w.tls), nil)
	if c.Login(harness.Address(imapUser), harness.Password).Wait() != nil {
		_ = c.Close()
		return nil
	}
	return c
}

// appends saves messages as a mail program does.
func (w *load) appends(ctx context.Context) {
	c := w.imap(ctx)
	if c == nil {
		return
	}
	defer c.Close()
	for ctx.Err() == nil {
		key, message := w.ledger.compose(imapUser)
		cmd := c.Append("INBOX", int64(len(message)), nil)
		if _, err := cmd.Write(message); err != nil {
			return
		}
		if cmd.Close() != nil {
			return
		}
		if _, err := cmd.Wait(); err != nil {
			return
		}
		w.ledger.delivered(key, done)
	}
}

// changes flags, files and deletes what is in the mailbox.
func (w *load) changes(ctx context.Context) {
	c := w.imap(ctx)
	if c == nil {
		return
	}
	defer c.Close()
	peek := &imap.FetchItemBodySection{Peek: true}
	for ctx.Err() == nil {
		data, err := c.Select("INBOX", nil).Wait()
		if err != nil {
			return
		}
		if data.NumMessages == 0 {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		n := uint32(w.ledger.intn(int(data.NumMessages))) + 1
		found, err := c.Fetch(imap.SeqSetNum(n), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{peek}}).Collect()
		if err != nil || len(found) != 1 {
			return
		}
		key, uid := keyOf(found[0].FindBodySection(peek)), imap.UIDSetNum(found[0].UID)
		switch w.ledger.intn(3) {
		case 0:
			if c.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close() != nil {
				return
			}
			w.ledger.flagged(key)
		case 1:
			if _, err := c.Move(uid, "Archive").Wait(); err != nil {
				return
			}
		case 2:
			if c.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close() != nil {
				return
			}
			w.ledger.deleted(unknown, key)
			if c.UIDExpunge(uid).Close() != nil {
				return
			}
			w.ledger.deleted(done, key)
		}
	}
}

// downloads takes mail as a POP3 client does: the deletions of a session hold all or not at all.
func (w *load) downloads(ctx context.Context) {
	conn, err := dial(ctx, w.s.POP3S)
	if err != nil {
		return
	}
	defer conn.Close()
	p := &popClient{conn: tls.Client(conn, w.tls)}
	p.r = bufio.NewReader(p.conn)
	p.line()
	p.do("USER " + harness.Address(popUser))
	p.do("PASS " + harness.Password)
	stat := p.do("STAT")
	var n int
	if _, err := fmt.Sscanf(stat, "+OK %d", &n); p.err != nil || err != nil || n == 0 {
		return
	}
	var keys []string
	for i := range min(n, 1+w.ledger.intn(20)) {
		top := p.multi(fmt.Sprintf("TOP %d 0", i+1))
		p.do(fmt.Sprintf("DELE %d", i+1))
		if p.err != nil {
			return
		}
		keys = append(keys, keyOf([]byte(top)))
	}
	w.ledger.deleted(unknown, keys...)
	w.ledger.quitting(keys)
	if p.do("QUIT"); p.err == nil {
		w.ledger.deleted(done, keys...)
	}
}

// popClient gives up at the first answer that is not +OK.
type popClient struct {
	conn net.Conn
	r    *bufio.Reader
	err  error
}

func (p *popClient) line() string {
	if p.err != nil {
		return ""
	}
	var line string
	if line, p.err = p.r.ReadString('\n'); p.err == nil && !strings.HasPrefix(line, "+OK") {
		p.err = fmt.Errorf("answer %q", line)
	}
	return line
}

func (p *popClient) do(command string) string {
	if p.err == nil {
		_, p.err = p.conn.Write([]byte(command + "\r\n"))
	}
	return p.line()
}

func (p *popClient) multi(command string) string {
	p.do(command)
	var text strings.Builder
	for p.err == nil {
		var line string
		if line, p.err = p.r.ReadString('\n'); line == ".\r\n" {
			break
		}
		text.WriteString(line)
	}
	return text.String()
}

// found is a message as it is in a mailbox.
type found struct {
	mailbox     string
	uidValidity uint32
	uid         imap.UID
	size        int64
	hash        [sha256.Size]byte
	flags       []imap.Flag
}
