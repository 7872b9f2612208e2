package listen

import (
	"context"
	"sync"
	"time"
)

// Session is one client's session on a gateway.
type Session interface {
	// Leave asks the session to end at the next point where nothing is lost: between commands, or in IDLE. It must
	// not block, and is called at most once.
	Leave(reason string)
	// Close ends the session now. What it had not acknowledged did not happen.
	Close() error
}

// Sessions is the register of open sessions, for draining. Make it with NewSessions.
type Sessions struct {
	mu       sync.Mutex
	open     map[*entry]struct{}
	draining bool
	reason   string
	changed  chan struct{} // closed and replaced when a session has gone
}

type entry struct {
	session Session
	asked   bool
}

// NewSessions makes an empty register.
func NewSessions() *Sessions {
	return &Sessions{open: map[*entry]struct{}{}, changed: make(chan struct{})}
}

// Add registers a session; the caller calls remove when it has ended. A session that comes during a drain is asked to leave at once.
func (s *Sessions) Add(session Session) (remove func()) {
	e := &entry{session: session}
	s.mu.Lock()
	s.open[e] = struct{}{}
	late, reason := s.draining, s.reason
	e.asked = late
	s.mu.Unlock()
	if late {
		session.Leave(reason)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.open[e]; ok {
			delete(s.open, e)
			close(s.changed)
			s.changed = make(chan struct{})
		}
	}
}

// Len counts the open sessions.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Drain asks all sessions to leave, one after the other spread evenly over the window so that clients do not come back
// all at once, and waits until they have gone. When ctx ends it closes those that are left, and tells how many they were.
func (s *Sessions) Drain(ctx context.Context, window time.Duration, reason string) (forced int) {
	for i, leaving := 0, s.startDraining(reason); i < len(leaving); i++ {
		if i > 0 && !s.pace(ctx, window/time.Duration(len(leaving))) {
			break
		}
		s.ask(leaving[i], reason)
	}
	if s.waitEmpty(ctx) {
		return 0
	}
	left := s.entries()
	for _, e := range left {
		_ = e.session.Close()
	}
	return len(left)
}

// startDraining gives the sessions to ask, in no order.
func (s *Sessions) startDraining(reason string) []*entry {
	s.mu.Lock()
	s.draining, s.reason = true, reason
	s.mu.Unlock()
	return s.entries()
}

func (s *Sessions) entries() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*entry, 0, len(s.open))
	for e := range s.open {
		out = append(out, e)
	}
	return out
}

func (s *Sessions) ask(e *entry, reason string) {
	s.mu.Lock()
	_, open := s.open[e]
	skip := !open || e.asked
	e.asked = true
	s.mu.Unlock()
	if !skip {
		e.session.Leave(reason)
	}
}

// pace waits for the next session's turn. It is false if ctx has ended or all sessions have gone.
func (s *Sessions) pace(ctx context.Context, interval time.Duration) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		s.mu.Lock()
		changed, empty := s.changed, len(s.open) == 0
		s.mu.Unlock()
		if empty {
			return false
		}
		select {
		case <-timer.C:
			return true
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (s *Sessions) waitEmpty(ctx context.Context) bool {
	for {
		s.mu.Lock()
		changed, empty := s.changed, len(s.open) == 0
		s.mu.Unlock()
		if empty {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
