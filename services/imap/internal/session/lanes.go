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
// change, so that sequence numbers mean the same to all of them, and nothing is told that a FETCH in another lane could contradict.

// job is a command that only reads, with its arguments.
type job struct {
	// alone: with these arguments it changes something, and nothing may run beside it.
	alone bool
	// quick: it waits for nobody, and needs no goroutine.
	quick bool
	// prepare is called before run, perhaps more than once, by the goroutine that reads commands, and gives the claim. It may tell of
	// changes, and do more if the job is alone. nil: nothing is to do.
	prepare func(s *session) (claim, error)
	claim   claim // without prepare
	// run sends the untagged responses. s is the session, or that of a lane.
	run func(ctx context.Context, s *session) (reply, error)
}

// answers are kinds of responses that do not say which command they answer. Clients take them to be of the first that waits for one.
type answers uint8

const (
	answersSearch answers = 1 << iota
	answersSort
	answersThread
	answersList
	answersLsub
	answersStatus // of any mailbox
	answersQuota
	answersMetadata
)

// claim is what a command's responses are about. Commands with the same answers run one after the other, as a client could not tell
// whose they are.
type claim struct {
	answers answers
	// status is the mailbox of a STATUS.
	status string
	// messages are those of a FETCH.
	messages []span
}

func (c claim) meets(o claim) bool {
	if c.answers&o.answers != 0 || c.status != "" && (c.status == o.status || o.answers&answersStatus != 0) ||
		o.status != "" && c.answers&answersStatus != 0 {
		return true
	}
	return overlap(c.messages, o.messages)
}

// overlap tells whether ascending spans have messages in common.
func overlap(a, b []span) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].to <= b[0].from:
			a = a[1:]
		case b[0].to <= a[0].from:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

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
	switch {
	case err != nil:
		return reply{}, err
	case !beside:
		return j.run(ctx, s)
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
	return &session{Engine: s.Engine, id: s.id, remote: s.remote, profile: s.profile, tag: s.tag, enc: s.enc.Beside(), lanes: s.lanes}
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
	l.span.End(err)
	l.end(r, err)
}

// end sends the tagged response, behind what has changed if no other command runs.
func (l *lane) end(r reply, err error) {
	all := l.main.lanes
	all.mu.Lock()
	defer all.mu.Unlock()
	defer all.changed.Broadcast()
	all.running = slices.DeleteFunc(all.running, func(o *lane) bool { return o == l })
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
