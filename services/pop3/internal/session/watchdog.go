package session

import (
	"context"
	"time"
)

// watchdog ends a stream whose other side is silent for too long while something is expected of it. The time that a
// slow client takes does not count.
type watchdog struct {
	timer   *time.Timer
	timeout time.Duration
	cancel  context.CancelFunc
}

// newWatchdog gives a context for a stream from which something is expected now. It must be ended.
func newWatchdog(ctx context.Context, timeout time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &watchdog{timer: time.AfterFunc(timeout, cancel), timeout: timeout, cancel: cancel}
}

func (w *watchdog) expect() { w.timer.Reset(w.timeout) }

func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel()
}
