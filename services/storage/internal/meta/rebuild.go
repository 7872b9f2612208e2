package meta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
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

// RestoreAccount puts an account back as it was when its latest snapshot was taken. records gives the records of the whole snapshot and of
// the increments after it to its argument; it may be called again after a conflict. The account is there as a whole or not at all. The
// bodies are awaited: AdoptPack tells where they are.
//
// All messages get a new modseq above any that a client may know, and all UIDs that have no message count as vanished with it: so
// whatever a client has seen since the snapshot, it learns what is true again, without a new UIDVALIDITY.
func (s *Store) RestoreAccount(ctx context.Context, e *storagev1.CatalogEntry, records func(func(*storagev1.CatalogRecord) error) error) error {
	var failed error
	err := s.write(ctx, "restore_account", func(t *tx) error {
		failed = nil
		r := restoration{tx: t, account: e.GetAccountId()}
		if failed = records(r.apply); failed != nil {
			return failed
		}
		if r.head == nil {
			failed = errors.New("snapshot without an account")
			return failed
		}
		if err := r.finish(); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO rebuild_accounts (account_id, taken_ms, finished) VALUES (?, ?, 0)`, r.account, e.GetTakenUnixMs())
		return err
	})
	if failed != nil {
		return failed
	}
	return err
}

// restoration is the work of RestoreAccount in one attempt of its transaction.
type restoration struct {
	*tx
	account string
	head    *storagev1.CatalogAccount
}

func (r *restoration) apply(record *storagev1.CatalogRecord) error {
	if head := record.GetAccount(); head != nil {
		r.head = head
		return nil
	}
	c := record.GetMessages()
	for _, v := range c.GetVanished() {
		err := r.later(`DELETE FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`, r.account, c.GetMailboxId(), v.GetStart(), v.GetStop())
		if err != nil {
			return err
		}
	}
	for _, m := range c.GetMessages() {
		id := unpackContentID(m.GetContentId())
		if err := r.content(m, id); err != nil {
			return err
		}
		if err := r.message(c, m, id); err != nil {
			return err
		}
	}
	return nil
}

func (r *restoration) content(m *storagev1.CatalogMessage, id string) error {
	thread := m.GetThreadId()
	if thread == "" {
		thread = "T" + id
	}
	return r.later(`INSERT INTO contents (account_id, content_id, refs, object_key, object_offset, stored_size, raw_size, raw_sum,
			pack_share, thread_id, sent_unix, header_size, header, summary, structure)
		VALUES (?, ?, 0, ?, ?, 0, ?, 0, ?, ?, 0, 0, ?, ?, ?) ON CONFLICT (account_id, content_id) DO NOTHING`,
		r.account, id, m.GetObjectKey(), int64(m.GetObjectOffset()), int64(m.GetSize())-int64(len(m.GetPrefix())), awaited, thread,
		[]byte{}, []byte{}, []byte{})
}

func (r *restoration) message(c *storagev1.CatalogMessages, m *storagev1.CatalogMessage, content string) error {
	popped := 0
	if m.GetPopped() {
		popped = 1
	}
	if c.GetDeleted() {
		expires := min(m.GetExpiresUnix(), m.GetDeletedUnix()+int64(r.store.opts.Retention.Seconds()))
		if expires <= r.now {
			return nil
		}
		return r.later(`INSERT INTO deleted_messages (account_id, mailbox_id, uid, mailbox_name, modseq, flags, keywords, size,
				internal_unix, saved_unix, popped, content_id, prefix, deleted_unix, expires_unix)
			VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, mailbox_id, uid) DO NOTHING`,
			r.account, c.GetMailboxId(), m.GetUid(), c.GetMailboxName(), m.GetFlags()&AllFlags, m.GetKeywords(), m.GetSize(),
			m.GetInternalUnix(), m.GetSavedUnix(), popped, content, nonNil(m.GetPrefix()), m.GetDeletedUnix(), expires)
	}
	return r.later(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
		VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, mailbox_id, uid) DO UPDATE SET
			flags = excluded.flags, keywords = excluded.keywords, popped = excluded.popped`,
		r.account, c.GetMailboxId(), m.GetUid(), m.GetFlags()&AllFlags, m.GetKeywords(), m.GetSize(), m.GetInternalUnix(), m.GetSavedUnix(),
		popped, content, nonNil(m.GetPrefix()))
}

