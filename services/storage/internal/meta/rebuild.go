package meta

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// What may have been given out after a snapshot is never given again: so far a rebuild goes on. A client that has seen more than that many
// new messages in one mailbox since the snapshot would have to be told another UIDVALIDITY.
const (
	uidGap    = 1 << 20
	modseqGap = 1 << 32
	idGap     = 1 << 20
)

// commitTime is how long after its body was made a delivery may commit, with time to spare for clocks that differ.
const commitTime = 15 * time.Minute

// awaited marks a content whose body a rebuild has not found yet, in pack_share.
const awaited = -1

// isAwaited is the condition of the partial index on contents, word for word.
const isAwaited = `pack_share = -1`

// ErrNotEmpty says that a rebuild was asked for on a database that holds mail.
var ErrNotEmpty = errors.New("the database is not empty")

// BeginRebuild begins a rebuild on an empty database, or goes on with one. Errors: ErrNotEmpty.
func (s *Store) BeginRebuild(ctx context.Context) (resumed bool, err error) {
	err = s.write(ctx, "begin_rebuild", func(t *tx) error {
		if resumed, err = t.began(rebuildFromNothing); err != nil || resumed {
			return err
		}
		for _, table := range []string{"accounts", "messages", "packs", "purged_accounts"} {
			var n int
			if err := t.row(`SELECT COUNT(*) FROM (SELECT 1 AS found FROM ` + table + ` LIMIT 1) AS first_row`).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				return ErrNotEmpty
			}
		}
		return t.begin(rebuildFromNothing)
	})
	return resumed, bare(err, ErrNotEmpty)
}

// bare gives an error of the caller's back as it is, without the reason that it got as if the database had made it.
func bare(err, own error) error {
	if errors.Is(err, own) {
		return own
	}
	return err
}

// Kinds of rebuilds, by their id.
const (
	rebuildFromNothing = 1
	rebuildMerge       = 2
)

func (t *tx) began(kind int) (bool, error) {
	var n int
	err := t.row(`SELECT COUNT(*) FROM rebuilds WHERE id = ?`, kind).Scan(&n)
	return n > 0, err
}

func (t *tx) begin(kind int) error {
	_, err := t.exec(`INSERT INTO rebuilds (id, started_unix) VALUES (?, ?)`, kind, t.now)
	return err
}

// BeginMerge begins to take up into a restored database what came into the object store after it was copied, or goes on with that. All that
// the database knows now counts as seen at its last write. Errors: ErrRebuildCut.
func (s *Store) BeginMerge(ctx context.Context) (resumed bool, err error) {
	err = s.write(ctx, "begin_merge", func(t *tx) error {
		if resumed, err = t.began(rebuildMerge); err != nil || resumed {
			return err
		}
		if cut, err := t.rebuilding(); err != nil || cut {
			return cmp.Or(err, ErrRebuildCut)
		}
		var last int64
		err := t.row(`SELECT COALESCE(MAX(at), 0) FROM (SELECT MAX(created_unix) AS at FROM packs UNION ALL SELECT MAX(created_unix) AS at FROM deliveries) AS writes`).Scan(&last)
		if err != nil {
			return err
		}
		if err := t.later(`INSERT INTO rebuild_accounts (account_id, taken_ms, finished) SELECT account_id, CAST(? AS BIGINT), 1 FROM accounts`, last*1000); err != nil {
			return err
		}
		if err := t.later(`INSERT INTO rebuild_objects (object_key) SELECT object_key FROM packs`); err != nil {
			return err
		}
		return t.begin(rebuildMerge)
	})
	return resumed, bare(err, ErrRebuildCut)
}

// ErrRebuildCut says that a rebuild from nothing has to be ended first.
var ErrRebuildCut = errors.New("a rebuild was interrupted: run it again first")

// SeenPacks gives the packs that need not be looked at: those that a rebuild has gone through, or that the database knew before.
func (s *Store) SeenPacks(ctx context.Context) (map[string]bool, error) {
	seen := map[string]bool{}
	err := s.read(ctx, "seen_packs", func(t *tx) error {
		clear(seen)
		return t.rows(func(rows *sqldb.Rows) error {
			var key string
			err := rows.Scan(&key)
			seen[key] = true
			return err
		}, `SELECT object_key FROM rebuild_objects`)
	})
	return seen, err
}

// LivePacks gives the packs in which something is alive.
func (s *Store) LivePacks(ctx context.Context) (keys []string, err error) {
	err = s.read(ctx, "live_packs", func(t *tx) error {
		return t.texts(&keys, `SELECT object_key FROM packs WHERE live_refs > 0`)
	})
	return keys, err
}

// Missing are objects that the database names and the object store lacks.
type Missing struct {
	Objects map[string]bool
	// Holders are the accounts by the contents that lie in them.
	Holders map[string][]string
}

// FindMissing finds what lies in objects that are missing.
func (s *Store) FindMissing(ctx context.Context, objects map[string]bool) (Missing, error) {
	var out Missing
	err := s.read(ctx, "find_missing", func(t *tx) error {
		out = Missing{Objects: objects, Holders: map[string][]string{}}
		for object := range objects {
			t.queue.Query(func(rows *sqldb.Rows) error {
				var account, content string
				err := rows.Scan(&account, &content)
				out.Holders[content] = append(out.Holders[content], account)
				return err
			}, `SELECT account_id, content_id FROM contents WHERE object_key = ?`, object)
			if err := t.overflow(); err != nil {
				return err
			}
		}
		return t.flush()
	})
	return out, err
}

// Rebuilding tells whether a rebuild has begun and not ended: then the database does not hold all mail.
func (s *Store) Rebuilding(ctx context.Context) (yes bool, err error) {
	err = s.read(ctx, "find_rebuild", func(t *tx) error {
		yes, err = t.rebuilding()
		return err
	})
	return yes, err
}

func (t *tx) rebuilding() (bool, error) {
	var n int
	err := t.row(`SELECT COUNT(*) FROM rebuilds`).Scan(&n)
	return n > 0, err
}

// EndRebuild takes the database into use.
func (s *Store) EndRebuild(ctx context.Context) error {
	return s.write(ctx, "end_rebuild", func(t *tx) error {
		for _, table := range []string{"rebuild_accounts", "rebuild_objects", "rebuilds"} {
			if _, err := t.exec(`DELETE FROM ` + table); err != nil {
				return err
			}
		}
		return nil
	})
}

// CameBack tells which accounts a rebuild has put back from the catalog, with the time of their snapshot.
func (s *Store) CameBack(ctx context.Context) (map[string]time.Time, error) {
	accounts := map[string]time.Time{}
	err := s.read(ctx, "rebuilt_accounts", func(t *tx) error {
		return t.rows(func(rows *sqldb.Rows) error {
			var account string
			var ms int64
			err := rows.Scan(&account, &ms)
			accounts[account] = time.UnixMilli(ms)
			return err
		}, `SELECT account_id, taken_ms FROM rebuild_accounts`)
	})
	return accounts, err
}

// RestorePurged notes that an account was purged, so that nothing of it comes back.
func (s *Store) RestorePurged(ctx context.Context, e *storagev1.CatalogEntry) error {
	return s.write(ctx, "restore_purged", func(t *tx) error {
		_, err := t.exec(`INSERT INTO purged_accounts (account_id, purged_unix, unfinished) VALUES (?, ?, 0) ON CONFLICT (account_id) DO NOTHING`,
			e.GetAccountId(), e.GetTakenUnixMs()/1000)
		return err
	})
}
