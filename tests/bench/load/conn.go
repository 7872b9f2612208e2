package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// patience is longer than any answer of a server that still works takes.
const patience = 2 * time.Minute

// conn is a client's connection.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// dial connects and reads the greeting. With StartTLS, upgrade is the command that asks for it, and what its answer begins with.
func (t *Target) dial(addr string, mode TLSMode, buffer int, upgrade, granted string) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	config := t.tlsConfig(addr)
	if mode == Implicit {
		nc = tls.Client(nc, config)
	}
	c := &conn{Conn: nc, r: bufio.NewReaderSize(nc, buffer)}
	if _, err := c.line(); err != nil {
		c.close()
		return nil, fmt.Errorf("read the greeting of %s: %w", addr, err)
	}
	if mode == StartTLS {
		if err := c.expect(upgrade, granted); err != nil {
			c.close()
			return nil, err
		}
		c.Conn = tls.Client(nc, config)
		c.r.Reset(c.Conn)
	}
	return c, nil
}

func (t *Target) tlsConfig(addr string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLSConfig != nil {
		config = t.TLSConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return config
}

func (c *conn) close() { _ = c.Close() }

func (c *conn) send(text string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c.Conn, text)
	return err
}

// line reads a line. It is valid until the next. A line longer than the buffer comes in parts.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull { //nolint:errorlint // returned as it is
		err = nil
	}
	return line, err
}

// expect sends a command and wants an answer of one line that begins with a prefix.
func (c *conn) expect(command, prefix string) error {
	if err := c.send(command + "\r\n"); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return fmt.Errorf("%.20s: %w", command, err)
	}
	if !bytes.HasPrefix(line, []byte(prefix)) {
		return fmt.Errorf("%.20s: the server says %q", command, strings.TrimSpace(string(line)))
	}
	return nil
}
