package session

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Commands that a client sends without waiting for answers run beside each other (RFC 9051 section 5.5), as long as they only read: each in a
// lane, a goroutine with an encoder of its own. All others wait until no lane is left. While lanes run, what the client was told does not
// change but by what a FETCH itself does (\Seen), so that sequence numbers mean the same to all of them, and nothing is told that a FETCH in
// another lane could contradict.

// lanes are the commands of a session that run beside each other. nil: there never were any.
type lanes struct {
	mu      sync.Mutex
	changed sync.Cond // a lane has ended
	// running only grows on the session's goroutine; while it is empty, everything is that goroutine's.
	running []*lane
	failed  error // why the session must end
}

func newLanes() *lanes {
	l := &lanes{}
	l.changed.L = &l.mu
	return l
}

// drain waits until no lane is left. An error ends the session.
func (l *lanes) drain() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.running) > 0 {
		l.changed.Wait()
	}
	return l.failed
}

// failure tells why the session must end; nil: it need not.
func (l *lanes) failure() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// busy tells whether commands run beside each other. It is for those who know that this does not change now: the holder of the lock, and the
// session's goroutine when it has seen that there are none.
func (l *lanes) busy() bool { return l != nil && len(l.running) > 0 }

// room tells whether a command can run beside those that do.
func (l *lanes) room(c claim, limit int) bool {
	return len(l.running) < limit && !slices.ContainsFunc(l.running, func(o *lane) bool { return o.claim.meets(c) })
}

// lane is a command that runs beside others.
type lane struct {
	*session // for this command only: its tag and its encoder
	main     *session
	command  *command
	claim    claim
	begun    time.Time
	ctx      context.Context
	span     telemetry.Span
}

// errBeside is of a command that a lane goes on with, or has ended.
var errBeside = errors.New("the command runs beside others")

// perform runs a command, or starts it in a lane.
func (s *session) perform(ctx context.Context, c *command, begun time.Time, span telemetry.Span) (reply, error) {
	if c.read == nil {
		if err := s.lanes.drain(); err != nil {
			return reply{}, err
		}
		if err := s.mayRun(ctx, c); err != nil {
			return reply{}, err
		}
		return c.run(ctx, s)
	}
	j, err := c.read(s)
	if err != nil {
		return reply{}, err
	}
	l := &lane{main: s, command: c, begun: begun, ctx: ctx, span: span}
	beside, err := s.admit(l, &j)
	if err != nil {
		return reply{}, err
	}
	if !beside {
		if j.change != nil {
			err = j.change(ctx, s)
		}
		if err != nil {
			return reply{}, err
		}
		return j.run(ctx, s)
	}
	if j.change != nil {
		_, err = l.guarded(func() (reply, error) { return reply{}, j.change(ctx, s) })
		l.box = s.box.copied()
	}
	switch {
	case err != nil:
		l.end(reply{}, err)
	case j.quick:
		l.do(j.run)
	default:
		go l.do(j.run)
	}
	return reply{}, errBeside
}

// admit waits until a command may run. If others are sent behind it, or run already, it gets a lane.
func (s *session) admit(l *lane, j *job) (beside bool, err error) {
	// What comes alone costs no more than it must.
	pipelined := !j.alone && !j.quick && s.Limits.Pipeline > 1 && s.dec.Buffered() > 0
	if s.lanes == nil {
		if !pipelined {
			if err := s.mayRun(l.ctx, l.command); err != nil {
				return false, err
			}
			_, err := j.ready(s)
			return false, err
		}
		s.lanes = newLanes()
	}
	all := s.lanes
	all.mu.Lock()
	defer all.mu.Unlock()
	for all.failed == nil {
		busy := all.busy()
		if busy && (j.alone || s.news(l.command.numbered)) {
			all.changed.Wait() // also so that a pipeline without end does not keep changes from being told
			continue
		}
		if !busy {
			if err := s.mayRun(l.ctx, l.command); err != nil {
				return false, err
			}
		}
		c, err := j.ready(s)
		if err != nil {
			return false, err
		}
		if !busy && !pipelined {
			return false, nil
		}
		if all.room(c, s.Limits.Pipeline) {
			if err := s.enc.Flush(); err != nil { // what came before the lanes
				return false, &brokenError{err}
			}
			l.claim = c
			l.session = s.aside()
			all.running = append(all.running, l)
			return true, nil
		}
		all.changed.Wait()
	}
	return false, all.failed
}

