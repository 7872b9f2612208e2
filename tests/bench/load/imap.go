package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// IMAPDownload fetches every message of the reader's INBOX whole, again and again, in one session.
func IMAPDownload() Workload {
	return Workload{Name: "imap full download", Unit: "messages", Run: func(ctx context.Context, t *Target, limit Limit) (Result, error) {
		return turns(ctx, 1, limit, t.openReader, func(c *imapClient, _, _ int) (int64, int64, error) {
			a, err := c.do("FETCH 1:* (UID FLAGS BODY.PEEK[])")
			return int64(a.untagged), a.literals, err
		})
	}}
}

// IMAPOpen opens the reader's INBOX and learns the flags of all messages, as a mail program does at its start, again and again.
func IMAPOpen() Workload {
	return Workload{Name: "imap open", Unit: "times", Run: func(ctx context.Context, t *Target, limit Limit) (Result, error) {
		return turns(ctx, 1, limit, t.openReader, func(c *imapClient, _, _ int) (int64, int64, error) {
			for _, command := range []string{"SELECT INBOX", "FETCH 1:* (UID FLAGS)", "UNSELECT"} {
				if _, err := c.do(command); err != nil {
					return 0, 0, err
				}
			}
			return 1, 0, nil
		})
	}}
}

// IMAPList fetches what a mail program shows of the newest messages, again and again, in one session.
func IMAPList(newest int) Workload {
	return Workload{Name: fmt.Sprintf("imap list of %d", newest), Unit: "messages", Run: func(ctx context.Context, t *Target, limit Limit) (Result, error) {
		return turns(ctx, 1, limit, t.openReader, func(c *imapClient, _, _ int) (int64, int64, error) {
			a, err := c.do(fmt.Sprintf("FETCH %d:* (UID ENVELOPE FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE)", max(1, c.exists-newest+1)))
			return int64(a.untagged), 0, err
		})
	}}
}

// IMAPFlags marks one message after the other read and unread by its UID, in one session.
func IMAPFlags() Workload {
	return Workload{Name: "imap flag changes", Unit: "changes", Run: func(ctx context.Context, t *Target, limit Limit) (Result, error) {
		return turns(ctx, 1, limit, t.openReader, func(c *imapClient, _, n int) (int64, int64, error) {
			operation := "+"
			if n/len(c.uids)%2 == 1 {
				operation = "-"
			}
			_, err := c.do(fmt.Sprintf(`UID STORE %d %sFLAGS (\Seen)`, c.uids[n%len(c.uids)], operation))
			return 1, 0, err
		})
	}}
}

type imapClient struct {
	*conn
	tag    int
	exists int
	uids   []int
}

// answer is what a server says to one command.
type answer struct {
	untagged int   // FETCH responses
	literals int64 // octets
	exists   int
	uids     []int // of a SEARCH
}

// openReader selects the reader's INBOX, with no message read.
func (t *Target) openReader(int) (*imapClient, error) {
	c, err := t.openIMAP(t.Reader, 256<<10)
	if err != nil {
		return nil, err
	}
	steps := func() error {
		selected, err := c.do("SELECT INBOX")
		if err != nil {
			return err
		}
		c.exists = selected.exists
		if c.exists == 0 {
			return errors.New("the reader's INBOX is empty")
		}
		found, err := c.do("UID SEARCH ALL")
		if err != nil {
			return err
		}
		c.uids = found.uids
		_, err = c.do(`STORE 1:* -FLAGS.SILENT (\Seen)`)
		return err
	}
	if err := steps(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (t *Target) openIMAP(login Login, buffer int) (*imapClient, error) {
	nc, err := t.dial(t.IMAP, t.TLS, buffer, "s STARTTLS", "s OK")
	if err != nil {
		return nil, err
	}
	c := &imapClient{conn: nc}
	if _, err := c.do(fmt.Sprintf("LOGIN %q %q", login.Name, login.Password)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// do runs a command, which must succeed.
func (c *imapClient) do(command string) (answer, error) {
	c.tag++
	tag := "a" + strconv.Itoa(c.tag) + " "
	if err := c.send(tag + command + "\r\n"); err != nil {
		return answer{}, err
	}
	var a answer
	inside := false // a response that goes on after a literal
	for {
		line, err := c.line()
		if err != nil {
			return a, fmt.Errorf("%.20s: %w", command, err)
		}
		if !inside && bytes.HasPrefix(line, []byte(tag)) {
			if !bytes.HasPrefix(line[len(tag):], []byte("OK")) {
				return a, fmt.Errorf("%.20s: the server says %q", command, bytes.TrimSpace(line))
			}
			return a, nil
		}
		if !inside {
			a.note(line)
		}
		size, ok := literal(line)
		inside = ok
		if ok {
			a.literals += int64(size)
			if _, err := c.r.Discard(size); err != nil {
				return a, fmt.Errorf("%.20s: %w", command, err)
			}
		}
	}
}

// note takes what is of use from an untagged response.
func (a *answer) note(line []byte) {
	if rest, ok := bytes.CutPrefix(line, []byte("* SEARCH")); ok {
		for uid := range strings.FieldsSeq(string(rest)) {
			if n, err := strconv.Atoi(uid); err == nil {
				a.uids = append(a.uids, n)
			}
		}
		return
	}
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) < 3 {
		return
	}
	switch string(bytes.TrimSpace(fields[2])) {
	case "FETCH":
		a.untagged++
	case "EXISTS":
		a.exists, _ = strconv.Atoi(string(fields[1]))
	}
}

// literal gives the size of the literal that a line announces.
func literal(line []byte) (size int, ok bool) {
	line, ok = bytes.CutSuffix(line, []byte("}\r\n"))
	if !ok {
		return 0, false
	}
	size, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, '{')+1:]))
	return size, err == nil
}
