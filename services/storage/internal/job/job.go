// Package job runs periodic work that one replica at a time does for all of them. A replica that dies is followed by another one when its
// lease has ended. The clocks of two replicas may differ, or one may stand still for long: then both may work at the same time, so the work
// itself must bear that.
package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

const (
	// lease is how long a job belongs to a replica that does not answer, renewEvery how often one that works renews it.
	lease      = time.Minute
	renewEvery = lease / 4
	// lookEvery is how often a replica looks for jobs that are due, at most.
	lookEvery = time.Minute
)

// ErrLost says that another replica has taken the job.
var ErrLost = errors.New("another replica has taken the job")

// ErrHeld says that another one does the job now.
var ErrHeld = errors.New("the job is being done already")

// Job is periodic work.
type Job struct {
	Name string
	// Every is the time from the end of one round to the next.
	Every time.Duration
	// Run does a round. Its context ends when the job is lost.
	Run func(ctx context.Context, r *Round) error
}

// Round is one run of a job.
type Round struct {
	store *meta.Store
	job   meta.Job

	mu       sync.Mutex
	position string
}

// Position is where the round before was cut off, "" if it came to its end.
func (r *Round) Position() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position
}

// Reach notes how far the round has come; it is stored with the next renewal of the lease, and at the end. A round that has come to its end
// reaches "".
func (r *Round) Reach(position string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position = position
}

// Runner runs jobs.
type Runner struct {
	store *meta.Store
	log   *slog.Logger
	// Holder names this replica, for as long as it runs.
	Holder string
}

// NewRunner makes a Runner.
func NewRunner(store *meta.Store, log *slog.Logger) *Runner {
	return &Runner{store: store, log: log, Holder: uuid.NewString()}
}

// Run does jobs, each when it is due, until ctx ends. A failure is logged, and tried again.
func (r *Runner) Run(ctx context.Context, jobs ...Job) error {
	var all sync.WaitGroup
	for _, j := range jobs {
		all.Go(func() { r.loop(ctx, j) })
	}
	all.Wait()
	return nil
}

func (r *Runner) loop(ctx context.Context, j Job) {
	look := time.NewTicker(min(j.Every, lookEvery))
	defer look.Stop()
	for {
		if err := r.Once(ctx, j, false); err != nil && !errors.Is(err, ErrHeld) && ctx.Err() == nil {
			r.log.Warn("job failed, will try again", "job", j.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// Once does a job if it is due, or, with now, in any case: then ErrHeld says that another one is at it.
func (r *Runner) Once(ctx context.Context, j Job, now bool) error {
	// A holder of its own for each round, so that two of this replica do not take each other's for theirs.
	held := meta.Job{Name: j.Name, Holder: r.Holder + "/" + uuid.NewString()[:8], Lease: lease}
	position, ok, err := r.store.TakeJob(ctx, held, now)
	if err != nil {
		return fmt.Errorf("take job: %w", err)
	}
	if !ok {
		if now {
			return ErrHeld
		}
		return nil
	}
	round := &Round{store: r.store, job: held, position: position}
	working, stop := context.WithCancelCause(ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() { round.renew(working, stop) })
	err = j.Run(working, round)
	if cause := context.Cause(working); errors.Is(cause, ErrLost) {
		err = cause
	}
	stop(nil)
	renewal.Wait()
	if errors.Is(err, ErrLost) {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewEvery)
	defer cancel()
	next := j.Every
	if err != nil { // what failed is tried again soon
		next = min(j.Every, lookEvery)
	}
	if ctx.Err() != nil { // what was cut off goes on elsewhere
		next = 0
	}
	return errors.Join(err, r.store.EndJob(last, held, round.Position(), next))
}

func (r *Round) renew(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ok, err := r.store.KeepJob(ctx, r.job, r.Position())
		switch {
		case err == nil && ok:
			failed = 0
		case err == nil:
			stop(ErrLost)
			return
		default: // the lease is nearly over
			if failed++; failed*int(renewEvery) >= int(lease-renewEvery) {
				stop(ErrLost)
				return
			}
		}
	}
}
