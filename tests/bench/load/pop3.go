package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
)

// POP3Download opens the reader's maildrop, lists it, retrieves every message, one command after the other, and leaves; again and again.
func POP3Download() Workload {
	return Workload{Name: "pop3 full download", Unit: "messages", Run: func(ctx context.Context, t *Target, limit Limit) (Result, error) {
		return turns(ctx, 1, limit, func(int) (nothing, error) { return nothing{}, nil },
			func(nothing, int, int) (int64, int64, error) { return t.downloadPOP3() })
	}}
}

type nothing struct{}

func (nothing) close() {}

func (t *Target) downloadPOP3() (count, octets int64, err error) {
	nc, err := t.dial(t.POP3, t.TLS, 256<<10, "STLS", "+OK")
	if err != nil {
		return 0, 0, err
	}
	c := &pop3Client{nc}
	defer c.close()
	for _, command := range []string{"USER " + t.Reader.Name, "PASS " + t.Reader.Password} {
		if err := c.expect(command, "+OK"); err != nil {
			return 0, 0, err
		}
	}
	if _, err := c.multi("UIDL"); err != nil {
		return 0, 0, err
	}
	numbers, err := c.multi("LIST")
	if err != nil {
		return 0, 0, err
	}
	for n := range numbers {
		size, err := c.retrieve(n + 1)
		if err != nil {
			return count, octets, err
		}
		count, octets = count+1, octets+size
	}
	return count, octets, c.expect("QUIT", "+OK")
}

type pop3Client struct{ *conn }

// multi counts the lines of an answer.
func (c *pop3Client) multi(command string) (lines int, err error) {
	if err := c.expect(command, "+OK"); err != nil {
		return 0, err
	}
	for {
		line, err := c.line()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", command, err)
		}
		if string(line) == ".\r\n" {
			return lines, nil
		}
		lines++
	}
}

// retrieve throws a message away and gives its octets.
func (c *pop3Client) retrieve(n int) (octets int64, err error) {
	const end = "\r\n.\r\n"
	if err := c.expect("RETR "+strconv.Itoa(n), "+OK"); err != nil {
		return 0, err
	}
	for {
		if _, err := c.r.Peek(len(end)); err != nil {
			return 0, fmt.Errorf("RETR: %w", err)
		}
		size := c.r.Buffered()
		got, err := c.r.Peek(size)
		last := bytes.HasSuffix(got, []byte(end))
		if !last {
			size -= len(end) - 1 // what is left may begin the end
		}
		_, failed := c.r.Discard(size)
		if err := errors.Join(err, failed); err != nil {
			return 0, err
		}
		octets += int64(size)
		if last {
			return octets - int64(len(".\r\n")), nil
		}
	}
}
