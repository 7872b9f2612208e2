package meta

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Written is a snapshot that lies in an object.
type Written struct {
	*Snapshot
	// Stored is the length of its frame, in octets.
	Stored int64
}

// RecordSnapshots notes that an object of the catalog holds snapshots, and forgets those that they make superfluous: an account's latest
// two generations are kept, of a purged account only the note that it was. A snapshot is left out if another replica has recorded one of the
// same account meanwhile.
func (s *Store) RecordSnapshots(ctx context.Context, object string, total int64, snapshots []Written) (recorded int, err error) {
	err = s.write(ctx, "record_snapshots", func(t *tx) error {
		recorded = 0
		_, err := t.exec(`INSERT INTO catalog_objects (object_key, total_bytes, created_unix) VALUES (?, ?, ?)`, object, total, t.now)
		if err != nil {
			return err
		}
		for _, w := range snapshots {
			ok, err := t.recordSnapshot(object, w)
			if err != nil {
				return err
			}
			if ok {
				recorded++
			}
		}
		return nil
	})
	return recorded, err
}

func (t *tx) recordSnapshot(object string, w Written) (bool, error) {
	account, id := w.Entry.GetAccountId(), hex.EncodeToString(w.Entry.GetSnapshotId())
	now, err := t.catalogState(account)
	if err != nil || now.snapshotID != w.previous.snapshotID {
		return false, err
	}
	next := catalogState{snapshotID: id, generation: now.generation, whole: now.whole, chain: now.chain + w.Stored, length: now.length + 1}
	if w.Whole() {
		var latest int64
		err := t.row(`SELECT COALESCE(MAX(generation), 0) FROM catalog_frames WHERE account_id = ?`, account).Scan(&latest)
		if err != nil {
			return false, err
		}
		next = catalogState{snapshotID: id, generation: latest + 1, whole: w.Stored}
	}
	purged := 0
	if w.Entry.GetPurged() {
		purged = 1
	}
	_, err = t.exec(`INSERT INTO catalog_accounts (account_id, snapshot_id, generation, whole_bytes, chain_bytes, chain_length, purged, marks)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET snapshot_id = excluded.snapshot_id,
			generation = excluded.generation, whole_bytes = excluded.whole_bytes, chain_bytes = excluded.chain_bytes,
			chain_length = excluded.chain_length, purged = excluded.purged, marks = excluded.marks`,
		account, next.snapshotID, next.generation, next.whole, next.chain, next.length, purged, nonNil(w.marks.encode()))
	if err != nil {
		return false, err
	}
	_, err = t.exec(`INSERT INTO catalog_frames (account_id, snapshot_id, generation, object_key, stored_bytes) VALUES (?, ?, ?, ?, ?)`,
		account, id, next.generation, object, w.Stored)
	if err != nil || !w.Whole() {
		return err == nil, err
	}
	oldest := next.generation - 1
	if purged == 1 {
		oldest = next.generation
	}
	_, err = t.exec(`DELETE FROM catalog_frames WHERE account_id = ? AND generation < ?`, account, oldest)
	return err == nil, err
}

// wholeNext makes an account's next snapshot a whole one.
func (t *tx) wholeNext(account string) error {
	_, err := t.exec(`DELETE FROM catalog_accounts WHERE account_id = ?`, account)
	return err
}

// DeadCatalogObjects gives up to limit objects of the catalog in which no snapshot is kept.
func (s *Store) DeadCatalogObjects(ctx context.Context, limit int) (keys []string, err error) {
	err = s.read(ctx, "dead_catalog_objects", func(t *tx) error {
		return t.texts(&keys, `SELECT o.object_key FROM catalog_objects o WHERE NOT EXISTS (SELECT 1 FROM catalog_frames f WHERE f.object_key = o.object_key)
			ORDER BY o.object_key`+sqldb.Limit(limit))
	})
	return keys, err
}

// ForgetCatalogObject removes the row of an object of the catalog that was deleted.
func (s *Store) ForgetCatalogObject(ctx context.Context, key string) error {
	return s.writeRelaxed(ctx, "forget_catalog_object", func(t *tx) error {
		_, err := t.exec(`DELETE FROM catalog_objects WHERE object_key = ?`, key)
		return err
	})
}

// KnowsCatalogObject tells whether the store has a row for an object of the catalog.
func (s *Store) KnowsCatalogObject(ctx context.Context, key string) (known bool, err error) {
	err = s.read(ctx, "find_catalog_object", func(t *tx) error {
		var n int
		err := t.row(`SELECT COUNT(*) FROM catalog_objects WHERE object_key = ?`, key).Scan(&n)
		known = n > 0
		return err
	})
	return known, err
}

// SparseCatalogObject gives an object of the catalog, older than a time, of which less than half is kept, with the snapshots that are; "" if there is none.
func (s *Store) SparseCatalogObject(ctx context.Context, before time.Time) (key string, kept map[string]bool, err error) {
	err = s.read(ctx, "sparse_catalog_object", func(t *tx) error {
		key, kept = "", map[string]bool{}
		err := t.row(`SELECT o.object_key FROM catalog_objects o JOIN (
				SELECT object_key, SUM(stored_bytes) AS live FROM catalog_frames GROUP BY object_key
			) f ON f.object_key = o.object_key WHERE f.live * 2 < o.total_bytes AND o.created_unix < ? ORDER BY o.object_key LIMIT 1`,
			before.Unix()).Scan(&key)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return t.rows(func(rows *sqldb.Rows) error {
			var id string
			err := rows.Scan(&id)
			kept[id] = true
			return err
		}, `SELECT snapshot_id FROM catalog_frames WHERE object_key = ?`, key)
	})
	return key, kept, err
}

// MovedSnapshot is a snapshot that was copied into another object.
type MovedSnapshot struct{ AccountID, SnapshotID string }

// MoveSnapshots notes that snapshots of one object of the catalog lie in another now.
func (s *Store) MoveSnapshots(ctx context.Context, from, to string, total int64, moved []MovedSnapshot) error {
	return s.write(ctx, "move_snapshots", func(t *tx) error {
		_, err := t.exec(`INSERT INTO catalog_objects (object_key, total_bytes, created_unix) VALUES (?, ?, ?)`, to, total, t.now)
		if err != nil {
			return err
		}
		for _, m := range moved {
			_, err := t.exec(`UPDATE catalog_frames SET object_key = ? WHERE account_id = ? AND snapshot_id = ? AND object_key = ?`,
				to, m.AccountID, m.SnapshotID, from)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
