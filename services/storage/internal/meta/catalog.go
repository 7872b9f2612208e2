package meta

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Bounds of a chain of increments, so that writing and reading it costs at most a constant more than whole snapshots.
const (
	maxIncrements = 48
	minChainBytes = 64 << 10
)

// catalogPage bounds the accounts that one read compares with the catalog, and the purged ones it gives.
const catalogPage = 500

// StaleAccounts goes through a page of accounts, from the one after the given one, and gives those that have changed since their last
// snapshot. next is the last of the page, or "" when all have been seen. Nothing is written when mail changes: the mailboxes' modseqs are
// compared with those of the snapshot.
func (s *Store) StaleAccounts(ctx context.Context, after string) (stale []string, next string, err error) {
	err = s.read(ctx, "stale_accounts", func(t *tx) error {
		stale, next = nil, ""
		var accounts []string
		err := t.texts(&accounts, `SELECT account_id FROM accounts WHERE account_id > ? ORDER BY account_id`+sqldb.Limit(catalogPage), after)
		if err != nil || len(accounts) == 0 {
			return err
		}
		last := accounts[len(accounts)-1]
		current, err := t.currentMarks(after, last)
		if err != nil {
			return err
		}
		taken := map[string]string{}
		err = t.rows(func(rows *sqldb.Rows) error {
			var account string
			var marks []byte
			err := rows.Scan(&account, &marks)
			taken[account] = string(marks)
			return err
		}, `SELECT account_id, marks FROM catalog_accounts WHERE account_id > ? AND account_id <= ?`, after, last)
		if err != nil {
			return err
		}
		for _, account := range accounts {
			if was, known := taken[account]; !known || was != string(current[account].encode()) {
				stale = append(stale, account)
			}
		}
		if len(accounts) == catalogPage {
			next = last
		}
		return nil
	})
	return stale, next, err
}

// StalePurges gives up to a page of accounts that were purged since their last snapshot, or without one.
func (s *Store) StalePurges(ctx context.Context) (accounts []string, err error) {
	err = s.read(ctx, "stale_purges", func(t *tx) error {
		return t.texts(&accounts, `SELECT p.account_id FROM purged_accounts p LEFT JOIN catalog_accounts c ON c.account_id = p.account_id AND c.purged = 1
			WHERE c.account_id IS NULL ORDER BY p.account_id`+sqldb.Limit(catalogPage))
	})
	return accounts, err
}

// currentMarks gives the marks of the accounts in a range, first excluded.
func (t *tx) currentMarks(first, last string) (map[string]*catalogMarks, error) {
	out := map[string]*catalogMarks{}
	of := func(account string) *catalogMarks {
		if out[account] == nil {
			out[account] = &catalogMarks{modseqs: map[uint64]uint64{}}
		}
		return out[account]
	}
	err := t.rows(func(rows *sqldb.Rows) error {
		var account string
		var id, modseq uint64
		err := rows.Scan(&account, &id, &modseq)
		of(account).modseqs[id] = modseq
		return err
	}, `SELECT account_id, mailbox_id, highest_modseq FROM mailboxes WHERE account_id > ? AND account_id <= ?`, first, last)
	if err != nil {
		return nil, err
	}
	err = t.rows(func(rows *sqldb.Rows) error {
		var account, name string
		err := rows.Scan(&account, &name)
		of(account).subscribe(name)
		return err
	}, `SELECT account_id, name FROM subscriptions WHERE account_id > ? AND account_id <= ?`, first, last)
	return out, err
}

// Snapshot is what an account had at one moment, on its way into the catalog.
type Snapshot struct {
	// Entry is the meta of the snapshot's frame.
	Entry    *storagev1.CatalogEntry
	Messages uint64 // in the records; of an increment those that changed

	marks    catalogMarks
	previous catalogState
}

// Whole tells whether the snapshot stands for itself.
func (s *Snapshot) Whole() bool { return len(s.Entry.GetPreviousId()) == 0 }

// catalogState is a row of catalog_accounts.
type catalogState struct {
	snapshotID                       string
	generation, whole, chain, length int64
	purged                           bool
	marks                            catalogMarks
}

