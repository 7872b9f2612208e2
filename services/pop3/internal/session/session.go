package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/pkg/sasl"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/pop3/internal/wire"
)

// state of a session (RFC 1939 section 3). The UPDATE state is the end of QUIT.
type state byte

const (
	authorization state = 1 << iota
	transaction
)

// Session is one connection. Run is for one goroutine; Leave and Close are for any.
type Session struct {
	server *Server
	id     string // for support
	log    *slog.Logger
	conn   *conn
	r      *wire.Reader
	w      *bufio.Writer

	secure   bool // TLS is or will be the outermost layer
	bindings []*directoryv1.ChannelBinding
	state    state
	user     string // of USER, until PASS
	language language
	account  *directoryv1.Account
	drop     *maildrop
	ahead    ahead

	busy   time.Duration // of the commands since the login, until listed
	listed bool          // a list of messages was given

	authFailures int
	badCommands  int

	mu       sync.Mutex
	farewell textID // why the session is to end
}

// Leave implements listen.Session: the session ends when no command is running, and deletes nothing.
func (s *Session) Leave(string) { s.leave(textShutdown) }

func (s *Session) leave(why textID) {
	s.mu.Lock()
	if s.farewell == textNone {
		s.farewell = why
	}
	s.mu.Unlock()
	s.conn.interrupt()
}

// Close implements listen.Session.
func (s *Session) Close() error { return s.conn.Close() }

// errClose ends a session whose client was told why.
var errClose = errors.New("session is over")

// Run serves the connection and closes it.
func (s *Session) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = s.conn.Close() }()
	s.server.metrics.sessions[s.state].Inc()
	defer func() { s.server.metrics.sessions[s.state].Dec() }()
	if err := s.serve(ctx); !errors.Is(err, errClose) {
		s.log.DebugContext(ctx, "session broke off", "error", err)
	}
	// Whatever way it ended, what was marked but not committed stays.
	s.closeMaildrop()
	_ = s.w.Flush()
}

// serve answers commands until the session is over, and tells why it is.
func (s *Session) serve(ctx context.Context) error {
	login := time.Now().Add(s.server.config.IdleTimeout)
	if s.secure {
		if err := s.handshake(ctx, s.conn.current(), s.server.config.TLS); err != nil {
			return err
		}
	}
	s.ok("Yubin POP3 server %s (session %s)", s.server.config.Hostname, s.id)
	for {
		deadline := time.Now().Add(s.server.config.IdleTimeout)
		if s.state == authorization && deadline.After(login) {
			deadline = login
		}
		line, err := s.next(deadline, wire.MaxCommand)
		switch {
		case errors.Is(err, wire.ErrTooLong):
			err = s.bad(failure{text: textTooLong})
		case err == nil:
			err = s.dispatch(ctx, line)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for a command, or for a line of an exchange, of up to limit octets.
func (s *Session) next(deadline time.Time, limit int) (string, error) {
	waiting := s.conn.wait(deadline)
	line, err := "", error(nil)
	if waiting {
		line, err = s.r.ReadLine(limit)
	}
	if !s.conn.got() {
		s.mu.Lock()
		why := s.farewell
		s.mu.Unlock()
		s.fail(failure{code: codeTemporary, text: why})
		return "", errClose
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		s.fail(failure{text: textIdle})
		return "", errClose
	}
	return line, err
}

// bad counts what is no command, and ends a session that sends nothing else.
func (s *Session) bad(f failure) error {
	s.server.metrics.commands.Get(done{"unknown", "err"}).Inc()
	if s.badCommands++; s.badCommands >= s.server.config.MaxBadCommands {
		s.fail(failure{text: textTooManyBad})
		return errClose
	}
	s.fail(f)
	return nil
}

const handshakeTimeout = 30 * time.Second

// handshake starts TLS on the connection.
func (s *Session) handshake(ctx context.Context, raw net.Conn, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, min(handshakeTimeout, s.server.config.IdleTimeout))
	defer cancel()
	over := tls.Server(raw, config)
	if err := over.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("start TLS: %w", err)
	}
	s.conn.replace(over)
	s.attach(s.conn)
	s.secure, s.bindings = true, sasl.Bindings(over.ConnectionState(), config)
	return nil
}

// plaintext tells whether passwords may be sent as they are.
func (s *Session) plaintext() bool { return s.secure || s.server.config.InsecureAuth }

// ok writes a single-line answer, or the first line of a longer one. Write errors show when the writer is flushed.
func (s *Session) ok(format string, args ...any) {
	_, _ = s.w.WriteString("+OK ")
	_, _ = fmt.Fprintf(s.w, format, args...)
	_, _ = s.w.WriteString("\r\n")
}

// say is ok with a text in the session's language.
func (s *Session) say(text textID, args ...any) { s.ok(s.language.texts[text], args...) }

// line writes a line of a longer answer.
func (s *Session) line(format string, args ...any) error {
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil {
		return err
	}
	_, err := s.w.WriteString("\r\n")
	return err
}

// end ends a longer answer.
func (s *Session) end() error { return s.line(".") }
