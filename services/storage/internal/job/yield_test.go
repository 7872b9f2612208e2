package job

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			busy int // how often it is busy
			want time.Duration
		}{{0, 0}, {1, time.Second}, {3, 3 * time.Second}, {100, 5 * time.Second}} {
			begin, asked := time.Now(), 0
			err := Yield(t.Context(), func() bool { asked++; return asked <= c.busy }, time.Second, 5)
			if got := time.Since(begin); err != nil || got != c.want {
				t.Errorf("busy %d times: waited %v, %v", c.busy, got, err)
			}
		}
		if err := Yield(t.Context(), nil, time.Second, 5); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Yield(ctx, func() bool { return true }, time.Hour, 5); !errors.Is(err, context.Canceled) {
			t.Errorf("a wait that is given up: %v", err)
		}
	})
}
