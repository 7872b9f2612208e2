package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Idle opens sessions that have selected INBOX and wait in IDLE (RFC 2177). close ends them.
func (t *Target) Idle(ctx context.Context, sessions int) (end func(), err error) {
	accounts := t.Idlers
	if len(accounts) == 0 {
		accounts = []Login{t.Reader}
	}
	open := make([]*imapClient, 0, sessions)
	end = func() {
		for _, c := range open {
			c.close()
		}
	}
	for i := range sessions {
		c, err := t.idle(accounts[i%len(accounts)])
		if err := errors.Join(err, ctx.Err()); err != nil {
			end()
			return nil, fmt.Errorf("open idle session %d: %w", i, err)
		}
		open = append(open, c)
	}
	return end, nil
}

func (t *Target) idle(login Login) (*imapClient, error) {
	c, err := t.openIMAP(login, 512) // little, for there are many
	if err != nil {
		return nil, err
	}
	steps := func() error {
		if _, err := c.do("SELECT INBOX"); err != nil {
			return err
		}
		if err := c.send("i IDLE\r\n"); err != nil {
			return err
		}
		for {
			line, err := c.line()
			if err != nil || bytes.HasPrefix(line, []byte("+")) {
				return err
			}
			if bytes.HasPrefix(line, []byte("i ")) {
				return fmt.Errorf("IDLE: the server says %q", bytes.TrimSpace(line))
			}
		}
	}
	if err := steps(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