// catalogState reads the row of an account; without one it is all zero.
func (t *tx) catalogState(account string) (catalogState, error) {
	var c catalogState
	var marks []byte
	var purged int64
	err := t.row(`SELECT snapshot_id, generation, whole_bytes, chain_bytes, chain_length, purged, marks FROM catalog_accounts WHERE account_id = ?`,
		account).Scan(&c.snapshotID, &c.generation, &c.whole, &c.chain, &c.length, &purged, &marks)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	c.purged = purged != 0
	c.marks, err = parseMarks(marks)
	return c, err
}

// chainFull tells that the next snapshot should be whole.
func (c catalogState) chainFull() bool {
	return c.snapshotID == "" || c.purged || c.length >= maxIncrements || c.chain > max(c.whole/2, minChainBytes)
}

// TakeSnapshot gives an account's records to emit, from one consistent read: all, or what changed since the last snapshot. emit must not keep
// them. It is nil if nothing has changed or the account is gone.
func (s *Store) TakeSnapshot(ctx context.Context, account string, emit func(*storagev1.CatalogRecord) error) (*Snapshot, error) {
	var out *Snapshot
	err := s.read(ctx, "snapshot", func(t *tx) error {
		out = nil
		gone, err := t.purged(account)
		if err != nil {
			return err
		}
		state, err := t.catalogState(account)
		if err != nil {
			return err
		}
		id := uuid.New()
		snap := &Snapshot{previous: state, Entry: &storagev1.CatalogEntry{
			AccountId: account, SnapshotId: id[:], TakenUnixMs: s.opts.Now().UnixMilli(), Purged: gone,
		}}
		if gone {
			if !state.purged {
				out = snap
			}
			return nil
		}
		e := snapshotter{tx: t, account: account, emit: emit}
		if !state.chainFull() {
			e.since = state.marks.modseqs
			if snap.Entry.PreviousId, err = hex.DecodeString(state.snapshotID); err != nil {
				return fmt.Errorf("read snapshot id: %w", err)
			}
		}
		known, err := e.run()
		if err != nil || !known {
			return err
		}
		if snap.marks = e.marks; state.snapshotID != "" && !state.purged && string(state.marks.encode()) == string(e.marks.encode()) {
			return nil
		}
		snap.Messages, out = e.messages, snap
		return nil
	})
	return out, err
}

// snapshotter emits the records of one snapshot.
type snapshotter struct {
	*tx
	account  string
	emit     func(*storagev1.CatalogRecord) error
	since    map[uint64]uint64 // modseqs by mailbox that the last snapshot had; nil: everything is new
	marks    catalogMarks
	messages uint64
}

// run emits everything. known is false if there is no such account.
func (e *snapshotter) run() (known bool, err error) {
	head, err := e.head()
	if err != nil || head == nil {
		return false, err
	}
	if err := e.emit(&storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_Account{Account: head}}); err != nil {
		return true, err
	}
	for _, m := range head.GetMailboxes() {
		if err := e.mailbox(m); err != nil {
			return true, err
		}
	}
	if e.since == nil {
		err = e.deleted(0, uidset.All)
	} else {
		for _, id := range slices.Sorted(maps.Keys(e.since)) {
			if _, lives := e.marks.modseqs[id]; !lives && err == nil {
				err = e.deleted(id, uidset.All)
			}
		}
	}
	if err != nil {
		return true, err
	}
	return true, e.emit(&storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_End{End: &storagev1.CatalogEnd{Messages: e.messages}}})
}

