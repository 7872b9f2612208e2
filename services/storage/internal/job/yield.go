package job

import (
	"context"
	"time"
)

// Yield lets deliveries go before work that can wait: it looks every step whether they are busy still, and at most so many times. busy may be nil.
func Yield(ctx context.Context, busy func() bool, step time.Duration, times int) error {
	if busy == nil {
		return nil
	}
	for range times {
		if !busy() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
	}
	return nil
}