func (j *job) ready(s *session) (claim, error) {
	if j.prepare == nil {
		return j.claim, nil
	}
	return j.prepare(s)
}

// mayRun refuses a command on a selected mailbox that is not shared any more.
func (s *session) mayRun(ctx context.Context, c *command) error {
	if c.states != selectedState {
		return nil
	}
	return s.checkAccess(ctx)
}

// aside gives a session for one command in a lane. It has no decoder.
func (s *session) aside() *session {
	other := &session{Engine: s.Engine, id: s.id, remote: s.remote, profile: s.profile, tag: s.tag, enc: s.enc.Beside(), lanes: s.lanes}
	other.box = s.box.copied()
	return other
}

// copied gives the mailbox as it is now, to read.
func (b *mailbox) copied() *mailbox {
	if b == nil {
		return nil
	}
	now := *b
	now.flags = slices.Clip(now.flags)
	return &now
}

// news tells whether there are changes that could be told before a command.
func (s *session) news(numbered bool) bool {
	if s.box == nil {
		return false
	}
	now := s.box.view.Snapshot()
	return s.box.view.Dead() || now.ModSeq > s.box.told.ModSeq || !numbered && now.ModSeq > s.box.settled || s.box.actor != nil && now.AccessModSeq > s.box.access
}

// do runs the lane's command.
func (l *lane) do(run func(ctx context.Context, s *session) (reply, error)) {
	r, err := l.guarded(func() (reply, error) { return run(l.ctx, l.session) })
	l.end(r, err)
}

// end sends the tagged response, behind what has changed if no other command runs.
func (l *lane) end(r reply, err error) {
	l.span.End(err)
	all := l.main.lanes
	all.mu.Lock()
	defer all.mu.Unlock()
	defer all.changed.Broadcast()
	all.running = slices.DeleteFunc(all.running, func(o *lane) bool { return o == l })
	l.box = l.main.box // what is told now counts for all
	result := "bye"
	if !fatal(err) {
		_, err = l.guarded(func() (reply, error) {
			result, err = l.answer(l.ctx, l.command, l.command.name, r, err)
			return r, err
		})
	}
	if _, broken := errors.AsType[*brokenError](err); !broken {
		if flushErr := l.enc.Flush(); flushErr != nil {
			err = &brokenError{flushErr}
		}
	}
	l.enc.End()
	l.main.timed(l.ctx, l.command.name, result, l.begun)
	if err == nil {
		err = l.main.judge(result)
	}
	if err != nil {
		l.fail(err)
	}
}

// fail ends the session. The lock is held.
func (l *lane) fail(err error) {
	all := l.main.lanes
	if all.failed == nil {
		all.failed = err
	}
	if _, broken := errors.AsType[*brokenError](err); broken {
		_ = l.main.Close() // so that the others do not wait for storage, too
		return
	}
	l.main.conn.interrupt()
}

// guarded makes an error of a panic, as the session's does.
func (l *lane) guarded(run func() (reply, error)) (r reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.enc.End() // there may be half a response
			err = l.main.panicked(p)
		}
	}()
	return run()
}

// panicked logs a panic and gives the error that ends the session: a bug in one must not end the others.
func (s *session) panicked(p any) error {
	s.Log.Error("session panicked", "session", s.id, "panic", p, "stack", string(debug.Stack()))
	return &byeError{"SERVERBUG", fmt.Sprintf("internal error (session %s)", s.id)}
}