// head reads the account itself, or gives nil.
func (e *snapshotter) head() (*storagev1.CatalogAccount, error) {
	head := &storagev1.CatalogAccount{}
	err := e.row(`SELECT next_mailbox_id, next_uid_validity FROM accounts WHERE account_id = ?`, e.account).
		Scan(&head.NextMailboxId, &head.NextUidValidity)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e.marks.modseqs = map[uint64]uint64{}
	err = e.rows(func(rows *sqldb.Rows) error {
		m, err := scanMailbox(rows)
		head.Mailboxes = append(head.Mailboxes, &storagev1.CatalogAccount_Mailbox{
			MailboxId: m.GetMailboxId(), Name: m.GetName(), UidValidity: m.GetUidValidity(), UidNext: m.GetUidNext(),
			HighestModseq: m.GetHighestModseq(), SpecialUse: m.GetSpecialUse(),
		})
		e.marks.modseqs[m.GetMailboxId()] = m.GetHighestModseq()
		return err
	}, `SELECT `+mailboxColumns+` FROM mailboxes WHERE account_id = ? ORDER BY mailbox_id`, e.account)
	if err != nil {
		return nil, err
	}
	text := func(into *[]string) func(*sqldb.Rows) error {
		return func(rows *sqldb.Rows) error {
			var s string
			err := rows.Scan(&s)
			*into = append(*into, s)
			return err
		}
	}
	if err := e.rows(text(&head.Subscriptions), `SELECT name FROM subscriptions WHERE account_id = ?`, e.account); err != nil {
		return nil, err
	}
	for _, name := range head.GetSubscriptions() {
		e.marks.subscribe(name)
	}
	if err := e.rows(text(&head.Keywords), `SELECT name FROM keywords WHERE account_id = ?`, e.account); err != nil {
		return nil, err
	}
	err = e.rows(func(rows *sqldb.Rows) error {
		a := &storagev1.CatalogAccount_Access{}
		err := rows.Scan(&a.MailboxId, &a.Grantee, &a.Rights)
		head.Access = append(head.Access, a)
		return err
	}, `SELECT mailbox_id, grantee, rights FROM mailbox_access WHERE account_id = ?`, e.account)
	if err != nil {
		return nil, err
	}
	return head, e.rows(func(rows *sqldb.Rows) error {
		a := &storagev1.CatalogAccount_Metadata{}
		err := rows.Scan(&a.MailboxId, &a.Viewer, &a.Name, &a.Value)
		head.Metadata = append(head.Metadata, a)
		return err
	}, `SELECT mailbox_id, viewer, name, value FROM metadata_entries WHERE account_id = ?`, e.account)
}

const (
	// catalogRecordMessages and catalogRecordRanges bound what one record holds.
	catalogRecordMessages = 256
	catalogRecordRanges   = 50_000
	// catalogPageMessages bounds one query, so that no statement lasts long in a large mailbox.
	catalogPageMessages = 4096
)

const catalogColumns = `m.uid, m.flags, m.keywords, m.size, m.internal_unix, m.saved_unix, m.popped, m.content_id, m.prefix,
	c.thread_id, c.object_key, c.object_offset`

const joinContents = ` JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id `

func scanCatalogMessage(rows *sqldb.Rows, more ...any) (*storagev1.CatalogMessage, error) {
	m := &storagev1.CatalogMessage{}
	var content string
	var popped int
	err := rows.Scan(append([]any{&m.Uid, &m.Flags, &m.Keywords, &m.Size, &m.InternalUnix, &m.SavedUnix, &popped, &content, &m.Prefix,
		&m.ThreadId, &m.ObjectKey, &m.ObjectOffset}, more...)...)
	m.Popped = popped != 0
	if m.ThreadId == "T"+content {
		m.ThreadId = ""
	}
	m.ContentId = packContentID(content)
	return m, err
}

// mailbox emits what a mailbox holds, or what has changed in it.
func (e *snapshotter) mailbox(m *storagev1.CatalogAccount_Mailbox) error {
	since, known := e.since[m.GetMailboxId()]
	if !known {
		return e.all(m.GetMailboxId())
	}
	if since >= m.GetHighestModseq() {
		return nil
	}
	if err := e.vanished(m.GetMailboxId(), since); err != nil {
		return err
	}
	return e.changed(m.GetMailboxId(), since)
}

// all emits a mailbox in UID order.
func (e *snapshotter) all(mailbox uint64) error {
	for last := uint32(0); ; {
		page, err := e.page(mailbox, &last, nil, `SELECT `+catalogColumns+`, m.modseq FROM messages m`+joinContents+
			`WHERE m.account_id = ? AND m.mailbox_id = ? AND m.uid > ? ORDER BY m.uid`+sqldb.Limit(catalogPageMessages),
			e.account, mailbox, last)
		if err != nil || page < catalogPageMessages {
			return err
		}
	}
}

// changed emits what has a higher modseq, in order of it.
func (e *snapshotter) changed(mailbox, since uint64) error {
	for uid := uint32(1<<32 - 1); ; {
		page, err := e.page(mailbox, &uid, &since, `SELECT `+catalogColumns+`, m.modseq FROM messages m`+joinContents+
			`WHERE m.account_id = ? AND m.mailbox_id = ? AND (m.modseq, m.uid) > (?, ?) ORDER BY m.modseq, m.uid`+sqldb.Limit(catalogPageMessages),
			e.account, mailbox, since, uid)
		if err != nil || page < catalogPageMessages {
			return err
		}
	}
}