// finish writes the account itself once all messages are there.
func (r *restoration) finish() error {
	_, err := r.exec(`INSERT INTO accounts (account_id, next_mailbox_id, next_uid_validity, event_sequence, mailboxes) VALUES (?, ?, ?, 0, ?)`,
		r.account, r.head.GetNextMailboxId()+idGap, max(int64(r.head.GetNextUidValidity()), r.now), len(r.head.GetMailboxes()))
	if err != nil {
		return err
	}
	lives := map[uint64]bool{}
	for _, m := range r.head.GetMailboxes() {
		lives[m.GetMailboxId()] = true
		if err := r.mailboxRow(m); err != nil {
			return err
		}
	}
	counted, err := r.countRows(r.account)
	if err != nil {
		return err
	}
	for id := range counted {
		if lives[id] {
			continue
		}
		if _, err := r.exec(`DELETE FROM messages WHERE account_id = ? AND mailbox_id = ?`, r.account, id); err != nil {
			return err
		}
	}
	for _, m := range r.head.GetMailboxes() {
		if err := r.setCounters(r.account, m.GetMailboxId(), counted[m.GetMailboxId()]); err != nil {
			return err
		}
	}
	for _, name := range r.head.GetSubscriptions() {
		if err := r.later(`INSERT INTO subscriptions (account_id, name) VALUES (?, ?) ON CONFLICT (account_id, name) DO NOTHING`, r.account, name); err != nil {
			return err
		}
	}
	for _, name := range r.head.GetKeywords() {
		err := r.later(`INSERT INTO keywords (account_id, folded, name) VALUES (?, ?, ?) ON CONFLICT (account_id, folded) DO NOTHING`,
			r.account, strings.ToLower(name), name)
		if err != nil {
			return err
		}
	}
	return r.countReferences(r.account)
}

// mailboxRow writes a mailbox, its messages' modseqs and its tombstones.
func (r *restoration) mailboxRow(m *storagev1.CatalogAccount_Mailbox) error {
	modseq, next, validity := leapt(m.GetHighestModseq(), m.GetUidNext(), m.GetUidValidity(), r.now)
	_, err := r.exec(`INSERT INTO mailboxes (account_id, `+mailboxColumns+`) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?)`,
		r.account, m.GetMailboxId(), m.GetName(), validity, next, modseq, int32(m.GetSpecialUse()))
	if err != nil {
		return err
	}
	if _, err := r.exec(`UPDATE messages SET modseq = ? WHERE account_id = ? AND mailbox_id = ?`, modseq, r.account, m.GetMailboxId()); err != nil {
		return err
	}
	return r.buryGaps(r.account, m.GetMailboxId(), modseq, next)
}

// buryGaps makes all UIDs below next that have no message vanish with a modseq.
func (t *tx) buryGaps(account string, mailbox, modseq uint64, next uint32) error {
	if _, err := t.exec(`DELETE FROM tombstones WHERE account_id = ? AND mailbox_id = ?`, account, mailbox); err != nil {
		return err
	}
	free, uids := uint32(1), []uint32(nil)
	for {
		uids = uids[:0]
		err := t.rows(func(rows *sqldb.Rows) error {
			var uid uint32
			err := rows.Scan(&uid)
			uids = append(uids, uid)
			return err
		}, `SELECT uid FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid >= ? ORDER BY uid`+sqldb.Limit(catalogPageMessages), account, mailbox, free)
		if err != nil {
			return err
		}
		var gaps uidset.Set
		for _, uid := range uids {
			if uid > free {
				gaps = append(gaps, uidset.Range{Start: free, Stop: uid - 1})
			}
			free = uid + 1
		}
		if len(uids) < catalogPageMessages && free < next {
			gaps = append(gaps, uidset.Range{Start: free, Stop: next - 1})
		}
		for _, g := range gaps {
			err := t.later(`INSERT INTO tombstones (account_id, mailbox_id, modseq, uid_start, uid_stop) VALUES (?, ?, ?, ?, ?)`,
				account, mailbox, modseq, g.Start, g.Stop)
			if err != nil {
				return err
			}
		}
		if len(uids) < catalogPageMessages {
			return nil
		}
	}
}

