package view

import "sync/atomic"

// Signal tells one session that there is news. Signals that are not taken collapse into one.
type Signal struct {
	pending chan struct{}
	wake    atomic.Pointer[func()]
}

func newSignal() *Signal { return &Signal{pending: make(chan struct{}, 1)} }

// Changed gets a signal when there is news.
func (s *Signal) Changed() <-chan struct{} { return s.pending }

// Take takes a signal, if there is one.
func (s *Signal) Take() bool {
	select {
	case <-s.pending:
		return true
	default:
		return false
	}
}

// Wake has fn called, which must not block, by every signal from now on, at once if one waits; nil ends that. So that a session can wait for its client
// and for news with one goroutine. fn may still be called once after the end.
func (s *Signal) Wake(fn func()) {
	if fn == nil {
		s.wake.Store(nil)
		return
	}
	s.wake.Store(&fn)
	if len(s.pending) > 0 {
		fn()
	}
}

func (s *Signal) signal() {
	select {
	case s.pending <- struct{}{}:
	default: // it has not looked at the last signal yet
	}
	if fn := s.wake.Load(); fn != nil {
		(*fn)()
	}
}
