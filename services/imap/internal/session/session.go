package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// session is one client's connection. Its methods run on one goroutine at a time, but Leave and Close.
type session struct {
	*Engine
	profile
	conn   *timedConn
	id     string // for support
	remote string // the client's address without port
	dec    *wire.Decoder
	enc    *wire.Encoder
	ctx    context.Context // of its commands; it ends with the session
	cancel context.CancelFunc
	tag    string
	lanes  *lanes // commands that run beside each other
	idle   *idle  // the wait of IDLE; nil: for a command

	compression compression
	// bindings are the connection's, while a login may come.
	bindings []*directoryv1.ChannelBinding
	loginBy  time.Time
	failures int           // logins refused
	bads     int           // BAD in a row
	busy     time.Duration // in which commands ran since the login, until listed
	counted  time.Time     // up to which that is known
	listed   bool          // a FETCH has ended

	mu     sync.Mutex // guards reason and cancel
	reason string     // why to leave; "" while the session may stay
}

// profile is what commands find when they begin.
type profile struct {
	state state
	tls   bool
	// compressed: COMPRESS is active.
	compressed bool
	rev2       bool // IMAP4rev2 was enabled
	// condstore and qresync: the client uses RFC 7162.
	condstore, qresync bool
	utf8               bool // UTF8=ACCEPT was enabled
	uidOnly            bool // UIDONLY was enabled
	account            *directoryv1.Account
	box                *mailbox      // in selectedState
	notify             *notification // NOTIFY is on
}

func newSession(e *Engine, conn net.Conn) *session {
	s := &session{
		Engine: e,
		conn:   newTimedConn(conn, e.Limits.Write, e.Now),
		id:     telemetry.SessionID(),
		remote: remoteIP(conn.RemoteAddr()),
		cancel: func() {},
	}
	s.state = notAuthenticated
	s.dec = wire.NewDecoder(s.conn, e.grammar, loginLimits())
	s.dec.Continue = s.goAhead
	s.enc = wire.NewEncoder(s.conn)
	return s
}

func remoteIP(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}

// Leave implements listen.Session: the session ends between two commands, or in IDLE.
func (s *session) Leave(reason string) {
	s.mu.Lock()
	first := s.reason == ""
	if first {
		s.reason = reason
	}
	s.mu.Unlock()
	if first {
		s.conn.interrupt()
	}
}

// Close implements listen.Session: the session ends now.
func (s *session) Close() error {
	s.mu.Lock()
	cancel := s.cancel
	s.mu.Unlock()
	cancel()
	conn := s.conn.inner()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // without a farewell, for which a client that does not read would be waited for
	}
	return conn.Close()
}

func (s *session) leaving() (reason string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason, s.reason != ""
}

// goAhead sends the continuation request for a literal.
func (s *session) goAhead() error {
	s.enc.Continue("OK")
	return s.enc.Flush()
}

// begin is the first turn.
func (s *session) begin(ctx context.Context, implicitTLS bool) (over bool) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	s.ctx = ctx
	s.metrics.sessions.Get(s.state).Inc()
	s.loginBy = s.Now().Add(s.Limits.LoginTimeout)
	return s.turn(func() error { return s.greet(ctx, implicitTLS) })
}

// resume is a turn after the client was waited for.
func (s *session) resume() (over bool) {
	return s.turn(func() error { return s.loop(s.ctx) })
}

// turn runs the session until the client is silent, or it is over and has been cleaned up after.
func (s *session) turn(run func() error) (over bool) {
	err := s.guarded(run)
	if errors.Is(err, errQuiet) {
		return false
	}
	s.end(err)
	return true
}

// guarded makes an error of a panic: a bug in one session must not end the others.
func (s *session) guarded(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
		if errors.Is(err, errQuiet) {
			return // lanes may go on while the client is silent
		}
		if failed := s.lanes.drain(); failed != nil {
			err = failed
		}
	}()
	return run()
}

func (s *session) greet(ctx context.Context, implicitTLS bool) error {
	if implicitTLS {
		if err := s.handshake(ctx); err != nil {
			return err
		}
	}
	s.enc.Untagged(wire.StatusOK, "CAPABILITY "+s.capabilityList(), s.Hostname+" Yubin ready (session "+s.id+")")
	return s.loop(ctx)
}

// handshake begins TLS on the connection.
func (s *session) handshake(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, s.loginBy)
	defer cancel()
	plain := s.conn.inner()
	if err := plain.SetDeadline(time.Time{}); err != nil {
		return &brokenError{err}
	}
	conn := tls.Server(plain, s.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		return &brokenError{fmt.Errorf("TLS handshake: %w", err)}
	}
	s.conn.replace(conn)
	s.tls = true
	s.bind()
	return nil
}

