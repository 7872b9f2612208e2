//go:build kube

package kube

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// idlers are mail programs that wait for mail, and connect again when they are asked to.
type idlers struct {
	mu    sync.Mutex
	asked []time.Time // when BYE came
	wrong []error
	now   int
	stop  func()
}

// startIdlers has so many sessions in IDLE. Each that is asked to leave comes back at once.
func (r *release) startIdlers(t *testing.T, several int) *idlers {
	t.Helper()
	i := &idlers{}
	addr, config, done := r.port("imap", "imaps"), r.tls(t), make(chan struct{})
	var running sync.WaitGroup
	for range several {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				w, err := dialIMAP(addr, config, alice)
				if err != nil {
					i.ended(err)
					time.Sleep(50 * time.Millisecond)
					continue
				}
				i.ended(i.idle(w, done))
				w.close()
			}
		})
	}
	i.stop = sync.OnceFunc(func() {
		close(done)
		running.Wait()
	})
	t.Cleanup(i.stop)
	i.wait(t, several)
	return i
}

// wait until so many are in IDLE.
func (i *idlers) wait(t *testing.T, several int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		i.mu.Lock()
		now, wrong := i.now, i.wrong
		i.mu.Unlock()
		if now == several {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("only %d sessions are in IDLE: %v", now, wrong)
		}
	}
}

// idle waits in IDLE until the server says BYE, or the test is over.
func (i *idlers) idle(w *wire, done <-chan struct{}) error {
	if _, err := w.imap("SELECT INBOX"); err != nil {
		return err
	}
	w.send("idle IDLE\r\n")
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-done:
			w.close()
		case <-over:
		}
	}()
	for {
		line, err := w.line()
		switch {
		case err != nil:
			select {
			case <-done:
				return nil
			default:
				return err
			}
		case strings.HasPrefix(line, "+"):
			i.mu.Lock()
			i.now++
			i.mu.Unlock()
			defer func() {
				i.mu.Lock()
				defer i.mu.Unlock()
				i.now--
			}()
		case strings.HasPrefix(line, "* BYE"):
			return errAsked
		}
	}
}

func (i *idlers) ended(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, errAsked):
		i.asked = append(i.asked, time.Now())
	default:
		i.wrong = append(i.wrong, err)
	}
}

// left tells how often BYE came, and from the first to the last, and forgets it.
func (i *idlers) left(t *testing.T) (times int, over time.Duration) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.wrong) > 0 {
		t.Errorf("sessions in IDLE ended otherwise than by BYE: %v", i.wrong)
	}
	if times = len(i.asked); times > 0 {
		over = slices.MaxFunc(i.asked, time.Time.Compare).Sub(slices.MinFunc(i.asked, time.Time.Compare))
	}
	i.asked = nil
	return times, over
}
