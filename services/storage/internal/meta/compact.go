package meta

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
)

// Pack is an object's row.
type Pack struct {
	Object string
	// Total and Live are octets of frames; Live is what the contents' shares add up to.
	Total, Live int64
	// Refs counts the contents that lie in it.
	Refs        int64
	CreatedUnix int64
}

// PackClaim is a claim to rewrite packs.
type PackClaim struct {
	Holder string
	// Lease is how long the packs are nobody else's.
	Lease time.Duration
	// Bytes bounds the live octets of what is claimed, Packs their number.
	Bytes int64
	Packs int
	// SmallAge is how old a small pack must be to be merged, SmallCount how many of about the same size it takes.
	SmallAge   time.Duration
	SmallCount int
}

const (
	// packPause is how long a pack is left alone that cannot be rewritten.
	packPause = 24 * 60 * 60
	// smallPatience is how long a small pack waits for SmallCount of its size; then two are enough.
	smallPatience = 24 * 60 * 60
	// ownBytes is the size from which on a body gains nothing from company.
	ownBytes = 256 << 10
	// candidates bounds what one claim looks at.
	candidates = 2000
)

// packColumns are what scanPack reads.
const packColumns = `object_key, total_bytes, live_bytes, live_refs, created_unix`

func scanPack(rows *sqldb.Rows) (p Pack, err error) {
	err = rows.Scan(&p.Object, &p.Total, &p.Live, &p.Refs, &p.CreatedUnix)
	return p, err
}

// ClaimPacks claims what is worth rewriting: packs of which less than 7/10 is alive, those with the least to copy first; if there is none, small
// packs of about one size. None is returned if nothing is.
func (s *Store) ClaimPacks(ctx context.Context, c PackClaim) ([]Pack, error) {
	var claimed []Pack
	err := s.writeRelaxed(ctx, "claim_packs", func(t *tx) error {
		claimed = nil
		dead, err := t.packs(`live_refs > 0 AND live_bytes * 10 < total_bytes * 7 AND claimed_until <= ? AND paused_until <= ? ORDER BY live_bytes`,
			t.now, t.now)
		if err != nil {
			return err
		}
		chosen := c.fill(dead)
		if len(chosen) == 0 {
			small, err := t.packs(`live_refs > 0 AND total_bytes < 8388608 AND created_unix <= ? AND claimed_until <= ? AND paused_until <= ?
					AND live_bytes < live_refs * ? ORDER BY total_bytes, created_unix`,
				t.now-int64(c.SmallAge.Seconds()), t.now, t.now, ownBytes)
			if err != nil {
				return err
			}
			chosen = c.fill(c.oneSize(small, t.now))
			if len(chosen) < 2 {
				return nil
			}
		}
		slices.SortFunc(chosen, func(a, b Pack) int { return compareKeys(a.Object, b.Object) })
		for _, p := range chosen {
			n, err := t.exec(`UPDATE packs SET claimed_by = ?, claimed_until = ? WHERE object_key = ? AND claimed_until <= ?`,
				c.Holder, t.now+int64(c.Lease.Seconds()), p.Object, t.now)
			if err != nil {
				return err
			}
			if n > 0 { // another replica may have been faster
				claimed = append(claimed, p)
			}
		}
		return nil
	})
	return claimed, err
}

