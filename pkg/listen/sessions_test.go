package listen

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// visitor is a session that leaves a while after it was asked, or never.
type visitor struct {
	stays  time.Duration // negative: until it is closed
	start  time.Time
	remove func()

	mu     sync.Mutex
	asked  []time.Duration
	reason string
	closed bool
}

func (v *visitor) Leave(reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked, v.reason = append(v.asked, time.Since(v.start)), reason
	if v.stays >= 0 {
		time.AfterFunc(v.stays, v.remove)
	}
}

func (v *visitor) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.remove()
	return nil
}

func visitors(s *Sessions, n int, stays time.Duration) []*visitor {
	out := make([]*visitor, n)
	for i := range out {
		out[i] = &visitor{stays: stays, start: time.Now()}
		out[i].remove = s.Add(out[i])
	}
	return out
}

func TestDrainSpreadsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSessions()
		all := visitors(s, 10, time.Second)
		begun := time.Now()
		if forced := s.Drain(t.Context(), 20*time.Second, "shutting down"); forced != 0 || s.Len() != 0 {
			t.Errorf("%d forced, %d left", forced, s.Len())
		}
		if took := time.Since(begun); took != 19*time.Second { // the tenth is asked at 18 s and stays for one
			t.Errorf("took %v", took)
		}
		seen := map[time.Duration]int{}
		for _, v := range all {
			if len(v.asked) != 1 || v.reason != "shutting down" || v.closed {
				t.Errorf("asked %v, %q, closed %v", v.asked, v.reason, v.closed)
				continue
			}
			seen[v.asked[0]]++
		}
		for i := range 10 {
			if at := time.Duration(i) * 2 * time.Second; seen[at] != 1 {
				t.Errorf("%d sessions were asked at %v", seen[at], at)
			}
		}
	})
}

func TestDrainClosesWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSessions()
		stubborn := visitors(s, 3, -1)
		visitors(s, 2, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		if forced := s.Drain(ctx, 0, "x"); forced != 3 || s.Len() != 0 || time.Since(begun) != time.Minute {
			t.Errorf("%d forced, %d left after %v", forced, s.Len(), time.Since(begun))
		}
		for _, v := range stubborn {
			if len(v.asked) != 1 || !v.closed {
				t.Errorf("asked %v, closed %v", v.asked, v.closed)
			}
		}
	})
}

func TestDrainEndsInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSessions()
		all := visitors(s, 4, -1)
		time.AfterFunc(time.Second, func() {
			for _, v := range all {
				v.remove()
				v.remove() // more than once does no harm
			}
		})
		begun := time.Now()
		if forced := s.Drain(t.Context(), time.Hour, "x"); forced != 0 || time.Since(begun) != time.Second {
			t.Errorf("%d forced after %v", forced, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s = NewSessions()
		visitors(s, 2, -1)
		if forced := s.Drain(ctx, time.Hour, "x"); forced != 2 {
			t.Errorf("%d forced when the grace period ends in the window", forced)
		}
	})
}

func TestSessionThatComesDuringADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSessions()
		visitors(s, 1, time.Minute)
		done := make(chan int)
		go func() { done <- s.Drain(t.Context(), 0, "x") }()
		synctest.Wait()
		late := &visitor{stays: -1, start: time.Now()}
		late.remove = s.Add(late)
		if len(late.asked) != 1 || late.reason != "x" {
			t.Errorf("asked %v", late.asked)
		}
		late.remove()
		if forced := <-done; forced != 0 {
			t.Errorf("%d forced", forced)
		}
	})
}
