// Package reclaim takes back what nobody needs: deleted messages whose time to be restored is over, objects without a live
// body, and bodies that a crash left without a row.
package reclaim

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

const (
	purgeEvery = time.Minute
	sweepEvery = 6 * time.Hour
	// orphanAge is how old an object without a row must be: far older than any write that may still commit.
	orphanAge = 24 * time.Hour
	// objectsAtOnce bounds the objects of one round of deletion.
	objectsAtOnce = 100
)

// Reclaimer is the loop that reclaims.
type Reclaimer struct {
	meta    *meta.Store
	objects object.Store
	now     func() time.Time
	log     *slog.Logger

	purged, deleted, orphans prometheus.Counter
	bytes                    *prometheus.GaugeVec
	count                    prometheus.Gauge
}

// New makes a Reclaimer. reg may be nil.
func New(store *meta.Store, objects object.Store, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) *Reclaimer {
	counter := func(name, help string) prometheus.Counter {
		return telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &Reclaimer{
		meta: store, objects: objects, now: now, log: log,
		purged:  counter("yubin_storage_purged_messages_total", "Deleted messages whose time to be restored was over."),
		deleted: counter("yubin_storage_reclaimed_objects_total", "Objects deleted because nothing in them was alive."),
		orphans: counter("yubin_storage_orphan_objects_total", "Objects deleted because a crash had left them without a row."),
		bytes: telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yubin_storage_body_bytes", Help: "Stored octets of bodies by state: live or dead.",
		}, []string{"state"})),
		count: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_body_objects", Help: "Objects that hold bodies.",
		})),
	}
}

// Run reclaims until ctx ends. A failure is logged and tried again.
func (r *Reclaimer) Run(ctx context.Context) error {
	purge, sweep := time.NewTicker(purgeEvery), time.NewTicker(sweepEvery)
	defer purge.Stop()
	defer sweep.Stop()
	r.try(ctx, "purge", r.Purge)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-purge.C:
			r.try(ctx, "purge", r.Purge)
		case <-sweep.C:
			r.try(ctx, "sweep", r.Sweep)
		}
	}
}

func (r *Reclaimer) try(ctx context.Context, what string, fn func(context.Context) error) {
	if err := fn(ctx); err != nil && ctx.Err() == nil {
		r.log.Warn("could not reclaim storage, will try again", "step", what, "error", err)
	}
}

// Purge goes on with the purge of accounts, removes expired messages, forgets old deliveries and deletes dead objects.
func (r *Reclaimer) Purge(ctx context.Context) error {
	accounts, err := r.meta.UnfinishedPurges(ctx)
	if err != nil {
		return fmt.Errorf("find unfinished purges: %w", err)
	}
	for _, account := range accounts {
		if _, err := r.meta.PurgeAccount(ctx, account); err != nil {
			return fmt.Errorf("purge account: %w", err)
		}
	}
	for more := true; more; {
		var n int
		var err error
		if n, more, err = r.meta.PurgeExpired(ctx); err != nil {
			return fmt.Errorf("purge expired messages: %w", err)
		}
		r.purged.Add(float64(n))
	}
	for more := true; more; {
		var err error
		if more, err = r.meta.ForgetDeliveries(ctx); err != nil {
			return fmt.Errorf("forget deliveries: %w", err)
		}
	}
	if err := r.deleteDead(ctx); err != nil {
		return err
	}
	total, live, objects, err := r.meta.ObjectBytes(ctx)
	if err != nil {
		return fmt.Errorf("add up objects: %w", err)
	}
	r.bytes.WithLabelValues("live").Set(float64(live))
	r.bytes.WithLabelValues("dead").Set(float64(total - live))
	r.count.Set(float64(objects))
	return nil
}

// deleteDead deletes objects first and their rows after, so that none is forgotten. One that cannot be deleted does not keep
// the others of its round.
func (r *Reclaimer) deleteDead(ctx context.Context) error {
	for {
		keys, err := r.meta.DeadObjects(ctx, objectsAtOnce)
		if err != nil {
			return fmt.Errorf("find dead objects: %w", err)
		}
		var gone []string
		var failed error
		for _, key := range keys {
			if err := r.objects.Delete(ctx, key); err != nil {
				failed = fmt.Errorf("delete dead object: %w", err)
				continue
			}
			gone = append(gone, key)
			r.deleted.Inc()
		}
		if len(gone) > 0 {
			if err := r.meta.ForgetObjects(ctx, gone); err != nil {
				return fmt.Errorf("forget dead objects: %w", err)
			}
		}
		if failed != nil || len(keys) < objectsAtOnce {
			return failed
		}
	}
}

// Sweep deletes objects that are old and have no row. Those older than the database are left alone: it never had a row of them, as
// where the database was lost and a new one made.
func (r *Reclaimer) Sweep(ctx context.Context) error {
	before := r.now().Add(-orphanAge)
	begin, err := r.meta.Created(ctx)
	if err != nil {
		return fmt.Errorf("find age of database: %w", err)
	}
	older := 0
	defer func() {
		if older > 0 {
			r.log.Warn("objects older than the database are not known to it and are kept: was the database lost?", "count", older)
		}
	}()
	for info, err := range r.objects.List(ctx, body.KeyPrefix, "") {
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		made, err := body.ObjectTime(info.Key)
		if err != nil || made.After(before) {
			continue // not ours, or its transaction may still commit
		}
		known, err := r.meta.KnowsObject(ctx, info.Key)
		if err != nil {
			return fmt.Errorf("find object: %w", err)
		}
		if known {
			continue
		}
		if made.Before(begin) {
			older++
			continue
		}
		if err := r.objects.Delete(ctx, info.Key); err != nil {
			return fmt.Errorf("delete orphan: %w", err)
		}
		r.orphans.Inc()
		r.log.Info("orphan object deleted", "object", info.Key)
	}
	return nil
}
