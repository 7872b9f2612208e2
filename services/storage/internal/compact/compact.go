// Package compact rewrites packs: those that are mostly dead, so that the object store holds little more than what is alive, and small ones,
// as a lone sender makes one object a mail. The live frames come out by account.
//
// Several replicas work at the same time, each on packs that it has claimed. A frame is copied as it is, after every octet of it was
// verified; one that cannot be read stays where it is, and with it its pack. Body first, metadata second, as for a delivery: the new pack is
// announced, written, and then the contents are pointed to it in bounded transactions. A crash at any point leaves each content at a
// place where its body lies; what was written for nothing is deleted when its announcement ends. Old packs are deleted when nothing in them
// is alive, which package reclaim does.
package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

const (
	// lookEvery is how often a replica looks for work when there was none.
	lookEvery = time.Minute
	// lease is how long claimed packs belong to a replica that does not answer; a unit of work ends well before.
	lease    = 30 * time.Minute
	unitTime = 25 * time.Minute
	// lastWord bounds what is yet to be said when a unit has ended.
	lastWord = 10 * time.Second
	// packsAtOnce bounds the packs of one unit.
	packsAtOnce = 500
	// smallAge is how old a small pack is merged, smallCount how many of one size it takes.
	smallAge   = 5 * time.Minute
	smallCount = 8
	// busyPause is how long work waits for deliveries to become fewer, for each step.
	busyPause = 500 * time.Millisecond
	busyStep  = 20 * time.Millisecond
	// step is how much is copied at one go, in octets.
	step = 256 << 10
)

// MinRate is the slowest rate with which a unit of work ends in time, in octets a second.
const MinRate = 512 << 10

// Config of a Compactor. Zero numbers take the defaults.
type Config struct {
	Meta    *meta.Store
	Objects object.Store
	// PackBytes is about how large new packs are, in octets (32 MiB). A unit of work holds that much in memory.
	PackBytes int64
	// Rate bounds the octets read and written a second (16 MiB).
	Rate int64
	// Busy tells that deliveries wait: then work goes slower. May be nil.
	Busy func() bool
	// Admit tells whether so many octets may be written. May be nil.
	Admit func(octets int64) error
	// MakeRoom deletes objects that are dead without any grace, for when Admit refuses. May be nil.
	MakeRoom   func(context.Context) error
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Compactor rewrites packs.
type Compactor struct {
	Config
	limit *rate.Limiter

	packs   *prometheus.CounterVec
	bytes   prometheus.Counter
	frames  prometheus.Counter
	damaged prometheus.Counter
}

// New makes a Compactor.
func New(cfg Config) *Compactor {
	cfg.PackBytes = cmp.Or(cfg.PackBytes, 32<<20)
	cfg.Rate = cmp.Or(cfg.Rate, 16<<20)
	counter := func(name, help string) prometheus.Counter {
		return telemetry.Register(cfg.Registerer, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &Compactor{
		Config: cfg, limit: rate.NewLimiter(rate.Limit(cfg.Rate), step),
		packs: telemetry.Zero(telemetry.Register(cfg.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_compaction_packs_total",
			Help: "Packs that were compacted, by why: dead or small; and those that had only their shares corrected: shared.",
		}, []string{"reason"})), "dead", "small", "shared"),
		bytes:   counter("yubin_storage_compaction_bytes_total", "Octets of frames that were copied into new packs."),
		frames:  counter("yubin_storage_compaction_frames_total", "Frames that were copied into new packs."),
		damaged: counter("yubin_storage_compaction_damaged_frames_total", "Frames found that cannot be read; they stay where they are."),
	}
}

// Run compacts until ctx ends. A failure is logged and tried again.
func (c *Compactor) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if _, err := c.Pass(ctx, Options{}, nil); err != nil && ctx.Err() == nil {
			c.Log.Warn("could not compact, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Options of a pass.
type Options struct {
	// Now compacts at full speed and merges small packs whatever their age, two being enough.
	Now bool
}

// Totals say what was done.
type Totals struct {
	// Packs that were rewritten, and New ones that took their place.
	Packs, New int
	// Shared are packs that only had their shares corrected.
	Shared int
	Frames int
	// Bytes of frames that were copied, Freed of packs in which nothing is left, in octets.
	Bytes, Freed int64
	// Damaged frames.
	Damaged int
}

func (t *Totals) add(o Totals) {
	t.Packs += o.Packs
	t.New += o.New
	t.Shared += o.Shared
	t.Frames += o.Frames
	t.Bytes += o.Bytes
	t.Freed += o.Freed
	t.Damaged += o.Damaged
}

// Pass compacts until there is nothing left to do, and calls step, if it is set, after each unit of work with what was done so far. An
// error of step ends the pass.
func (c *Compactor) Pass(ctx context.Context, o Options, step func(Totals) error) (Totals, error) {
	var total Totals
	for {
		done, more, err := c.unit(ctx, o)
		total.add(done)
		if err != nil || !more {
			return total, err
		}
		if step != nil {
			if err := step(total); err != nil {
				return total, err
			}
		}
	}
}

// unit does what one claim gives; more is false if there was nothing to do.
func (c *Compactor) unit(ctx context.Context, o Options) (done Totals, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, unitTime)
	defer cancel()
	claim := meta.PackClaim{
		Holder: uuid.NewString(), Lease: lease, Bytes: c.PackBytes, Packs: packsAtOnce, SmallAge: smallAge, SmallCount: smallCount,
	}
	if o.Now {
		claim.SmallAge, claim.SmallCount = 0, 2
	}
	packs, err := c.Meta.ClaimPacks(ctx, claim)
	if err != nil {
		return done, false, fmt.Errorf("claim packs: %w", err)
	}
	if len(packs) == 0 {
		return done, false, nil
	}
	w := &work{Compactor: c, holder: claim.Holder, packs: packs, urgent: o.Now}
	err = w.do(ctx)
	if err != nil && ctx.Err() == nil {
		return w.done, true, err // the claim ends by its time: so another pack has its turn before
	}
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancelLast()
	keys := []string{w.made}
	for _, p := range packs {
		keys = append(keys, p.Object)
	}
	return w.done, true, errors.Join(err, c.Meta.ReleasePacks(last, claim.Holder, keys, w.paused))
}

// pace waits until n octets may be copied, which are no more than step.
func (c *Compactor) pace(ctx context.Context, n int, urgent bool) error {
	if urgent {
		return ctx.Err()
	}
	if err := job.Yield(ctx, c.Busy, busyStep, int(busyPause/busyStep)); err != nil {
		return err
	}
	return c.limit.WaitN(ctx, n)
}
