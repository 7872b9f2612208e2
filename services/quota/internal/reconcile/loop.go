package reconcile

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

const (
	// lookEvery is how often a replica looks whether a full reconciliation is due that no other has begun.
	lookEvery = time.Minute
	// lease is when another replica takes over from one that has gone silent in the middle.
	lease = 2 * time.Minute
)

// Loop reconciles all accounts once an interval, spread over half of it, in one replica of those on the database; and
// single accounts when Suspect names them.
type Loop struct {
	*Reconciler
	Interval time.Duration
	Repair   bool
	suspects chan string
	holder   string // this replica
}

// NewLoop makes a loop over a reconciler.
func NewLoop(r *Reconciler, interval time.Duration, repair bool) *Loop {
	return &Loop{Reconciler: r, Interval: interval, Repair: repair, suspects: make(chan string, 64), holder: rand.Text()}
}

// Suspect asks for an account to be compared soon: its events have a gap, which a ledger restored from a backup would show. It never
// blocks; what is dropped is found by the next full run.
func (l *Loop) Suspect(id string) {
	select {
	case l.suspects <- id:
	default:
	}
}

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	// The first look comes soon, so that the drift is known, but not in the rush of a start.
	every := min(l.Interval, lookEvery)
	next := time.NewTimer(every)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-l.suspects:
			if _, err := l.compare(ctx, id, l.Repair, true); err != nil && ctx.Err() == nil {
				l.Log.WarnContext(ctx, "account not reconciled", "account_id", id, "error", err)
			}
		case <-next.C:
			if err := l.Look(ctx); err != nil && ctx.Err() == nil {
				l.Log.WarnContext(ctx, "reconciliation cut short", "error", err)
			}
			next.Reset(every)
		}
	}
}

// Look runs a full reconciliation if it is this replica's turn, and shows what the last one found.
func (l *Loop) Look(ctx context.Context) error {
	mine, err := l.claim(ctx)
	if err != nil {
		return err
	}
	if !mine {
		return l.show(ctx)
	}
	if err = l.full(ctx); err != nil {
		// It is another's turn, also if this process is about to end.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err = errors.Join(err, l.Ledger.AbandonReconciliation(ending, l.holder))
	}
	return err
}

func (l *Loop) claim(ctx context.Context) (bool, error) {
	return l.Ledger.ClaimReconciliation(ctx, l.holder, l.Interval, lease)
}

var errTaken = errors.New("another replica has taken over")

func (l *Loop) full(ctx context.Context) error {
	n, err := l.Ledger.Count(ctx)
	if err != nil {
		return err
	}
	every := min(time.Second, l.Interval/2/time.Duration(n+1))
	claimed := time.Now()
	pause := func(ctx context.Context) error {
		if time.Since(claimed) > lease/4 {
			mine, err := l.claim(ctx)
			if err != nil {
				return err
			}
			if !mine {
				return errTaken
			}
			claimed = time.Now()
		}
		return sleep(ctx, every)
	}
	return l.All(ctx, l.Repair, pause, func(Report) error { return nil })
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