// page emits the messages of one query, and gives their number and the place of the last.
func (e *snapshotter) page(mailbox uint64, uid *uint32, modseq *uint64, query string, args ...any) (n int, err error) {
	record := &storagev1.CatalogMessages{MailboxId: mailbox}
	err = e.rows(func(rows *sqldb.Rows) error {
		var at uint64
		m, err := scanCatalogMessage(rows, &at)
		if err != nil {
			return err
		}
		n++
		*uid = m.GetUid()
		if modseq != nil {
			*modseq = at
		}
		record.Messages = append(record.Messages, m)
		return e.flush(record, catalogRecordMessages)
	}, query, args...)
	if err != nil {
		return n, err
	}
	return n, e.flush(record, 1)
}

// flush emits a record that has at least so many messages, and empties it.
func (e *snapshotter) flush(record *storagev1.CatalogMessages, least int) error {
	if len(record.GetMessages()) < least {
		return nil
	}
	e.messages += uint64(len(record.GetMessages()))
	err := e.emit(&storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_Messages{Messages: record}})
	record.Messages = nil
	return err
}

// vanished emits the UIDs that are gone since a modseq, and those of them that can be restored.
func (e *snapshotter) vanished(mailbox, since uint64) error {
	var set uidset.Set
	err := e.rows(func(rows *sqldb.Rows) error {
		var r uidset.Range
		err := rows.Scan(&r.Start, &r.Stop)
		set = append(set, r)
		return err
	}, `SELECT uid_start, uid_stop FROM tombstones WHERE account_id = ? AND mailbox_id = ? AND modseq > ?`, e.account, mailbox, since)
	if err != nil || len(set) == 0 {
		return err
	}
	set = set.Union(nil)
	for some := range slices.Chunk(set, catalogRecordRanges) {
		record := &storagev1.CatalogMessages{MailboxId: mailbox, Vanished: some.Proto()}
		if err := e.emit(&storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_Messages{Messages: record}}); err != nil {
			return err
		}
	}
	return e.deleted(mailbox, set)
}

// deleted emits the messages of a set that were deleted from a mailbox and can be restored; of all mailboxes if it is 0.
func (e *snapshotter) deleted(mailbox uint64, set uidset.Set) error {
	last := DeletedKey{mailbox, set[0].Start - 1}
	stop := DeletedKey{mailbox, set[len(set)-1].Stop}
	if mailbox == 0 {
		stop.MailboxID = 1<<63 - 1
	}
	record := &storagev1.CatalogMessages{Deleted: true}
	for n := catalogPageMessages; n == catalogPageMessages; {
		n = 0
		err := e.rows(func(rows *sqldb.Rows) error {
			var name string
			var deleted, expires int64
			m, err := scanCatalogMessage(rows, &last.MailboxID, &name, &deleted, &expires)
			if err != nil {
				return err
			}
			n++
			last.UID = m.GetUid()
			if !set.Contains(m.GetUid()) {
				return nil
			}
			m.DeletedUnix, m.ExpiresUnix = deleted, expires
			if last.MailboxID != record.GetMailboxId() || name != record.GetMailboxName() {
				if err := e.flush(record, 1); err != nil {
					return err
				}
				record.MailboxId, record.MailboxName = last.MailboxID, name
			}
			record.Messages = append(record.Messages, m)
			return e.flush(record, catalogRecordMessages)
		}, `SELECT `+catalogColumns+`, m.mailbox_id, m.mailbox_name, m.deleted_unix, m.expires_unix FROM deleted_messages m`+joinContents+
			`WHERE m.account_id = ? AND (m.mailbox_id, m.uid) > (?, ?) AND (m.mailbox_id, m.uid) <= (?, ?)
			ORDER BY m.mailbox_id, m.uid`+sqldb.Limit(catalogPageMessages), e.account, last.MailboxID, last.UID, stop.MailboxID, stop.UID)
		if err != nil {
			return err
		}
	}
	return e.flush(record, 1)
}
