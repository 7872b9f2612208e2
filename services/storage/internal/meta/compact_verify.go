package meta

import (
	"context"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// keysAtOnce is how many keys one statement looks for.
const keysAtOnce = 100

// inKeys is a condition for keysAtOnce placeholders; args fills them with keys, the last one repeated.
var inKeys = ` IN (?` + strings.Repeat(", ?", keysAtOnce-1) + `)`

func inArgs(keys []string) []any {
	args := make([]any, keysAtOnce)
	for i := range args {
		args[i] = keys[min(i, len(keys)-1)]
	}
	return args
}

// KnownObjects tells which of some objects the store knows: those that have a pack's row, and loose ones.
func (s *Store) KnownObjects(ctx context.Context, keys []string) (map[string]bool, error) {
	known := map[string]bool{}
	err := s.read(ctx, "find_objects", func(t *tx) error {
		clear(known)
		for some := range slices.Chunk(keys, keysAtOnce) {
			for _, table := range []string{"packs", "loose_objects"} {
				err := t.rows(func(rows *sqldb.Rows) error {
					var key string
					err := rows.Scan(&key)
					known[key] = true
					return err
				}, `SELECT object_key FROM `+table+` WHERE object_key`+inKeys, inArgs(some)...)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return known, err
}

// PackCheck is what one snapshot tells of a pack: its row, and what its contents add up to.
type PackCheck struct {
	Pack
	// Known says that it has a row; contents may refer to one without.
	Known bool
	// HeldRefs and HeldBytes are the contents and the sum of their shares.
	HeldRefs, HeldBytes int64
	// Ends is how far the last frame reaches, in octets; Begins where the first one begins.
	Begins, Ends int64
	// AccountID and ContentID are one of the contents.
	AccountID, ContentID string
}

// CheckPacks gives a page of packs after a key.
func (s *Store) CheckPacks(ctx context.Context, after string, limit int) ([]PackCheck, error) {
	var page []PackCheck
	err := s.read(ctx, "check_packs", func(t *tx) error {
		page = nil
		return t.rows(func(rows *sqldb.Rows) error {
			c := PackCheck{Known: true}
			err := rows.Scan(&c.Object, &c.Total, &c.Live, &c.Refs, &c.CreatedUnix, &c.HeldRefs, &c.HeldBytes, &c.Begins, &c.Ends, &c.AccountID, &c.ContentID)
			page = append(page, c)
			return err
		}, `SELECT p.object_key, p.total_bytes, p.live_bytes, p.live_refs, p.created_unix, COUNT(c.content_id), COALESCE(SUM(c.pack_share), 0),
				COALESCE(MIN(c.object_offset), 0), COALESCE(MAX(c.object_offset + c.stored_size), 0), COALESCE(MIN(c.account_id), ''), COALESCE(MIN(c.content_id), '')
			FROM (SELECT `+packColumns+` FROM packs WHERE object_key > ? ORDER BY object_key`+sqldb.Limit(limit)+`) p
			LEFT JOIN contents c ON c.object_key = p.object_key
			GROUP BY p.object_key, p.total_bytes, p.live_bytes, p.live_refs, p.created_unix ORDER BY p.object_key`, after)
	})
	return page, err
}

// CheckPack gives one pack, which is not Known if it has no row.
func (s *Store) CheckPack(ctx context.Context, object string) (c PackCheck, err error) {
	err = s.read(ctx, "check_pack", func(t *tx) error {
		c = PackCheck{Pack: Pack{Object: object}}
		err := t.row(`SELECT COUNT(*), COALESCE(SUM(pack_share), 0), COALESCE(MIN(object_offset), 0), COALESCE(MAX(object_offset + stored_size), 0),
				COALESCE(MIN(account_id), ''), COALESCE(MIN(content_id), '') FROM contents WHERE object_key = ?`, object).
			Scan(&c.HeldRefs, &c.HeldBytes, &c.Begins, &c.Ends, &c.AccountID, &c.ContentID)
		if err != nil {
			return err
		}
		return t.rows(func(rows *sqldb.Rows) error {
			var err error
			c.Pack, err = scanPack(rows)
			c.Known = true
			return err
		}, `SELECT `+packColumns+` FROM packs WHERE object_key = ?`, object)
	})
	return c, err
}

// UnknownPacks gives a page of the objects that contents refer to and that have no row, after a key, and the key to go on after, "" at the end.
func (s *Store) UnknownPacks(ctx context.Context, after string, limit int) (unknown []string, next string, err error) {
	err = s.read(ctx, "unknown_packs", func(t *tx) error {
		unknown, next = nil, ""
		var keys []string
		err := t.texts(&keys, `SELECT DISTINCT object_key FROM contents WHERE object_key > ? ORDER BY object_key`+sqldb.Limit(limit), after)
		if err != nil {
			return err
		}
		if len(keys) == limit {
			next = keys[limit-1]
		}
		known := map[string]bool{}
		for some := range slices.Chunk(keys, keysAtOnce) {
			err := t.rows(func(rows *sqldb.Rows) error {
				var key string
				err := rows.Scan(&key)
				known[key] = true
				return err
			}, `SELECT object_key FROM packs WHERE object_key`+inKeys, inArgs(some)...)
			if err != nil {
				return err
			}
		}
		unknown = slices.DeleteFunc(keys, func(key string) bool { return known[key] })
		return nil
	})
	return unknown, next, err
}

// AccountFrames gives a page of the frames of an account's contents after a content id; each has Refs 1 and the content's share.
func (s *Store) AccountFrames(ctx context.Context, account, after string, limit int) ([]Frame, error) {
	var page []Frame
	err := s.read(ctx, "account_frames", func(t *tx) error {
		page = nil
		return t.rows(func(rows *sqldb.Rows) error {
			f := Frame{AccountID: account, Refs: 1}
			var sum int64
			err := rows.Scan(&f.ContentID, &f.Object, &f.Offset, &f.Stored, &f.Size, &sum, &f.Share)
			f.Sum = uint64(sum)
			page = append(page, f)
			return err
		}, `SELECT content_id, object_key, object_offset, stored_size, raw_size, raw_sum, pack_share FROM contents
			WHERE account_id = ? AND content_id > ? ORDER BY content_id`+sqldb.Limit(limit), account, after)
	})
	return page, err
}

// Location tells where a content lies now; false if it is gone.
func (s *Store) Location(ctx context.Context, account, content string) (f Frame, ok bool, err error) {
	err = s.read(ctx, "find_content", func(t *tx) error {
		ok = false
		return t.rows(func(rows *sqldb.Rows) error {
			f, ok = Frame{AccountID: account, ContentID: content, Refs: 1}, true
			var sum int64
			err := rows.Scan(&f.Object, &f.Offset, &f.Stored, &f.Size, &sum, &f.Share)
			f.Sum = uint64(sum)
			return err
		}, `SELECT object_key, object_offset, stored_size, raw_size, raw_sum, pack_share FROM contents WHERE account_id = ? AND content_id = ?`, account, content)
	})
	return f, ok, err
}

// PackTotals adds up the packs after a key: their number, the octets of their frames, and what of them is alive.
func (s *Store) PackTotals(ctx context.Context, after string) (packs, total, live int64, err error) {
	err = s.read(ctx, "pack_totals", func(t *tx) error {
		return t.row(`SELECT COUNT(*), COALESCE(SUM(total_bytes), 0), COALESCE(SUM(live_bytes), 0) FROM packs WHERE object_key > ?`, after).Scan(&packs, &total, &live)
	})
	return packs, total, live, err
}
