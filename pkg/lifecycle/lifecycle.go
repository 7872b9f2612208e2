// Package lifecycle starts the components of a process and stops them in order.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// Component is a part of a process that runs until its context is cancelled.
type Component struct {
	Name string
	// Run works until ctx is cancelled, then finishes what it must and returns. To return an
	// error ends the process; to return nil earlier says that the component is done.
	Run func(ctx context.Context) error
}

// Run starts the components in order and waits for ctx, or for the first that fails. Then it
// stops them in reverse order and awaits each before it cancels the next: what is listed last
// (a gateway) drains first, while what it needs (listed before it) still serves. It returns the
// failures joined, nil if there were none.
func Run(ctx context.Context, log *slog.Logger, components ...Component) error {
	failed := make(chan struct{}, len(components))
	started := make([]*running, 0, len(components))
	for _, c := range components {
		started = append(started, start(ctx, c, failed))
	}
	select {
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	case <-failed:
	}
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		r, begun := started[i], time.Now()
		r.cancel()
		<-r.done
		if r.err != nil {
			log.Error("component failed", "component", r.name, "error", r.err)
			errs = append(errs, fmt.Errorf("%s: %w", r.name, r.err))
			continue
		}
		log.Debug("component stopped", "component", r.name, "seconds", time.Since(begun).Seconds())
	}
	return errors.Join(errs...)
}

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed
}

// start gives the component a context of its own that outlives ctx, because
// the order of stopping is Run's to choose.
func start(ctx context.Context, c Component, failed chan<- struct{}) *running {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: c.Name, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		err := guarded(own, c.Run)
		if own.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // it was told to stop, and says so
		}
		if r.err = err; err != nil {
			failed <- struct{}{}
		}
	}()
	return r
}

// guarded makes an error of a panic, so that the other components still stop in order.
func guarded(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return run(ctx)
}

// Readiness is the component to list last: when the process stops it calls drain, which makes readiness
// fail, and holds the others back for delay, so that load balancers stop sending new clients first.
func Readiness(drain func(), delay time.Duration) Component {
	return Component{Name: "readiness", Run: func(ctx context.Context) error {
		<-ctx.Done()
		drain()
		time.Sleep(delay)
		return nil
	}}
}

// SignalContext gives a context that SIGTERM or SIGINT cancels. A second signal has its default
// effect: it ends the process at once.
func SignalContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
