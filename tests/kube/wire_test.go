//go:build kube

package kube

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// patienceOfClients is how long a mail program waits for an answer.
const patienceOfClients = 3 * time.Minute

// Ends of a session, as a client sees them.
var (
	// errAsked says that the server asked the client to come again, and did not do the command that it was given meanwhile.
	errAsked = errors.New("the server asks to connect again")
	// errCut says that the connection ended without a word. What became of the last command is unknown.
	errCut = errors.New("the connection was cut")
	// errRefused says that the server answered that it cannot do it.
	errRefused = errors.New("refused")
)

// wire is a connection over which lines go. That of IMAP and POP3 is TLS from the start.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
	n    int // tags
}

func dialWire(addr string, config *tls.Config) (*wire, error) {
	conn, err := (&tls.Dialer{Config: config}).Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCut, err)
	}
	return &wire{conn: conn, r: bufio.NewReader(conn)}, nil
}

func (w *wire) close() { _ = w.conn.Close() }

func (w *wire) line() (string, error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(patienceOfClients))
	line, err := w.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%w: %w", errCut, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// send does not tell when it fails: what the server said before it went is still to be read.
func (w *wire) send(text string) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(patienceOfClients))
	_, _ = io.WriteString(w.conn, text)
}

// dialIMAP logs in.
func dialIMAP(addr string, config *tls.Config, user string) (*wire, error) {
	w, err := dialWire(addr, config)
	if err != nil {
		return nil, err
	}
	if err = w.greeting("* OK"); err == nil {
		if _, err = w.imap("LOGIN " + user + ` "` + password + `"`); err == nil {
			return w, nil
		}
	}
	w.close()
	return nil, err
}

func (w *wire) greeting(want string) error {
	line, err := w.line()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, want) {
		return fmt.Errorf("%w: %s", errAsked, line)
	}
	return nil
}

// imap gives the answer to a command: the lines before the tagged one. A literal at the end of the command is sent when the server wants it.
func (w *wire) imap(command string, literal ...string) (lines []string, err error) {
	w.n++
	tag := fmt.Sprintf("a%d", w.n)
	if len(literal) > 0 {
		command += fmt.Sprintf(" {%d}", len(literal[0]))
	}
	w.send(tag + " " + command + "\r\n")
	asked := false
	for {
		line, err := w.line()
		switch {
		case err != nil && asked:
			return nil, errAsked
		case err != nil:
			return nil, err
		case strings.HasPrefix(line, "* BYE"):
			asked = true
		case strings.HasPrefix(line, "+") && len(literal) > 0:
			w.send(literal[0] + "\r\n")
		case strings.HasPrefix(line, tag+" OK"):
			return lines, nil
		case strings.HasPrefix(line, tag+" "):
			return nil, fmt.Errorf("%s: %w: %s", strings.Fields(command)[0], errRefused, line)
		default:
			lines = append(lines, line)
		}
	}
}

// dialPOP3 logs in.
func dialPOP3(addr string, config *tls.Config, user string) (*wire, error) {
	w, err := dialWire(addr, config)
	if err != nil {
		return nil, err
	}
	if err = w.greeting("+OK"); err == nil {
		if _, err = w.pop3("USER "+user, false); err == nil {
			if _, err = w.pop3("PASS "+password, false); err == nil {
				return w, nil
			}
		}
	}
	w.close()
	return nil, err
}

// pop3 gives the answer to a command: its first line, or if many those that follow.
func (w *wire) pop3(command string, many bool) (lines []string, err error) {
	w.send(command + "\r\n")
	line, err := w.line()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(line, "+OK") {
		if _, err := w.line(); err != nil { // it says why, and closes
			return nil, fmt.Errorf("%w: %s", errAsked, line)
		}
		return nil, fmt.Errorf("%s: %w: %s", strings.Fields(command)[0], errRefused, line)
	}
	if !many {
		return []string{line}, nil
	}
	for {
		line, err := w.line()
		if err != nil {
			return nil, err
		}
		if line == "." {
			return lines, nil
		}
		lines = append(lines, strings.TrimPrefix(line, "."))
	}
}
