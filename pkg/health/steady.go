package health

import (
	"fmt"
	"sync"
	"time"
)

// Steady is a check of something that comes and goes, such as another service: it fails only when that has been away for a grace period, and succeeds
// again only when it has been back for a settling time. Before it was there for the first time the check fails.
type Steady struct {
	checks        *Checks
	name          string
	grace, settle time.Duration

	mu    sync.Mutex
	state error       // what was told last
	begun bool        // something was told
	good  bool        // what the check says
	timer *time.Timer // until it says otherwise; nil: it need not
}

// NewSteady makes a check of a name, which fails until Tell(nil).
func (c *Checks) NewSteady(name string, grace, settle time.Duration) *Steady {
	c.Set(name, errPending)
	return &Steady{checks: c, name: name, grace: grace, settle: settle}
}

// Tell says how it is now; nil is well.
func (s *Steady) Tell(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.begun
	changed := first || (s.state == nil) != (err == nil)
	s.state, s.begun = err, true
	switch {
	case first:
		s.good = err == nil
		s.checks.Set(s.name, err)
	case !changed: // goes on, or waits for the timer
		if !s.good && err != nil && s.timer == nil {
			s.checks.Set(s.name, err)
		}
	case err == nil && s.good:
		s.stop()
		s.checks.Set(s.name, nil)
	case err == nil:
		s.after(s.settle, func() {
			s.good = true
			s.checks.Set(s.name, nil)
		})
	case s.good:
		s.checks.Note(s.name, fmt.Sprintf("%v since %s; not ready if that lasts for %v", err, time.Now().UTC().Format(time.RFC3339), s.grace))
		s.after(s.grace, func() {
			s.good = false
			s.checks.Set(s.name, fmt.Errorf("%w, for more than %v", s.state, s.grace))
		})
	default:
		s.stop()
		s.checks.Set(s.name, err)
	}
}

// after calls then in a while, unless something is told meanwhile that changes the matter.
func (s *Steady) after(wait time.Duration, then func()) {
	s.stop()
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == timer {
			s.timer = nil
			then()
		}
	})
	s.timer = timer
}

func (s *Steady) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
