package meta

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

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
	for _, a := range r.head.GetMetadata() {
		if err := r.annotate(a); err != nil {
			return err
		}
	}
	for _, a := range r.head.GetAccess() {
		if err := r.grant(a); err != nil {
			return err
		}
	}
	return r.countReferences(r.account)
}

// annotate writes an annotation.
func (r *restoration) annotate(a *storagev1.CatalogAccount_Metadata) error {
	e, err := names.ParseEntry(a.GetName())
	if err != nil {
		return err
	}
	return r.later(`INSERT INTO metadata_entries (account_id, mailbox_id, viewer, folded, name, value) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (account_id, mailbox_id, viewer, folded) DO NOTHING`, r.account, a.GetMailboxId(), a.GetViewer(), string(e), a.GetName(), nonNil(a.GetValue()))
}

// grant writes an entry of an access control list.
func (r *restoration) grant(a *storagev1.CatalogAccount_Access) error {
	rights, err := ParseRights(a.GetRights())
	if err != nil {
		return err
	}
	return r.later(`INSERT INTO mailbox_access (account_id, mailbox_id, grantee, rights) VALUES (?, ?, ?, ?)
		ON CONFLICT (account_id, mailbox_id, grantee) DO NOTHING`, r.account, a.GetMailboxId(), a.GetGrantee(), rights.String())
}

// mailboxRow writes a mailbox, its messages' modseqs and its tombstones. Its access control list counts as changed, too.
func (r *restoration) mailboxRow(m *storagev1.CatalogAccount_Mailbox) error {
	modseq, next, validity := leapt(m.GetHighestModseq(), m.GetUidNext(), m.GetUidValidity(), r.now)
	_, err := r.exec(`INSERT INTO mailboxes (account_id, `+mailboxColumns+`) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?)`,
		r.account, m.GetMailboxId(), m.GetName(), validity, next, modseq, int32(m.GetSpecialUse()), modseq)
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
