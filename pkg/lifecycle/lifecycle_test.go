package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// journal records what happens in order.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) add(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

func (j *journal) component(name string, takes time.Duration) Component {
	return Component{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		j.add(name + " told")
		time.Sleep(takes)
		j.add(name + " gone")
		return ctx.Err()
	}}
}

func TestStopsInReverseOrderAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		drain := Readiness(func() { j.add("not ready") }, 3*time.Second)
		err := Run(ctx, slog.New(slog.DiscardHandler), j.component("storage", 0), j.component("imap", time.Minute), drain)
		if err != nil {
			t.Error(err)
		}
		want := []string{"not ready", "imap told", "imap gone", "storage told", "storage gone"}
		if !slices.Equal(j.events, want) {
			t.Errorf("got %v", j.events)
		}
	})
}

func TestFirstFailureStopsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		broken := errors.New("disk on fire")
		fail := Component{Name: "fail", Run: func(context.Context) error {
			time.Sleep(time.Second)
			return broken
		}}
		once := Component{Name: "once", Run: func(context.Context) error { return nil }}
		err := Run(t.Context(), slog.New(slog.DiscardHandler), j.component("a", 0), once, fail, j.component("b", 0))
		if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "fail: ") {
			t.Errorf("got %v", err)
		}
		if want := []string{"b told", "b gone", "a told", "a gone"}; !slices.Equal(j.events, want) {
			t.Errorf("got %v", j.events)
		}
	})
}

func TestFailuresWhileStoppingAreJoined(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failing := func(name string) Component {
		return Component{Name: name, Run: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("cannot flush")
		}}
	}
	panicking := Component{Name: "p", Run: func(context.Context) error { panic("at the disco") }}
	err := Run(ctx, slog.New(slog.DiscardHandler), failing("a"), failing("b"), panicking)
	for _, want := range []string{"a: cannot flush", "b: cannot flush", "p: panic: at the disco"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in %v", want, err)
		}
	}
}

func TestSignalContext(t *testing.T) {
	ctx, stop := SignalContext(t.Context())
	defer stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-t.Context().Done():
		t.Error("the signal did not cancel the context")
	}
}
