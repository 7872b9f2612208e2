package reclaim

import (
	"context"
	"fmt"
	"time"

	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// OrphanAge is how old an object without a row must be to be deleted: far older than any write that may still commit.
const OrphanAge = 24 * time.Hour

// sweepPage is how many objects are looked up together.
const sweepPage = 1000

// Sweep deletes objects that are old and have no row. Those older than the database are left alone: it never had a row of them, as
// where the database was lost and a new one made.
func (r *Reclaimer) Sweep(ctx context.Context) error { return r.sweep(ctx, &job.Round{}) }

// sweep goes on where the round before was cut off.
func (r *Reclaimer) sweep(ctx context.Context, round *job.Round) error {
	begin, err := r.Meta.Created(ctx)
	if err != nil {
		return fmt.Errorf("find age of database: %w", err)
	}
	s := sweeper{Reclaimer: r, begin: begin, before: r.Now().Add(-OrphanAge)}
	for info, err := range r.Objects.List(ctx, body.KeyPrefix, round.Position()) {
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		made, err := body.ObjectTime(info.Key)
		if err != nil {
			continue // not ours
		}
		if made.After(s.before) {
			continue // its transaction may still commit
		}
		s.page = append(s.page, sweepable{info, made})
		if len(s.page) < sweepPage {
			continue
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
		round.Reach(info.Key)
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	round.Reach("")
	if s.older > 0 {
		r.Log.Warn("objects older than the database are not known to it and are kept: was the database lost?", "count", s.older)
	}
	return nil
}

type sweepable struct {
	object.Info
	made time.Time
}

type sweeper struct {
	*Reclaimer
	begin, before time.Time
	page          []sweepable
	older         int
}

// flush deletes what is unknown of the page. No row can come for it any more, so nothing races with the lookup.
func (s *sweeper) flush(ctx context.Context) error {
	keys := make([]string, len(s.page))
	for i, o := range s.page {
		keys[i] = o.Key
	}
	known, err := s.Meta.KnownObjects(ctx, keys)
	if err != nil {
		return fmt.Errorf("find objects: %w", err)
	}
	for _, o := range s.page {
		if known[o.Key] {
			continue
		}
		if o.made.Before(s.begin) {
			s.older++
			continue
		}
		if err := s.Objects.Delete(ctx, o.Key); err != nil {
			return fmt.Errorf("delete orphan: %w", err)
		}
		s.orphans.Inc()
		s.Log.Info("orphan object deleted", "object", o.Key, "octets", o.Size)
	}
	s.page = s.page[:0]
	return nil
}
