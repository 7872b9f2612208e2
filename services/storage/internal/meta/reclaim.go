package meta

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// reclaimBatch bounds the rows that one transaction of reclaiming removes.
const reclaimBatch = 500

// deliveryMemory is how long a repeated delivery answers as before: a day, and an hour to spare.
const deliveryMemory = 25 * 60 * 60

// ShortenRetention makes a retention that was made shorter hold for what is deleted already. Then it scans the deleted messages.
func (s *Store) ShortenRetention(ctx context.Context) error {
	retention := int64(s.opts.Retention.Seconds())
	return s.write(ctx, "shorten_retention", func(t *tx) error {
		claimed, last, err := t.claim(jobRetention)
		if err != nil || !claimed || last == retention {
			return err
		}
		if retention < last {
			err := t.later(`UPDATE deleted_messages SET expires_unix = deleted_unix + ? WHERE expires_unix - deleted_unix > ?`, retention, retention)
			if err != nil {
				return err
			}
		}
		return t.later(`UPDATE jobs SET state = ? WHERE name = ?`, retention, jobRetention)
	})
}

// PurgeExpired removes deleted messages whose time is over, and tells how many. more says that others wait. One replica does it at a time.
// It first finishes the deletion of mailboxes, whose messages are to expire too.
func (s *Store) PurgeExpired(ctx context.Context) (purged int, more bool, err error) {
	if err := s.finishDeletes(ctx); err != nil {
		return 0, false, err
	}
	err = s.write(ctx, "purge_expired", func(t *tx) error {
		purged, more = 0, false
		claimed, _, err := t.claim(jobPurge)
		if err != nil || !claimed {
			return err
		}
		type key struct {
			account string
			DeletedKey
		}
		var keys []key
		// Those of accounts that are being purged go with them.
		err = t.rows(func(rows *sqldb.Rows) error {
			var k key
			err := rows.Scan(&k.account, &k.MailboxID, &k.UID)
			keys = append(keys, k)
			return err
		}, `SELECT d.account_id, d.mailbox_id, d.uid FROM deleted_messages d JOIN accounts a ON a.account_id = d.account_id
			WHERE d.expires_unix <= ? ORDER BY d.expires_unix`+sqldb.Limit(reclaimBatch), t.now)
		if err != nil {
			return err
		}
		more = len(keys) == reclaimBatch
		known := map[string]bool{}
		for _, k := range keys {
			known[k.account] = false
		}
		for _, account := range slices.Sorted(maps.Keys(known)) {
			t.findAccount(&t.queue, account, func() { known[account] = true })
		}
		if err := t.flush(); err != nil {
			return err
		}
		contents := map[string][]string{}
		for _, k := range keys {
			if !known[k.account] {
				continue
			}
			t.queue.Query(func(rows *sqldb.Rows) error {
				var content string
				err := rows.Scan(&content)
				contents[k.account] = append(contents[k.account], content)
				purged++
				return err
			}, `DELETE FROM deleted_messages WHERE account_id = ? AND mailbox_id = ? AND uid = ? AND expires_unix <= ? RETURNING content_id`,
				k.account, k.MailboxID, k.UID, t.now)
		}
		if err := t.flush(); err != nil {
			return err
		}
		return t.unref(contents)
	})
	return purged, more, err
}

// ForgetDeliveries removes the memory of deliveries that are more than a day old. more says that others wait. One replica does it at a time.
func (s *Store) ForgetDeliveries(ctx context.Context) (more bool, err error) {
	err = s.writeRelaxed(ctx, "forget_deliveries", func(t *tx) error {
		more = false
		claimed, _, err := t.claim(jobDeliveries)
		if err != nil || !claimed {
			return err
		}
		n, err := t.exec(`DELETE FROM deliveries WHERE (account_id, delivery_id, target) IN (
			SELECT account_id, delivery_id, target FROM deliveries WHERE created_unix < ? ORDER BY created_unix`+sqldb.Limit(reclaimBatch)+`)`,
			t.now-deliveryMemory)
		more = n == reclaimBatch
		return err
	})
	return more, err
}

// Created tells when the database was made, to the second.
func (s *Store) Created(ctx context.Context) (time.Time, error) {
	var unix int64
	err := s.read(ctx, "find_age", func(t *tx) error {
		return t.row(`SELECT MIN(applied_at) FROM schema_migrations`).Scan(&unix)
	})
	return time.Unix(unix, 0), err
}

// ObjectBytes adds up what the objects hold and what of it is alive, and counts the objects.
func (s *Store) ObjectBytes(ctx context.Context) (total, live, objects int64, err error) {
	err = s.read(ctx, "object_bytes", func(t *tx) error {
		return t.row(`SELECT CAST(COALESCE(SUM(total_bytes), 0) AS BIGINT), CAST(COALESCE(SUM(live_bytes), 0) AS BIGINT), COUNT(*) FROM packs`).Scan(&total, &live, &objects)
	})
	return total, live, objects, err
}
