package probe

import (
	"fmt"
	"net"
	"net/textproto"
	"strings"
)

// pop3 is the client's side of RFC 1939.
type pop3 struct{ *textproto.Conn }

func newPOP3(conn net.Conn) pop3 { return pop3{textproto.NewConn(conn)} }

func (p pop3) greeting() error {
	_, err := p.answer("greeting")
	return err
}

// command sends a command and gives what stands after +OK.
func (p pop3) command(line string) (string, error) {
	if err := p.PrintfLine("%s", line); err != nil {
		return "", err
	}
	verb, _, _ := strings.Cut(line, " ")
	return p.answer(verb)
}

func (p pop3) answer(to string) (string, error) {
	line, err := p.ReadLine()
	if err != nil {
		return "", fmt.Errorf("POP3 %s: %w", to, err)
	}
	rest, ok := strings.CutPrefix(line, "+OK")
	if !ok {
		return "", fmt.Errorf("POP3 %s: %s", to, line)
	}
	return strings.TrimSpace(rest), nil
}
