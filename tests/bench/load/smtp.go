package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The protocols of Deliver.
const (
	SMTP = "smtp"
	LMTP = "lmtp"
)

// Deliver sends messages of a size (in octets) over some connections at once, each message to one recipient.
func Deliver(protocol string, connections, size int) Workload {
	return Workload{
		Name: fmt.Sprintf("%s %d KB × %d", protocol, size>>10, connections), Unit: "messages",
		Run: func(ctx context.Context, t *Target, limit Limit) (Result, error) {
			some := messages(size)
			start := time.Now()
			result, err := turns(ctx, connections, limit,
				func(int) (*smtpClient, error) { defer func() { start = time.Now() }(); return t.openSMTP(protocol) },
				func(c *smtpClient, i, n int) (int64, int64, error) {
					m := some[(i+n)%len(some)]
					return 1, int64(len(m)), c.deliver(t.Recipients[(i+n)%len(t.Recipients)], m)
				})
			if err == nil && t.Settle != nil && protocol == SMTP {
				err = t.Settle(ctx)
				result.Elapsed = time.Since(start)
			}
			return result, err
		},
	}
}

type smtpClient struct {
	*conn
	pipelining bool
}

func (t *Target) openSMTP(protocol string) (*smtpClient, error) {
	addr, hello := t.SMTP, "EHLO client.example\r\n"
	if protocol == LMTP {
		addr, hello = t.LMTP, "LHLO client.example\r\n"
	}
	nc, err := t.dial(addr, Plain, 4096, "", "")
	if err != nil {
		return nil, err
	}
	c := &smtpClient{conn: nc}
	if err := c.send(hello); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for {
		line, err := c.line()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read the capabilities: %w", err), c.Close())
		}
		c.pipelining = c.pipelining || strings.Contains(string(line), "PIPELINING")
		if !bytes.HasPrefix(line, []byte("250-")) {
			return c, nil
		}
	}
}

// deliver sends a message whose lines begin with no dot.
func (c *smtpClient) deliver(to string, message []byte) error {
	commands := []string{"MAIL FROM:<sender@elsewhere.example>\r\n", "RCPT TO:<" + to + ">\r\n", "DATA\r\n"}
	if c.pipelining { // RFC 2920
		if err := c.send(strings.Join(commands, "")); err != nil {
			return err
		}
	}
	for i, command := range commands {
		if !c.pipelining {
			if err := c.send(command); err != nil {
				return err
			}
		}
		if err := c.reply("223"[i]); err != nil {
			return fmt.Errorf("%.4s: %w", command, err)
		}
	}
	if err := c.send(string(message) + ".\r\n"); err != nil {
		return err
	}
	return c.reply('2')
}

// reply reads a reply, which may have several lines, and wants the first digit of its code.
func (c *smtpClient) reply(first byte) error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line[0] != first {
			return fmt.Errorf("the server says %q", bytes.TrimSpace(line))
		}
		if len(line) < 4 || line[3] != '-' {
			return nil
		}
	}
}

// Fill delivers count messages of a size to one address, over several connections.
func (t *Target) Fill(ctx context.Context, protocol, to string, count, size int) error {
	const connections = 8
	to1 := *t
	to1.Recipients = []string{to}
	for left := count; left > 0; {
		n := min(connections, left)
		each := left / n
		if _, err := Deliver(protocol, n, size).Run(ctx, &to1, Limit{Turns: each}); err != nil {
			return fmt.Errorf("fill the mailbox of %s: %w", to, err)
		}
		left -= n * each
	}
	return nil
}
