package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// FillBounds are the upper bounds of Totals.Fill, as ratios of the limit.
var FillBounds = [...]float64{0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99, 1}

// historyTime is how far back the usage of all is remembered, by the hour.
const historyTime = 7 * 24 * time.Hour

// Totals are sums over all accounts.
type Totals struct {
	Taken    time.Time `json:"-"` // zero: never
	Accounts int64     `json:"accounts"`
	Limit    int64     `json:"limit_bytes"` // of the accounts that have one
	Limited  int64     `json:"limited_used_bytes"`
	Used     Amount    `json:"used"`
	Reserved Amount    `json:"reserved"`
	// Ratios is the sum of the accounts' usages as ratios of their limits, Fill how many are at or below each of FillBounds.
	Ratios float64                `json:"ratios"`
	Fill   [len(FillBounds)]int64 `json:"fill"`
}

// Add adds an account.
func (t *Totals) Add(u Usage) {
	t.Accounts++
	if u.Limit.Bytes != Unlimited {
		t.Limit += u.Limit.Bytes
		t.Limited += u.Used.Bytes
	}
	t.Used, t.Reserved = t.Used.plus(u.Used), t.Reserved.plus(u.Reserved)
	ratio := u.Ratio()
	t.Ratios += ratio
	for i, bound := range FillBounds {
		if ratio <= bound {
			t.Fill[i]++
		}
	}
}

// Sample is the usage of the accounts that have a limit at a time.
type Sample struct {
	Taken time.Time
	Used  int64 // octets
}

// ClaimTotals makes holder the one who takes the sums, for the time of lease, unless another is at it or the last were taken less than every ago. The
// holder may claim again, to go on.
func (l *Ledger) ClaimTotals(ctx context.Context, holder string, every, lease time.Duration) (mine bool, err error) {
	now := l.opts.Now()
	err = l.write(ctx, "totals", relaxed, func(w *work) error {
		var n int64
		w.writes.ExecCount(&n, `UPDATE totals SET holder = ?, held_until = ?
			WHERE id = 1 AND taken_at <= ? AND (holder = ? OR held_until <= ?)`,
			holder, now.Add(lease).UnixMilli(), now.Add(-every).UnixMilli(), holder, now.UnixMilli())
		err := w.save()
		mine = n == 1
		return err
	})
	return mine, err
}

// SaveTotals records sums for all replicas, and their usage for the hour.
func (l *Ledger) SaveTotals(ctx context.Context, t Totals) error {
	sums, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write sums: %w", err)
	}
	now := l.opts.Now()
	return l.write(ctx, "totals", relaxed, func(w *work) error {
		w.writes.Exec(`UPDATE totals SET holder = '', held_until = 0, taken_at = ?, sums = ? WHERE id = 1`, now.UnixMilli(), string(sums))
		w.writes.Exec(`INSERT INTO totals_by_hour (hour, taken_at, used_bytes) VALUES (?, ?, ?)
			ON CONFLICT (hour) DO UPDATE SET taken_at = excluded.taken_at, used_bytes = excluded.used_bytes`,
			now.Unix()/3600, now.UnixMilli(), t.Limited)
		w.writes.Exec(`DELETE FROM totals_by_hour WHERE hour < ?`, now.Add(-historyTime).Unix()/3600)
		return w.save()
	})
}

// LastTotals gives the sums that were taken last, by whichever replica, and the usage before, oldest first.
func (l *Ledger) LastTotals(ctx context.Context) (t Totals, history []Sample, err error) {
	err = l.db.Read(ctx, "totals", func(tx *sqldb.Tx) error {
		t, history = Totals{}, nil
		var taken int64
		var sums string
		if err := tx.QueryRow(ctx, `SELECT taken_at, sums FROM totals WHERE id = 1`).Scan(&taken, &sums); err != nil {
			return err
		}
		if taken > 0 {
			t.Taken = time.UnixMilli(taken)
		}
		if err := json.Unmarshal([]byte(sums), &t); err != nil {
			return fmt.Errorf("read sums: %w", err)
		}
		rows, err := tx.Query(ctx, `SELECT taken_at, used_bytes FROM totals_by_hour ORDER BY hour`)
		if err != nil {
			return err
		}
		for rows.Next() {
			var s Sample
			if err := rows.Scan(&taken, &s.Used); err != nil {
				return err
			}
			s.Taken = time.UnixMilli(taken)
			history = append(history, s)
		}
		return rows.Err()
	})
	if err != nil {
		return Totals{}, nil, fmt.Errorf("read totals: %w", err)
	}
	return t, history, nil
}