// rowCounters are what a mailbox's rows add up to.
type rowCounters struct{ messages, unseen, deleted, deletedBytes, bytes int64 }

// countRows adds up the messages of an account by mailbox.
func (t *tx) countRows(account string) (map[uint64]rowCounters, error) {
	counted := map[uint64]rowCounters{}
	err := t.rows(func(rows *sqldb.Rows) error {
		var id uint64
		var c rowCounters
		err := rows.Scan(&id, &c.messages, &c.unseen, &c.deleted, &c.deletedBytes, &c.bytes)
		counted[id] = c
		return err
	}, `SELECT mailbox_id, COUNT(*), CAST(SUM(CASE WHEN flags & 1 = 0 THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN flags & 8 <> 0 THEN 1 ELSE 0 END) AS BIGINT),
			CAST(SUM(CASE WHEN flags & 8 <> 0 THEN size ELSE 0 END) AS BIGINT), CAST(SUM(size) AS BIGINT)
		FROM messages WHERE account_id = ? GROUP BY mailbox_id`, account)
	return counted, err
}

func (t *tx) setCounters(account string, mailbox uint64, c rowCounters) error {
	return t.later(`UPDATE mailboxes SET messages = ?, unseen = ?, deleted = ?, deleted_bytes = ?, bytes = ? WHERE account_id = ? AND mailbox_id = ?`,
		c.messages, c.unseen, c.deleted, c.deletedBytes, c.bytes, account, mailbox)
}

// countReferences sets the references of an account's contents by its rows, and removes contents without any.
func (t *tx) countReferences(account string) error {
	for _, statement := range []string{
		`UPDATE contents SET refs = 0 WHERE account_id = ?`,
		`UPDATE contents SET refs = counted.n FROM (
			SELECT content_id AS id, COUNT(*) AS n FROM (
				SELECT account_id, content_id FROM messages UNION ALL SELECT account_id, content_id FROM deleted_messages
			) AS every WHERE account_id = ? GROUP BY content_id
		) AS counted WHERE contents.account_id = ? AND contents.content_id = counted.id`,
		`DELETE FROM contents WHERE account_id = ? AND refs = 0`,
	} {
		args := slices.Repeat([]any{account}, strings.Count(statement, "?"))
		if _, err := t.exec(statement, args...); err != nil {
			return err
		}
	}
	return nil
}

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
	ctx context.Context, key string, created time.Time, total int64, bodies []*FoundBody, missing map[string]bool,
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
	missing map[string]bool // objects
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
func (s *Store) planPack(ctx context.Context, key string, bodies []*FoundBody, missing map[string]bool) (*packPlan, error) {
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
	for _, h := range hints {
		if _, known := accounts[h.account]; !known && h.content == b.Content.ID {
			accounts[h.account] = nil
		}
	}
	for _, account := range slices.Sorted(maps.Keys(accounts)) {
		a := awaiting{account: account}
		var size int64
		err := t.row(`SELECT pack_share, raw_size, object_key FROM contents WHERE account_id = ? AND content_id = ?`, account, b.Content.ID).
			Scan(&a.share, &size, &a.object)
		switch {
		case err == nil && (a.share == awaited || plan.missing[a.object]) && size == b.Content.Location.Size:
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
