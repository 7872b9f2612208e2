package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Job is periodic work that one replica at a time does for all.
type Job struct {
	// Name, and Holder, who asks.
	Name, Holder string
	// Lease is how long nobody else takes it.
	Lease time.Duration
}

// TakeJob takes a job if it is due, or due or not if now is set, and nobody has it. position is how far it came when it was last held.
func (s *Store) TakeJob(ctx context.Context, j Job, now bool) (position string, ok bool, err error) {
	err = s.read(ctx, "find_job", func(t *tx) error {
		var due, until int64
		err := t.row(`SELECT due_unix, until_unix FROM job_leases WHERE name = ?`, j.Name).Scan(&due, &until)
		ok = errors.Is(err, sql.ErrNoRows) || err == nil && until <= t.now && (now || due <= t.now)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil || !ok {
		return "", false, err
	}
	err = s.writeRelaxed(ctx, "take_job", func(t *tx) error {
		ok = false
		_, err := t.exec(`INSERT INTO job_leases (name, holder, until_unix, due_unix, position) VALUES (?, '', 0, 0, '') ON CONFLICT (name) DO NOTHING`, j.Name)
		if err != nil {
			return err
		}
		due := t.now
		if now {
			due = 1<<63 - 1
		}
		err = t.row(`UPDATE job_leases SET holder = ?, until_unix = ? WHERE name = ? AND until_unix <= ? AND due_unix <= ? RETURNING position`,
			j.Holder, t.now+int64(j.Lease.Seconds()), j.Name, t.now, due).Scan(&position)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		ok = err == nil
		return err
	})
	return position, ok, err
}

// KeepJob holds a job for another lease and notes how far it came; false if another one has it.
func (s *Store) KeepJob(ctx context.Context, j Job, position string) (ok bool, err error) {
	err = s.writeRelaxed(ctx, "keep_job", func(t *tx) error {
		n, err := t.exec(`UPDATE job_leases SET until_unix = ?, position = ? WHERE name = ? AND holder = ?`, t.now+int64(j.Lease.Seconds()), position, j.Name, j.Holder)
		ok = n > 0
		return err
	})
	return ok, err
}

// EndJob gives a job back: it is due again after next, from position on.
func (s *Store) EndJob(ctx context.Context, j Job, position string, next time.Duration) error {
	return s.writeRelaxed(ctx, "end_job", func(t *tx) error {
		_, err := t.exec(`UPDATE job_leases SET holder = '', until_unix = 0, due_unix = ?, position = ? WHERE name = ? AND holder = ?`,
			t.now+int64(next.Seconds()), position, j.Name, j.Holder)
		return err
	})
}
