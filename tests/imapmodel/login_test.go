package imapmodel

import (
	"bufio"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/yubin-mail/yubin/tests/harness"
)

// How a session becomes what it is.

// login begins to be a session of a kind.
func (c *client) login(k kind) error {
	c.kind = k
	lines := []string{fmt.Sprintf("LOGIN %s %q", c.address, harness.Password)}
	for what, on := range map[string]bool{"IMAP4rev2": k.rev2, "CONDSTORE": k.condstore, "QRESYNC": k.qresync, "UIDONLY": k.uidOnly} {
		if on {
			lines = append(lines, "ENABLE "+what)
		}
	}
	c.condstore = k.condstore || k.qresync
	for _, line := range lines {
		if err := c.run(&command{text: line, done: func(f *flight) error { return f.want("OK", "*") }}); err != nil {
			return err
		}
	}
	if k.compress {
		if err := c.deflate(); err != nil {
			return err
		}
	}
	if k.notify {
		return c.run(c.listens())
	}
	return nil
}

// again is UNAUTHENTICATE (RFC 8437) and another login.
func (c *client) again(k kind) error {
	if err := c.run(&command{text: "UNAUTHENTICATE", done: func(f *flight) error { return f.want("OK", "CAPABILITY") }}); err != nil {
		return err
	}
	c.watch = nil
	c.deselect()
	if c.compress {
		if err := c.inflated(); err != nil {
			return err
		}
	}
	return c.login(k)
}

// deflate is RFC 4978.
func (c *client) deflate() error {
	if err := c.run(&command{text: "COMPRESS DEFLATE"}); err != nil {
		return err
	}
	w, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	c.raw, c.r, c.w = c.r, bufio.NewReader(flate.NewReader(c.r)), flushing{w}
	return err
}

// inflated ends compression, as UNAUTHENTICATE does: both streams have an end, and what follows is plain.
func (c *client) inflated() error {
	more, err := io.ReadAll(c.r)
	if len(more) > 0 {
		err = errors.Join(err, fmt.Errorf("%q was still compressed", more))
	}
	if w, ok := c.w.(flushing); ok && c.tags%2 == 0 { // a client may also leave it at the flush
		err = errors.Join(err, w.Close())
	}
	c.r, c.w = c.raw, c.conn
	return err
}

// flushing sends at once what is written.
type flushing struct{ *flate.Writer }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	return n, errors.Join(err, f.Flush())
}
