package harness

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wireTimeout is longer than any answer of a healthy server takes.
const wireTimeout = 30 * time.Second

// Wire is a client that sends what it is told, protocol or not.
type Wire struct {
	Conn net.Conn

	tb testing.TB
	r  *bufio.Reader
}

// Wire connects to a listener, with TLS from the start if implicitTLS. The test's end closes it.
func (s *System) Wire(tb testing.TB, addr string, implicitTLS bool) *Wire {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, wireTimeout)
	if err != nil {
		tb.Fatalf("connect to %s: %v", addr, err)
	}
	w := &Wire{tb: tb, Conn: conn, r: bufio.NewReader(conn)}
	tb.Cleanup(func() { _ = w.Conn.Close() })
	if implicitTLS {
		w.Handshake(s.TLS(tb))
	}
	return w
}

// Handshake goes over to TLS, as after STARTTLS.
func (w *Wire) Handshake(config *tls.Config) {
	w.tb.Helper()
	if err := w.TryHandshake(config); err != nil {
		w.tb.Fatalf("tls handshake: %v", err)
	}
}

// TryHandshake is Handshake for a server that may refuse.
func (w *Wire) TryHandshake(config *tls.Config) error {
	_ = w.Conn.SetDeadline(time.Now().Add(wireTimeout))
	conn := tls.Client(w.Conn, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	w.Conn, w.r = conn, bufio.NewReader(conn)
	return nil
}

// Send writes octets as they are.
func (w *Wire) Send(data string) {
	w.tb.Helper()
	if err := w.Try(data); err != nil {
		w.tb.Fatalf("send %.60q: %v", data, err)
	}
}

// Try is Send for a server that may have gone.
func (w *Wire) Try(data string) error {
	_ = w.Conn.SetWriteDeadline(time.Now().Add(wireTimeout))
	_, err := io.WriteString(w.Conn, data)
	return err
}

// Line reads a line, without its line end.
func (w *Wire) Line() string {
	w.tb.Helper()
	line, err := w.TryLine()
	if err != nil {
		w.tb.Fatalf("read: %v (after %.200q)", err, line)
	}
	return line
}

// TryLine is Line for a server that may have gone.
func (w *Wire) TryLine() (string, error) {
	_ = w.Conn.SetReadDeadline(time.Now().Add(wireTimeout))
	line, err := w.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// Expect reads lines until one matches, and fails if none does before the server falls silent or closes. It gives the matching line.
func (w *Wire) Expect(pattern string) string {
	w.tb.Helper()
	re := regexp.MustCompile(pattern)
	var seen []string
	for {
		line, err := w.TryLine()
		if re.MatchString(line) {
			return line
		}
		seen = append(seen, line)
		if err != nil {
			w.tb.Fatalf("no line like %s, but %.1000q and then %v", pattern, seen[max(0, len(seen)-20):], err)
		}
	}
}

// Do sends a line and expects an answer like the pattern.
func (w *Wire) Do(line, pattern string) string {
	w.tb.Helper()
	w.Send(line + "\r\n")
	return w.Expect(pattern)
}

// Rest reads until the server closes, and gives what it still said. It fails if the server does not close.
func (w *Wire) Rest() string {
	w.tb.Helper()
	_ = w.Conn.SetReadDeadline(time.Now().Add(wireTimeout))
	var rest strings.Builder
	if _, err := io.Copy(&rest, w.r); err != nil {
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			w.tb.Fatalf("the server does not close the connection; it said %.500q", rest.String())
		}
	}
	return rest.String()
}

// Drop closes the connection without a word.
func (w *Wire) Drop() { _ = w.Conn.Close() }
