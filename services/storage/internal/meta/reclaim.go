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

// ShortenRetention makes a retention that was made shorter hold for what is deleted already. It scans the deleted messages.
func (s *Store) ShortenRetention(ctx context.Context) error {
	retention := int64(s.opts.Retention.Seconds())
	return s.write(ctx, "shorten_retention", func(t *tx) error {
		_, err := t.exec(`UPDATE deleted_messages SET expires_unix = deleted_unix + ? WHERE expires_unix - deleted_unix > ?`, retention, retention)
		return err
	})
}

// PurgeExpired removes deleted messages whose time is over, and tells how many. more says that others wait.
func (s *Store) PurgeExpired(ctx context.Context) (purged int, more bool, err error) {
	err = s.write(ctx, "purge_expired", func(t *tx) error {
		type key struct {
			account string
			DeletedKey
		}
		var keys []key
		contents := map[string][]string{}
		err := t.rows(func(rows *sqldb.Rows) error {
			var k key
			var content string
			err := rows.Scan(&k.account, &k.MailboxID, &k.UID, &content)
			keys = append(keys, k)
			contents[k.account] = append(contents[k.account], content)
			return err
		}, `SELECT account_id, mailbox_id, uid, content_id FROM deleted_messages WHERE expires_unix <= ? ORDER BY expires_unix`+sqldb.Limit(reclaimBatch),
			t.now)
		if err != nil {
			return err
		}
		for _, k := range keys {
			_, err := t.exec(`DELETE FROM deleted_messages WHERE account_id = ? AND mailbox_id = ? AND uid = ?`, k.account, k.MailboxID, k.UID)
			if err != nil {
				return err
			}
		}
		purged, more = len(keys), len(keys) == reclaimBatch
		for _, account := range slices.Sorted(maps.Keys(contents)) {
			if err := t.unref(account, contents[account]); err != nil {
				return err
			}
		}
		return nil
	})
	return purged, more, err
}

// ForgetDeliveries removes the memory of deliveries that are more than a day old. more says that others wait.
func (s *Store) ForgetDeliveries(ctx context.Context) (more bool, err error) {
	err = s.writeRelaxed(ctx, "forget_deliveries", func(t *tx) error {
		var keys []DeliveryKey
		err := t.rows(func(rows *sqldb.Rows) error {
			var k DeliveryKey
			err := rows.Scan(&k.AccountID, &k.DeliveryID, &k.Mailbox)
			keys = append(keys, k)
			return err
		}, `SELECT account_id, delivery_id, target FROM deliveries WHERE created_unix < ? ORDER BY created_unix`+sqldb.Limit(reclaimBatch),
			t.now-deliveryMemory)
		if err != nil {
			return err
		}
		for _, k := range keys {
			_, err := t.exec(`DELETE FROM deliveries WHERE account_id = ? AND delivery_id = ? AND target = ?`, k.AccountID, k.DeliveryID, k.Mailbox)
			if err != nil {
				return err
			}
		}
		more = len(keys) == reclaimBatch
		return nil
	})
	return more, err
}

// DeadObjects gives up to limit keys of objects that nothing refers to any more.
func (s *Store) DeadObjects(ctx context.Context, limit int) ([]string, error) {
	var keys []string
	err := s.read(ctx, "dead_objects", func(t *tx) error {
		keys = nil
		return t.rows(func(rows *sqldb.Rows) error {
			var key string
			err := rows.Scan(&key)
			keys = append(keys, key)
			return err
		}, `SELECT object_key FROM packs WHERE live_refs <= 0 ORDER BY created_unix`+sqldb.Limit(limit))
	})
	return keys, err
}

// ForgetObjects removes the rows of objects that were deleted.
func (s *Store) ForgetObjects(ctx context.Context, keys []string) error {
	return s.writeRelaxed(ctx, "forget_objects", func(t *tx) error {
		for _, key := range keys {
			if _, err := t.exec(`DELETE FROM packs WHERE object_key = ? AND live_refs <= 0`, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Created tells when the database was made, to the second.
func (s *Store) Created(ctx context.Context) (time.Time, error) {
	var unix int64
	err := s.read(ctx, "find_age", func(t *tx) error {
		return t.row(`SELECT MIN(applied_at) FROM schema_migrations`).Scan(&unix)
	})
	return time.Unix(unix, 0), err
}

// KnowsObject tells whether the store has a row for an object.
func (s *Store) KnowsObject(ctx context.Context, key string) (known bool, err error) {
	err = s.read(ctx, "find_object", func(t *tx) error {
		var n int
		err := t.row(`SELECT COUNT(*) FROM packs WHERE object_key = ?`, key).Scan(&n)
		known = n > 0
		return err
	})
	return known, err
}

// ObjectBytes adds up what the objects hold and what of it is alive, and counts the objects.
func (s *Store) ObjectBytes(ctx context.Context) (total, live, objects int64, err error) {
	err = s.read(ctx, "object_bytes", func(t *tx) error {
		return t.row(`SELECT COALESCE(SUM(total_bytes), 0), COALESCE(SUM(live_bytes), 0), COUNT(*) FROM packs`).Scan(&total, &live, &objects)
	})
	return total, live, objects, err
}
