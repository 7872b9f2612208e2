package session

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// INPROGRESS: RFC 9585. A client that waits for long hears that its command is being worked on, and how far it is if that is known.
func init() {
	register(extension{capabilities: []capability{{name: "INPROGRESS", when: whenLoggedIn}}})
}

// progressInterval is how often a client hears of progress if Limits.Progress is 0. RFC 9585 section 3 recommends 10 to 15 seconds.
const progressInterval = 10 * time.Second

// working makes a call that may take long, and tells the client meanwhile that it is being made.
func (s *session) working(call func() error) error {
	return s.workingAt(func() string { return " NIL NIL" }, call)
}

// workingAt is working where it is known how far the call is.
func (s *session) workingAt(state func() string, call func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil { // as in guarded
				s.Log.Error("call panicked", "session", s.id, "panic", p, "stack", string(debug.Stack()))
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- call()
	}()
	ticker := time.NewTicker(s.Limits.Progress)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			s.sendProgress(state())
		}
	}
}

// sendProgress tells of the command that runs. A connection that is broken shows when its answer is sent.
func (s *session) sendProgress(state string) {
	tag := `"` + s.tag + `"`
	if strings.Contains(tag, "]") { // it would end the code for clients that do not parse it
		tag = "NIL"
	}
	s.enc.Untagged(wire.StatusOK, "INPROGRESS ("+tag+state+")", "still working")
	_ = s.enc.Flush()
}

// counted is the state of work of which so much is done. What is done is always less than all (RFC 9585 section 4).
func counted(done, total uint64) string {
	if total == 0 {
		return " NIL NIL"
	}
	return fmt.Sprintf(" %d %d", min(done, total-1), total)
}

// progress tells of work that goes on step by step.
type progress struct {
	*session
	total int
	next  time.Time
}

func (s *session) progress(total int) *progress {
	return &progress{s, total, s.Now().Add(s.Limits.Progress)}
}

// at tells how much is done, if it is time, and not all.
func (p *progress) at(done int) {
	if now := p.Now(); done < p.total && !now.Before(p.next) {
		p.next = now.Add(p.Limits.Progress)
		p.sendProgress(counted(uint64(done), uint64(p.total)))
	}
}
