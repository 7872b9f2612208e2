package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Reconciliation is the outcome of the last full comparison with storage, by whichever replica.
type Reconciliation struct {
	Finished time.Time // zero: there was none
	Drift    Amount    // sums of the accounts' absolute drifts
}

// LastReconciliation gives the last one that was finished.
func (l *Ledger) LastReconciliation(ctx context.Context) (r Reconciliation, err error) {
	err = l.db.ReadOne(ctx, "reconciliation", func(tx *sqldb.Tx) error {
		var finished int64
		err := tx.QueryRow(ctx, `SELECT finished_at, drift_bytes, drift_messages FROM reconciliation WHERE id = 1`).
			Scan(&finished, &r.Drift.Bytes, &r.Drift.Messages)
		if finished > 0 {
			r.Finished = time.UnixMilli(finished)
		}
		return err
	})
	if err != nil {
		return Reconciliation{}, fmt.Errorf("read last reconciliation: %w", err)
	}
	return r, nil
}

// ClaimReconciliation makes holder the one who compares, for the time of lease, unless another is at it or the last one was
// finished less than every ago. The holder may claim again, to go on.
func (l *Ledger) ClaimReconciliation(ctx context.Context, holder string, every, lease time.Duration) (mine bool, err error) {
	now := l.opts.Now()
	err = l.write(ctx, "reconciliation", durable, func(w *work) error {
		var n int64
		w.writes.ExecCount(&n, `UPDATE reconciliation SET holder = ?, held_until = ?
			WHERE id = 1 AND finished_at <= ? AND (holder = ? OR held_until <= ?)`,
			holder, now.Add(lease).UnixMilli(), now.Add(-every).UnixMilli(), holder, now.UnixMilli())
		err := w.save()
		mine = n == 1
		return err
	})
	return mine, err
}

// AbandonReconciliation lets another begin at once.
func (l *Ledger) AbandonReconciliation(ctx context.Context, holder string) error {
	return l.write(ctx, "reconciliation", durable, func(w *work) error {
		w.writes.Exec(`UPDATE reconciliation SET holder = '', held_until = 0 WHERE id = 1 AND holder = ?`, holder)
		return w.save()
	})
}

// FinishReconciliation records what a full comparison found. The claim of another, if there is one, has no purpose any more.
func (l *Ledger) FinishReconciliation(ctx context.Context, drift Amount) error {
	return l.write(ctx, "reconciliation", durable, func(w *work) error {
		w.writes.Exec(`UPDATE reconciliation SET holder = '', held_until = 0, finished_at = ?, drift_bytes = ?, drift_messages = ? WHERE id = 1`,
			l.opts.Now().UnixMilli(), drift.Bytes, drift.Messages)
		return w.save()
	})
}
