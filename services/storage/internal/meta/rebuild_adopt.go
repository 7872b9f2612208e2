package meta

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
)

// FoundBody is a body that a rebuild has found in a pack.
type FoundBody struct {
	// Content has the body's location and what was parsed of it. Its id is the one that the pack tells, or one that was made
	// of its place because the pack is from before they tell it.
	Content *Content
	// Named says that the pack tells the content id.
	Named bool
	// Made is when the body came, at the latest commitTime before its delivery was committed.
	Made       time.Time
	Recipients []*storagev1.Recovery_Recipient
	// Delivery names what brought the body, and is the same for each body that a delivery left when it was tried again; empty: nobody knows.
	Delivery string
}

// Adopted is what a pack was good for.
type Adopted struct {
	// Located counts contents of the catalog that were found, by account; Delivered messages that came after the catalog; Dead bodies that
	// nobody has any more, by account.
	Located, Delivered, Dead int
	// Refused are messages that could not be put into their mailbox, for what reason.
	Refused []string
}

// AdoptPack finds a place for the bodies of a pack that lies at key and holds total octets of frames. Contents in objects that are missing
// are looked for too. It may be repeated.
func (s *Store) AdoptPack(
	ctx context.Context, key string, created time.Time, total int64, bodies []*FoundBody, missing Missing,
) (*Adopted, error) {
	out := &Adopted{}
	plan, err := s.planPack(ctx, key, bodies, missing)
	if err != nil || plan == nil {
		return out, err
	}
	out.Dead = plan.dead
	if err := s.deliverFound(ctx, plan.units, out); err != nil {
		return out, err
	}
	err = s.write(ctx, "adopt_pack", func(t *tx) error {
		out.Located = 0
		for _, b := range bodies {
			for _, a := range plan.located[b] {
				if err := t.locate(a, b); err != nil {
					return err
				}
				out.Located++
			}
		}
		if err := t.countPack(key, created, total, bodies); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO rebuild_objects (object_key) VALUES (?)`, key)
		return err
	})
	return out, err
}

// packPlan is what is to be done with the bodies of a pack.
type packPlan struct {
	missing Missing
	located map[*FoundBody][]awaiting
	units   []*Unit // messages that came after the catalog
	dead    int
}

// awaiting is a content whose body is looked for, with the object where it was and what it counted there; share may be awaited.
type awaiting struct {
	account, object string
	share           int64
}

// planPack looks at what the accounts know; nil if the pack was gone through before.
func (s *Store) planPack(ctx context.Context, key string, bodies []*FoundBody, missing Missing) (*packPlan, error) {
	var plan *packPlan
	err := s.read(ctx, "plan_pack", func(t *tx) error {
		plan = &packPlan{missing: missing, located: map[*FoundBody][]awaiting{}}
		var n int
		if err := t.row(`SELECT COUNT(*) FROM rebuild_objects WHERE object_key = ?`, key).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			plan = nil
			return nil
		}
		hints, err := t.hints(key)
		if err != nil {
			return err
		}
		for _, b := range bodies {
			for _, h := range hints[b.Content.Location.Offset] {
				if !b.Named {
					b.Content.ID = h.content
				}
			}
			if err := t.planBody(plan, b, hints[b.Content.Location.Offset]); err != nil {
				return err
			}
		}
		return nil
	})
	return plan, err
}

// hint is a content that the catalog says lay at a place.
type hint struct{ account, content string }

// hints gives by offset what is awaited of an object.
func (t *tx) hints(key string) (map[int64][]hint, error) {
	out := map[int64][]hint{}
	err := t.rows(func(rows *sqldb.Rows) error {
		var h hint
		var offset int64
		err := rows.Scan(&h.account, &h.content, &offset)
		out[offset] = append(out[offset], h)
		return err
	}, `SELECT account_id, content_id, object_offset FROM contents WHERE object_key = ? AND pack_share = ? ORDER BY account_id`, key, awaited)
	return out, err
}

func (t *tx) planBody(plan *packPlan, b *FoundBody, hints []hint) error {
	accounts := map[string][]*storagev1.Recovery_Recipient{}
	for _, r := range b.Recipients {
		accounts[r.GetAccountId()] = append(accounts[r.GetAccountId()], r)
	}
	holders, err := t.holders(plan, b, hints)
	if err != nil {
		return err
	}
	for _, account := range holders {
		if _, known := accounts[account]; !known {
			accounts[account] = nil
		}
	}
	for _, account := range slices.Sorted(maps.Keys(accounts)) {
		a := awaiting{account: account}
		var size int64
		err := t.row(`SELECT pack_share, raw_size, object_key FROM contents WHERE account_id = ? AND content_id = ?`, account, b.Content.ID).
			Scan(&a.share, &size, &a.object)
		switch {
		case err == nil && (a.share == awaited || plan.missing.Objects[a.object]) && size == b.Content.Location.Size:
			plan.located[b] = append(plan.located[b], a)
			continue
		case err == nil:
			continue // found in another pack, or not this body
		case !isNone(err):
			return err
		}
		dead, err := t.wasDeleted(account, b.Made)
		if err != nil {
			return err
		}
		if dead {
			plan.dead++
			continue
		}
		for _, r := range accounts[account] {
			plan.units = append(plan.units, &Unit{Rows: []*Row{foundRow(b, r)}})
		}
	}
	return nil
}

// holders gives the accounts that look for a body, also those that the pack does not name: they have a copy of another account's message.
func (t *tx) holders(plan *packPlan, b *FoundBody, hints []hint) ([]string, error) {
	var accounts []string
	if b.Named {
		if err := t.texts(&accounts, `SELECT account_id FROM contents WHERE content_id = ? AND `+isAwaited, b.Content.ID); err != nil {
			return nil, err
		}
	}
	for _, h := range hints {
		if h.content == b.Content.ID {
			accounts = append(accounts, h.account)
		}
	}
	return append(accounts, plan.missing.Holders[b.Content.ID]...), nil
}

// wasDeleted tells whether an account that does not know a body once did: its snapshot is younger than any transaction that brought it, or
// the account was purged.
func (t *tx) wasDeleted(account string, made time.Time) (bool, error) {
	var ms int64
	err := t.row(`SELECT taken_ms FROM rebuild_accounts WHERE account_id = ?`, account).Scan(&ms)
	if err == nil {
		return made.Add(commitTime).UnixMilli() < ms, nil
	}
	if !isNone(err) {
		return false, err
	}
	return t.purged(account)
}

func foundRow(b *FoundBody, r *storagev1.Recovery_Recipient) *Row {
	row := &Row{
		AccountID: r.GetAccountId(), Mailbox: r.GetMailbox(), Fallback: r.GetFallback(), Content: b.Content, Prefix: r.GetPrefix(),
		Flags: r.GetFlags() & AllFlags, Keywords: r.GetKeywords(), InternalUnix: r.GetInternalUnix(), DeliveryID: b.Delivery,
	}
	if row.InternalUnix == 0 {
		row.InternalUnix = b.Made.Unix()
	}
	return row
}

// deliverFound stores messages that came after the catalog, in one transaction. What a mailbox of its own refuses goes into INBOX.
func (s *Store) deliverFound(ctx context.Context, units []*Unit, out *Adopted) error {
	for _, u := range units {
		if err := s.prepareMailbox(ctx, u.Rows[0]); err != nil {
			return err
		}
	}
	if len(units) == 0 {
		return nil
	}
	if err := s.Insert(ctx, units); err != nil {
		return err
	}
	for _, u := range units {
		if u.Err != nil {
			out.Refused = append(out.Refused, fmt.Sprintf("a message of account %s: %v", u.Rows[0].AccountID, u.Err))
			continue
		}
		if u.Placed[0].Duplicate {
			out.Dead++
			continue
		}
		out.Delivered++
	}
	return nil
}

// locate writes where the body of a content lies, and what was parsed of it.
func (t *tx) locate(a awaiting, b *FoundBody) error {
	account, c, l := a.account, b.Content, b.Content.Location
	if a.share != awaited {
		err := t.later(`UPDATE packs SET live_bytes = live_bytes - ?, live_refs = live_refs - 1 WHERE object_key = ?`, a.share, a.object)
		if err != nil {
			return err
		}
	}
	var thread string
	if err := t.row(`SELECT thread_id FROM contents WHERE account_id = ? AND content_id = ?`, account, c.ID).Scan(&thread); err != nil {
		return err
	}
	for _, id := range append([]string{c.parsed.GetMessageId()}, c.parsed.GetReferences()...) {
		if id == "" {
			continue
		}
		err := t.later(`INSERT INTO threads (account_id, hash, thread_id) VALUES (?, ?, ?) ON CONFLICT (account_id, hash) DO NOTHING`,
			account, threadHash(id, c.parsed.GetBaseSubject()), thread)
		if err != nil {
			return err
		}
	}
	// The share is set by countPack, when all is known of the pack.
	return t.later(`UPDATE contents SET object_key = ?, object_offset = ?, stored_size = ?, raw_sum = ?, pack_share = 0, sent_unix = ?, header_size = ?,
			header = ?, summary = ?, structure = ? WHERE account_id = ? AND content_id = ? AND object_key = ?`,
		l.Object, l.Offset, l.Stored, int64(l.Sum), c.parsed.GetSentUnix(), int64(c.parsed.GetRoot().GetHeaderSize()),
		nonNil(c.header), nonNil(c.summary), nonNil(c.structure), account, c.ID, a.object)
}

// countPack sets the shares of all contents in a pack, and the pack's row.
func (t *tx) countPack(key string, created time.Time, total int64, bodies []*FoundBody) error {
	holders := map[int64][]hint{}
	err := t.rows(func(rows *sqldb.Rows) error {
		var h hint
		var offset int64
		err := rows.Scan(&h.account, &h.content, &offset)
		holders[offset] = append(holders[offset], h)
		return err
	}, `SELECT account_id, content_id, object_offset FROM contents WHERE object_key = ? AND pack_share <> ? ORDER BY account_id, content_id`, key, awaited)
	if err != nil {
		return err
	}
	var live objectUse
	for _, b := range bodies {
		list := holders[b.Content.Location.Offset]
		for i, h := range list {
			share := shareOf(b.Content.Location, i, len(list))
			if err := t.later(`UPDATE contents SET pack_share = ? WHERE account_id = ? AND content_id = ?`, share, h.account, h.content); err != nil {
				return err
			}
			live = objectUse{live.bytes + share, live.refs + 1}
		}
	}
	_, err = t.exec(`INSERT INTO packs (object_key, total_bytes, live_bytes, live_refs, created_unix) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (object_key) DO UPDATE SET total_bytes = excluded.total_bytes, live_bytes = excluded.live_bytes, live_refs = excluded.live_refs`,
		key, total, live.bytes, live.refs, created.Unix())
	if err != nil {
		return err
	}
	// The restored database may be of a moment when a compaction was writing it.
	return t.later(`DELETE FROM loose_objects WHERE object_key = ?`, key)
}

// shareOf is the part of a frame's octets that the i-th of n contents in it counts; they add up.
func shareOf(l body.Location, i, n int) int64 {
	share := l.Stored / int64(n)
	if i == 0 {
		share += l.Stored % int64(n)
	}
	return share
}