// end says goodbye where that is possible and closes everything.
func (s *session) end(err error) {
	cause := "logout"
	if bye, ok := errors.AsType[*byeError](err); ok {
		cause = "bye"
		s.enc.Untagged(wire.StatusBye, bye.code, bye.text)
	} else if bye, ok := errors.AsType[*wire.ByeError](err); ok {
		cause = "bye"
		s.enc.Untagged(wire.StatusBye, "", bye.Text)
	} else if err != nil {
		cause = "broken"
		s.Log.Debug("session broke", "session", s.id, "error", err)
	}
	_ = s.enc.Flush() // the client may have gone
	s.cancel()
	if s.idle != nil {
		s.endIdle()
		s.timed(s.ctx, "IDLE", "bye", s.Now())
	}
	s.unselect()
	s.unnotify()
	if s.account != nil {
		s.release(s.account.GetAccountId())
	}
	_ = s.conn.inner().Close()
	s.metrics.sessions.Get(s.state).Dec()
	s.metrics.ends.WithLabelValues(cause).Inc()
}

var (
	// errLogout ends the loop after LOGOUT.
	errLogout = errors.New("logout")
	// errSent is of a command that sent its tagged OK itself.
	errSent = errors.New("the tagged response is sent")
)

// loop reads commands and runs them.
func (s *session) loop(ctx context.Context) error {
	for {
		if err := s.next(ctx); errors.Is(err, errLogout) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// next waits for one command and runs it. An error ends the session, or is errQuiet.
func (s *session) next(ctx context.Context) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	begun := s.Now()
	if s.idle != nil {
		return s.done(ctx, begun)
	}
	s.conn.limit(s.commandEnd(begun), s.Limits.Stall)
	tag, name, err := s.dec.Command()
	s.tag = tag
	var c *command
	if err == nil {
		c, err = s.lookup(name)
	}
	label := "unknown"
	var r reply
	if c != nil {
		label = c.name
		if c.stream {
			s.conn.limit(time.Time{}, s.Limits.Stall)
		}
		switch {
		case err != nil:
		case c.endless:
			r, err = s.perform(ctx, c, begun, telemetry.Span{})
		default:
			r, ctx, err = s.traced(ctx, c, begun)
		}
	}
	if errors.Is(err, errBeside) || errors.Is(err, errIdling) {
		return nil
	}
	result, err := s.finish(ctx, c, name, r, err)
	s.timed(ctx, label, result, begun)
	return err
}

// traced runs a command, and gives the context of its trace.
func (s *session) traced(ctx context.Context, c *command, begun time.Time) (reply, context.Context, error) {
	ctx, span := s.Tracer.Begin(ctx, "imap", c.name)
	span.String("session", s.id)
	r, err := s.perform(ctx, c, begun, span)
	if !errors.Is(err, errBeside) {
		span.End(err)
	}
	return r, ctx, err
}

// commandEnd is when a command that begins now must have arrived.
func (s *session) commandEnd(begun time.Time) time.Time {
	end := begun.Add(s.Limits.Command)
	if s.state == notAuthenticated && s.loginBy.Before(end) {
		return s.loginBy
	}
	return end
}

// wait blocks until a command begins to arrive, or the end of IDLE. With errQuiet the client is silent: rest waits further, and then it is called again.
func (s *session) wait(ctx context.Context) error {
	if err := s.lanes.failure(); err != nil {
		return err
	}
	if reason, ok := s.leaving(); ok {
		return &byeError{"", reason}
	}
	if s.dec.Buffered() == 0 { // else more commands are here, and their responses go together
		if err := s.enc.Flush(); err != nil {
			return &brokenError{err}
		}
	}
	if s.idle != nil {
		return s.watch(ctx, s.idle.until, s.idle.selected, true)
	}
	until := s.loginBy
	if s.state&loggedIn != 0 {
		until = s.Now().Add(s.Limits.Idle)
	}
	if s.notify != nil && s.dec.Buffered() == 0 {
		if err := s.lanes.drain(); err != nil {
			return err
		}
		selected := s.box != nil && s.notify.selected != nil && s.notify.selected.Events != nil
		return s.watch(ctx, until, selected, selected && s.notify.selected.Mailboxes.Kind == "selected")
	}
	s.conn.await(until, s.readsAgain())
	return s.waited(s.dec.Wait())
}

// waited explains how a wait for the client ended.
func (s *session) waited(err error) error {
	switch {
	case err == nil, errors.Is(err, errQuiet):
		return err
	case errors.Is(err, errInterrupted):
		if failed := s.lanes.failure(); failed != nil {
			return failed
		}
		reason, _ := s.leaving()
		return &byeError{"", reason}
	case timedOut(err) && s.state == notAuthenticated:
		return &byeError{"", "login timeout"}
	case timedOut(err):
		return &byeError{"", "idle for too long"}
	case errors.Is(err, io.EOF):
		return &brokenError{io.EOF}
	}
	return &brokenError{err}
}

// lookup finds a command that is valid in the session's state.
func (s *session) lookup(name string) (*command, error) {
	c, ok := registered.commands[name]
	switch {
	case !ok:
		return nil, bad("unknown command")
	case c.states&s.state != 0 && !s.numbersAllowed(name):
		return c, errUIDRequired
	case c.states&s.state != 0:
		return c, nil
	case s.state == notAuthenticated:
		return c, clientBug("log in first")
	case c.states == selectedState:
		return c, clientBug("no mailbox is selected")
	}
	return c, clientBug("not possible in this state")
}

// finish skips what is left of the command, and answers it.
func (s *session) finish(ctx context.Context, c *command, name string, r reply, err error) (result string, fatalErr error) {
	if failed := s.lanes.drain(); failed != nil {
		return "bye", failed
	}
	if errors.Is(err, errLogout) {
		s.enc.Tagged(s.tag, wire.StatusOK, "", "LOGOUT completed")
		return "ok", errLogout
	}
	if fatal(err) {
		return "bye", err
	}
	s.conn.limit(time.Time{}, s.Limits.Stall)
	if discardErr := s.dec.Discard(); discardErr != nil {
		if _, ok := errors.AsType[*wire.ByeError](discardErr); ok {
			return "bye", discardErr
		}
		if timedOut(discardErr) {
			return "bye", &byeError{"", "command timeout"}
		}
		return "bye", &brokenError{discardErr}
	}
	if result, err = s.answer(ctx, c, name, r, err); err != nil {
		return result, err
	}
	return result, s.judge(result)
}

// answer tells of changes in the mailbox, and sends the tagged response.
func (s *session) answer(ctx context.Context, c *command, name string, r reply, err error) (result string, fatalErr error) {
	if s.box != nil {
		keeps := c != nil && c.numbered || r.keeps && s.qresync
		if tellErr := s.tellWith(ctx, !keeps, c != nil && isUID(c.name)); tellErr != nil {
			return "bye", tellErr
		}
		s.sendLag()
	}
	if encErr := s.enc.Err(); encErr != nil {
		return "bye", &brokenError{encErr}
	}
	if err == nil {
		if r.text == "" {
			r.text = name + " completed"
		}
		s.enc.Tagged(s.tag, wire.StatusOK, r.code, r.text)
		return "ok", nil
	}
	if errors.Is(err, errSent) {
		return "ok", nil
	}
	a, bug := answerFor(err)
	if bug {
		s.Log.Error("command failed", "session", s.id, "command", name, "error", err)
	} else if a.code == "UNAVAILABLE" {
		s.Log.Warn("command failed", "session", s.id, "command", name, "error", err)
	}
	if bug || a.code == "UNAVAILABLE" {
		a.text += " (session " + s.id + ")"
	}
	if s.tag == "" {
		s.enc.Untagged(a.status, a.code, a.text)
	} else {
		s.enc.Tagged(s.tag, a.status, a.code, a.text)
	}
	if a.status != wire.StatusBAD {
		return "no", nil
	}
	return "bad", nil
}

// judge counts what a command came to.
func (s *session) judge(result string) error {
	if result != "bad" {
		s.bads = 0
		return nil
	}
	if s.bads++; s.bads >= s.Limits.BadCommands {
		return &byeError{"", "too many bad commands"}
	}
	return nil
}

// to changes the state.
func (s *session) to(next state) {
	s.metrics.sessions.Get(s.state).Dec()
	s.metrics.sessions.Get(next).Inc()
	if next == notAuthenticated {
		s.busy, s.listed = 0, false
	}
	s.state = next
}

// rpc gives a context for one call to another service.
func (s *session) rpc(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.Limits.RPC)
}

// bulk gives a context for a call that looks at many messages, or changes them.
func (s *session) bulk(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.Limits.Bulk)
}

func (s *session) accountID() string { return s.account.GetAccountId() }
