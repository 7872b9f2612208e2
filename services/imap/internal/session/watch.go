package session

import (
	"context"
	"errors"
	"time"

	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// watch waits until the client sends something or a time has come, as wait does, and tells meanwhile what happens: in the selected mailbox, if that
// is wanted, with or without expunges, and what NOTIFY asks for.
func (s *session) watch(ctx context.Context, until time.Time, selected, expunge bool) error {
	var news, others *view.Signal
	w := s.waiter(until)
	if selected {
		news = s.box.view.Signal
		news.Wake(w.nudge)
	}
	if s.notify != nil {
		others = s.notify.follow.Signal
		others.Wake(w.nudge)
	}
	err := s.tellNews(ctx, w, news, others, expunge)
	if errors.Is(err, errQuiet) {
		return err // signals nudge the session out of its rest, too
	}
	if news != nil {
		news.Wake(nil)
	}
	if others != nil {
		others.Wake(nil)
	}
	return err
}

// tellNews is watch, while news and others, which may be nil, nudge the waiter.
func (s *session) tellNews(ctx context.Context, w waiter, news, others *view.Signal, expunge bool) error {
	for {
		err := w.wait()
		if !errors.Is(err, errNudged) {
			return s.waited(err)
		}
		if err = nil; news != nil && news.Take() {
			err = s.tellWith(ctx, expunge, false)
		}
		if err == nil && others != nil && others.Take() {
			if s.look(ctx); s.notify == nil { // it was too much
				others = nil
			}
		}
		if flushErr := s.enc.Flush(); err == nil && flushErr != nil {
			err = &brokenError{flushErr}
		}
		if err != nil {
			w.stop()
			return err
		}
	}
}

// waiter waits for the client. nudge, which anybody may call, has wait return errNudged, after which it may be called again; stop ends a wait for good.
type waiter struct {
	wait        func() error
	nudge, stop func()
}

// waiter needs no goroutine of its own, as an idle session should take little memory. But an inflater does not survive that a read fails, so that
// one that is compressed has it.
func (s *session) waiter(until time.Time) waiter {
	if !s.compressed {
		s.conn.watch(until)
		return waiter{wait: s.dec.Wait, nudge: s.conn.nudge, stop: func() {}}
	}
	s.conn.await(until, false)
	var result error // when it has arrived
	arrived, nudged := make(chan struct{}), make(chan struct{}, 1)
	go func() {
		result = s.dec.Wait()
		close(arrived)
	}()
	return waiter{
		wait: func() error {
			select {
			case <-arrived:
				return result
			case <-nudged:
				return errNudged
			}
		},
		nudge: func() {
			select {
			case nudged <- struct{}{}:
			default:
			}
		},
		stop: func() {
			s.conn.interrupt()
			<-arrived // the decoder has one user at a time
		},
	}
}
