package api

import (
	"context"
	"log/slog"
	"time"
)

// sweepEvery is how often expired reservations are returned. A refusal returns those of its account at once.
const sweepEvery = 15 * time.Second

// Sweep returns expired reservations until ctx ends.
func (s *Service) Sweep(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.expire(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "expired reservations not returned", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
