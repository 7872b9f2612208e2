// Package reclaim takes back what nobody needs: deleted messages whose time to be restored is over, objects without a live
// body, and bodies that a crash left without a row.
package reclaim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

const (
	purgeEvery  = time.Minute
	sweepEvery  = 6 * time.Hour
	gaugesEvery = time.Minute
	// gaugesRest is how many times as long as they took to add up the gauges stay as they are: millions of objects make them older, not dearer.
	gaugesRest = 50
	// objectsAtOnce bounds the objects of one round of deletion.
	objectsAtOnce = 100
)

// Config of a Reclaimer.
type Config struct {
	Meta    *meta.Store
	Objects object.Store
	Jobs    *job.Runner
	// Grace is how long an object stays after nothing in it is alive any more: for readers that know the place of a body that has moved
	// since, and for a backup, which copies the database first.
	Grace      time.Duration
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Reclaimer is the loops that reclaim.
type Reclaimer struct {
	Config
	purged, deleted, orphans prometheus.Counter
	bytes                    *prometheus.GaugeVec
	count                    prometheus.Gauge
}

// New makes a Reclaimer.
func New(cfg Config) *Reclaimer {
	counter := func(name, help string) prometheus.Counter {
		return telemetry.Register(cfg.Registerer, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &Reclaimer{
		Config:  cfg,
		purged:  counter("yubin_storage_purged_messages_total", "Deleted messages whose time to be restored was over."),
		deleted: counter("yubin_storage_reclaimed_objects_total", "Objects deleted because nothing in them was alive."),
		orphans: counter("yubin_storage_orphan_objects_total", "Objects deleted because a crash had left them without a row."),
		bytes: telemetry.Register(cfg.Registerer, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yubin_storage_body_bytes", Help: "Stored octets of bodies by state: live or dead.",
		}, []string{"state"})),
		count: telemetry.Register(cfg.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_body_objects", Help: "Objects that hold bodies.",
		})),
	}
}

// Run reclaims until ctx ends. A failure is logged and tried again. Of several replicas one does each job.
func (r *Reclaimer) Run(ctx context.Context) error {
	var measuring sync.WaitGroup
	measuring.Go(func() { r.measureLoop(ctx) })
	defer measuring.Wait()
	return r.Jobs.Run(ctx,
		job.Job{Name: "purge", Every: purgeEvery, Run: func(ctx context.Context, _ *job.Round) error { return r.Purge(ctx) }},
		job.Job{Name: "sweep", Every: sweepEvery, Run: func(ctx context.Context, round *job.Round) error { return r.sweep(ctx, round) }},
	)
}

// Purge goes on with the purge of accounts, removes expired messages, forgets old deliveries and deletes dead objects.
func (r *Reclaimer) Purge(ctx context.Context) error {
	accounts, err := r.Meta.UnfinishedPurges(ctx)
	if err != nil {
		return fmt.Errorf("find unfinished purges: %w", err)
	}
	for _, account := range accounts {
		if _, err := r.Meta.PurgeAccount(ctx, account); err != nil {
			return fmt.Errorf("purge account: %w", err)
		}
	}
	for more := true; more; {
		var n int
		var err error
		if n, more, err = r.Meta.PurgeExpired(ctx); err != nil {
			return fmt.Errorf("purge expired messages: %w", err)
		}
		r.purged.Add(float64(n))
	}
	for more := true; more; {
		var err error
		if more, err = r.Meta.ForgetDeliveries(ctx); err != nil {
			return fmt.Errorf("forget deliveries: %w", err)
		}
	}
	return r.DeleteDead(ctx, r.Grace)
}

// DeleteNow deletes what is dead without any grace.
func (r *Reclaimer) DeleteNow(ctx context.Context) error {
	if err := r.Meta.EndGrace(ctx); err != nil {
		return fmt.Errorf("end grace of dead objects: %w", err)
	}
	return r.DeleteDead(ctx, 0)
}

// DeleteDead deletes objects in which nothing has been alive for grace, and what was left of compactions. Their rows go after them, so that
// none is forgotten. One that cannot be deleted does not keep the others.
func (r *Reclaimer) DeleteDead(ctx context.Context, grace time.Duration) error {
	for more := true; more; {
		var err error
		if more, err = r.Meta.RetireDead(ctx, grace); err != nil {
			return fmt.Errorf("retire dead objects: %w", err)
		}
	}
	var failed error
	for after := ""; ; {
		keys, err := r.Meta.TakeLoose(ctx, after, objectsAtOnce)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("find objects to delete: %w", err))
		}
		var gone []string
		for _, key := range keys {
			after = key
			if err := r.Objects.Delete(ctx, key); err != nil {
				failed = fmt.Errorf("delete dead object: %w", err)
				continue
			}
			gone = append(gone, key)
			r.deleted.Inc()
		}
		if len(gone) > 0 {
			if err := r.Meta.ForgetLoose(ctx, gone); err != nil {
				return errors.Join(failed, fmt.Errorf("forget dead objects: %w", err))
			}
		}
		if len(keys) < objectsAtOnce {
			return failed
		}
	}
}

// measureLoop keeps the gauges.
func (r *Reclaimer) measureLoop(ctx context.Context) {
	for {
		begun := time.Now()
		if err := r.measure(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("could not add up the objects", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(gaugesEvery, gaugesRest*time.Since(begun))):
		}
	}
}

func (r *Reclaimer) measure(ctx context.Context) error {
	total, live, objects, err := r.Meta.ObjectBytes(ctx)
	if err != nil {
		return err
	}
	r.bytes.WithLabelValues("live").Set(float64(live))
	r.bytes.WithLabelValues("dead").Set(float64(total - live))
	r.count.Set(float64(objects))
	return nil
}