func compareKeys(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// packs gives up to candidates rows.
func (t *tx) packs(where string, args ...any) ([]Pack, error) {
	var list []Pack
	err := t.rows(func(rows *sqldb.Rows) error {
		p, err := scanPack(rows)
		list = append(list, p)
		return err
	}, `SELECT `+packColumns+` FROM packs WHERE `+where+sqldb.Limit(candidates), args...)
	return list, err
}

// fill takes from the front of list what fits, and at least one.
func (c PackClaim) fill(list []Pack) []Pack {
	var bytes int64
	for i, p := range list {
		if bytes += p.Live; i == c.Packs || i > 0 && bytes > c.Bytes {
			return list[:i]
		}
	}
	return list
}

// oneSize gives the packs of the first class of sizes that are enough to be merged, the oldest first. Classes keep a byte from being
// merged again and again: each time it comes into one eight times as large.
func (c PackClaim) oneSize(list []Pack, now int64) []Pack {
	for len(list) > 0 {
		limit := int64(16 << 10)
		for limit <= list[0].Total {
			limit *= 8
		}
		n := len(list)
		if i := slices.IndexFunc(list, func(p Pack) bool { return p.Total >= limit }); i >= 0 {
			n = i
		}
		class := slices.SortedFunc(slices.Values(list[:n]), func(a, b Pack) int { return compareKeys(a.Object, b.Object) })
		oldest := slices.MinFunc(class, func(a, b Pack) int { return int(a.CreatedUnix - b.CreatedUnix) })
		if n >= max(c.SmallCount, 2) || n >= 2 && now-oldest.CreatedUnix >= smallPatience {
			return class
		}
		list = list[n:]
	}
	return nil
}

// ReleasePacks ends claims. Those of paused are left alone for a day: they have frames that cannot be read, or counters that are wrong.
func (s *Store) ReleasePacks(ctx context.Context, holder string, packs, paused []string) error {
	return s.writeRelaxed(ctx, "release_packs", func(t *tx) error {
		for _, key := range slices.Sorted(slices.Values(packs)) {
			var until int64
			if slices.Contains(paused, key) {
				until = t.now + packPause
			}
			_, err := t.exec(`UPDATE packs SET claimed_by = '', claimed_until = 0, paused_until = ? WHERE object_key = ? AND claimed_by = ?`, until, key, holder)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Frame is a frame of a pack to which contents refer.
type Frame struct {
	body.Location
	// AccountID and ContentID are the first of its contents.
	AccountID, ContentID string
	Refs, Share          int64
}

// Frames gives the frames of a pack that contents refer to, by offset.
func (s *Store) Frames(ctx context.Context, object string) ([]Frame, error) {
	var frames []Frame
	err := s.read(ctx, "frames", func(t *tx) error {
		frames = nil
		return t.rows(func(rows *sqldb.Rows) error {
			f := Frame{Location: body.Location{Object: object}}
			var sum int64
			err := rows.Scan(&f.Offset, &f.Stored, &f.Size, &sum, &f.AccountID, &f.ContentID, &f.Refs, &f.Share)
			f.Sum = uint64(sum)
			frames = append(frames, f)
			return err
		}, `SELECT object_offset, stored_size, raw_size, raw_sum, MIN(account_id), MIN(content_id), COUNT(*), SUM(pack_share)
			FROM contents WHERE object_key = ? GROUP BY object_offset, stored_size, raw_size, raw_sum ORDER BY object_offset`, object)
	})
	return frames, err
}

// ErrObjectLost says that a pack that was being written is not its writer's any more.
var ErrObjectLost = errors.New("the pack that was written is no longer ours")

// AnnouncePack tells that holder writes an object, so that nobody takes it for an orphan until then.
func (s *Store) AnnouncePack(ctx context.Context, object, holder string, lease time.Duration) error {
	return s.writeRelaxed(ctx, "announce_pack", func(t *tx) error {
		_, err := t.exec(`INSERT INTO loose_objects (object_key, holder, until_unix) VALUES (?, ?, ?)`, object, holder, t.now+int64(lease.Seconds()))
		return err
	})
}

// Rewritten is a new pack with copies of frames of others.
type Rewritten struct {
	Object, Holder string
	// Lease is how long nobody else takes it for one that is mostly dead, as it is filled bit by bit.
	Lease time.Duration
	// Total is the octets of all its frames.
	Total int64
	// Moves are the copied frames by the pack that they are in so far, those of each by offset.
	Moves map[string][]Move

	known bool // it has a row in packs
}

// Move is a frame that was copied.
type Move struct {
	Frame
	To int64 // its offset in the new pack
}

// moveRows is about how many contents one transaction of MoveFrames changes.
const moveRows = 400

// MoveFrames lets contents refer to the copies of their frames, in several transactions: after each of them every content lies somewhere, and
// the counters of all packs are right. A content that went meanwhile is left out. It tells how many frames moved; if none did, the new
// pack stays announced. Errors: ErrObjectLost.
func (s *Store) MoveFrames(ctx context.Context, r *Rewritten) (moved int, err error) {
	for _, from := range slices.Sorted(maps.Keys(r.Moves)) {
		for rest := r.Moves[from]; len(rest) > 0; {
			n, rows := 0, int64(0)
			for n < len(rest) && (n == 0 || rows+rest[n].Refs <= moveRows) {
				rows += rest[n].Refs
				n++
			}
			some := 0
			err := s.write(ctx, "move_frames", func(t *tx) (err error) {
				some, err = t.moveFrames(r, from, rest[:n])
				return err
			})
			if err != nil {
				return moved, err
			}
			if some > 0 {
				r.known = true
			}
			moved += some
			rest = rest[n:]
		}
	}
	return moved, nil
}

// holding is a content of a frame.
type holding struct {
	account, content string
	share            int64
}

// moveFrames moves frames of one pack, given by offset.
func (t *tx) moveFrames(r *Rewritten, from string, moves []Move) (moved int, err error) {
	frames, err := t.holdings(from, moves[0].Offset, moves[len(moves)-1].Offset)
	if err != nil {
		return 0, err
	}
	var gone, come objectUse
	for _, m := range moves {
		holders := frames[m.Offset]
		if len(holders) == 0 {
			continue
		}
		share := m.Stored / int64(len(holders))
		_, err := t.exec(`UPDATE contents SET object_key = ?, object_offset = ?, pack_share = ? WHERE object_key = ? AND object_offset = ?`,
			r.Object, m.To, share, from, m.Offset)
		if err == nil && share*int64(len(holders)) < m.Stored { // so that the shares add up
			_, err = t.exec(`UPDATE contents SET pack_share = ? WHERE account_id = ? AND content_id = ?`,
				share+m.Stored%int64(len(holders)), holders[0].account, holders[0].content)
		}
		if err != nil {
			return 0, err
		}
		for _, h := range holders {
			gone = objectUse{gone.bytes + h.share, gone.refs + 1}
		}
		come = objectUse{come.bytes + m.Stored, come.refs + int64(len(holders))}
		moved++
	}
	if moved == 0 {
		return 0, nil
	}
	keys := []string{from, r.Object}
	slices.Sort(keys)
	for _, key := range keys {
		if key == from {
			_, err = t.exec(`UPDATE packs SET live_bytes = live_bytes - ?, live_refs = live_refs - ? WHERE object_key = ?`, gone.bytes, gone.refs, from)
		} else {
			err = t.addMoved(r, come)
		}
		if err != nil {
			return 0, err
		}
	}
	return moved, nil
}

// holdings locks and gives the contents of the frames of a pack from one offset to another.
func (t *tx) holdings(object string, first, last int64) (map[int64][]holding, error) {
	if err := t.lockHolders(object, first, last); err != nil {
		return nil, err
	}
	frames := map[int64][]holding{}
	return frames, t.rows(func(rows *sqldb.Rows) error {
		var h holding
		var offset int64
		err := rows.Scan(&offset, &h.account, &h.content, &h.share)
		frames[offset] = append(frames[offset], h)
		return err
	}, `SELECT object_offset, account_id, content_id, pack_share FROM contents
		WHERE object_key = ? AND object_offset BETWEEN ? AND ? ORDER BY account_id, content_id`+t.forUpdate(), object, first, last)
}

// lockHolders locks the accounts that have contents in frames of a pack. Another account may have got one by a transfer until all were locked
// that it can have come from; then that is locked too, out of the order, and whoever waits in a circle by that begins anew.
func (t *tx) lockHolders(object string, first, last int64) error {
	for locked := map[string]bool{}; ; {
		var accounts []string
		err := t.texts(&accounts, `SELECT DISTINCT account_id FROM contents WHERE object_key = ? AND object_offset BETWEEN ? AND ?`, object, first, last)
		if err != nil {
			return err
		}
		accounts = slices.DeleteFunc(accounts, func(account string) bool { return locked[account] })
		if len(accounts) == 0 || t.forUpdate() == "" {
			return nil
		}
		if err := t.lockAccounts(accounts); err != nil {
			return err
		}
		for _, account := range accounts {
			locked[account] = true
		}
	}
}

// addMoved adds what moved to the new pack, whose row takes the place of its announcement at first.
func (t *tx) addMoved(r *Rewritten, come objectUse) error {
	var n int64
	var err error
	if r.known {
		n, err = t.exec(`UPDATE packs SET live_bytes = live_bytes + ?, live_refs = live_refs + ? WHERE object_key = ?`, come.bytes, come.refs, r.Object)
	} else if n, err = t.exec(`DELETE FROM loose_objects WHERE object_key = ? AND holder = ?`, r.Object, r.Holder); err == nil && n > 0 {
		_, err = t.exec(`INSERT INTO packs (object_key, total_bytes, live_bytes, live_refs, created_unix, claimed_by, claimed_until) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			r.Object, r.Total, come.bytes, come.refs, t.now, r.Holder, t.now+int64(r.Lease.Seconds()))
	}
	if err == nil && n == 0 {
		err = ErrObjectLost
	}
	return err
}

// ShareAnew gives the contents that are left of each frame of a pack their parts of it. A body that went to many and was deleted by most
// would else count as mostly dead. It tells by how many octets the pack is more alive than was counted.
func (s *Store) ShareAnew(ctx context.Context, object string, frames []Frame) (octets int64, err error) {
	for len(frames) > 0 {
		n, rows := 0, int64(0)
		for n < len(frames) && (n == 0 || rows+frames[n].Refs <= moveRows) {
			rows += frames[n].Refs
			n++
		}
		var more int64
		err := s.write(ctx, "share_anew", func(t *tx) (err error) {
			more, err = t.shareAnew(object, frames[:n])
			return err
		})
		if err != nil {
			return octets, err
		}
		octets += more
		frames = frames[n:]
	}
	return octets, nil
}

func (t *tx) shareAnew(object string, frames []Frame) (more int64, err error) {
	held, err := t.holdings(object, frames[0].Offset, frames[len(frames)-1].Offset)
	if err != nil {
		return 0, err
	}
	for _, f := range frames {
		holders := held[f.Offset]
		if len(holders) == 0 {
			continue
		}
		n := int64(len(holders))
		for i, h := range holders {
			share := f.Stored / n
			if i == 0 {
				share += f.Stored % n
			}
			if share == h.share {
				continue
			}
			more += share - h.share
			if _, err := t.exec(`UPDATE contents SET pack_share = ? WHERE account_id = ? AND content_id = ?`, share, h.account, h.content); err != nil {
				return 0, err
			}
		}
	}
	if more == 0 {
		return 0, nil
	}
	_, err = t.exec(`UPDATE packs SET live_bytes = live_bytes + ? WHERE object_key = ?`, more, object)
	return more, err
}

// any tells whether a count is above 0: what has nothing to do does not write, and waits for no disk.
func (s *Store) any(ctx context.Context, query string, args ...any) (bool, error) {
	var n int
	err := s.read(ctx, "any_dead", func(t *tx) error { return t.row(query, args...).Scan(&n) })
	return n > 0, err
}

// RetireDead turns packs in which nothing is alive into loose objects that may be deleted after grace. more says that others wait.
func (s *Store) RetireDead(ctx context.Context, grace time.Duration) (more bool, err error) {
	waits, err := s.any(ctx, `SELECT COUNT(*) FROM (SELECT object_key FROM packs WHERE live_refs <= 0`+sqldb.Limit(1)+`) p`)
	if err != nil || !waits {
		return false, err
	}
	err = s.write(ctx, "retire_packs", func(t *tx) error {
		var keys []string
		err := t.texts(&keys, `SELECT object_key FROM packs WHERE live_refs <= 0 ORDER BY created_unix`+sqldb.Limit(reclaimBatch))
		if err != nil {
			return err
		}
		slices.Sort(keys)
		for _, key := range keys {
			n, err := t.exec(`DELETE FROM packs WHERE object_key = ? AND live_refs <= 0`, key)
			if err == nil && n > 0 {
				_, err = t.exec(`INSERT INTO loose_objects (object_key, holder, until_unix) VALUES (?, '', ?)
					ON CONFLICT (object_key) DO UPDATE SET holder = '', until_unix = excluded.until_unix`, key, t.now+int64(grace.Seconds()))
			}
			if err != nil {
				return err
			}
		}
		more = len(keys) == reclaimBatch
		return nil
	})
	return more, err
}

// EndGrace lets all objects in which nothing is alive be deleted at once.
func (s *Store) EndGrace(ctx context.Context) error {
	return s.writeRelaxed(ctx, "end_grace", func(t *tx) error {
		_, err := t.exec(`UPDATE loose_objects SET until_unix = 0 WHERE holder = '' AND until_unix > ?`, t.now)
		return err
	})
}

// TakeLoose gives up to limit loose objects that may be deleted, after a key, and takes them from whoever was writing them. What has a
// pack's row is never among them.
func (s *Store) TakeLoose(ctx context.Context, after string, limit int) ([]string, error) {
	var keys []string
	waits, err := s.any(ctx, `SELECT COUNT(*) FROM (SELECT object_key FROM loose_objects WHERE until_unix <= ? AND object_key > ?`+sqldb.Limit(1)+`) l`, s.opts.Now().Unix(), after)
	if err != nil || !waits {
		return nil, err
	}
	// Durable, so that the writer of such an object cannot make it a pack after it was deleted.
	err = s.write(ctx, "take_loose", func(t *tx) error {
		err := t.texts(&keys, `SELECT object_key FROM loose_objects l WHERE until_unix <= ? AND object_key > ?
				AND NOT EXISTS (SELECT 1 FROM packs p WHERE p.object_key = l.object_key) ORDER BY object_key`+sqldb.Limit(limit)+t.forUpdate(), t.now, after)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if _, err := t.exec(`UPDATE loose_objects SET holder = '' WHERE object_key = ? AND holder <> ''`, key); err != nil {
				return err
			}
		}
		return nil
	})
	return keys, err
}

// ForgetLoose removes the rows of loose objects that were deleted.
func (s *Store) ForgetLoose(ctx context.Context, keys []string) error {
	return s.writeRelaxed(ctx, "forget_loose", func(t *tx) error {
		for _, key := range keys {
			if _, err := t.exec(`DELETE FROM loose_objects WHERE object_key = ? AND holder = ''`, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropPack lets an announced pack that did not come to be be deleted at once.
func (s *Store) DropPack(ctx context.Context, object, holder string) error {
	return s.writeRelaxed(ctx, "drop_pack", func(t *tx) error {
		_, err := t.exec(`UPDATE loose_objects SET until_unix = 0 WHERE object_key = ? AND holder = ?`, object, holder)
		return err
	})
}
