package meta

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// prepareMailbox makes the mailbox of a message that came after the catalog, unless the message may go into INBOX as well; and
// turns what cannot be a mailbox or a keyword into what can.
func (s *Store) prepareMailbox(ctx context.Context, row *Row) error {
	name, err := names.Normalise(row.Mailbox)
	if row.Mailbox == "" || err != nil {
		name = names.Inbox
	}
	row.Mailbox = name
	row.Keywords = slices.DeleteFunc(slices.Clone(row.Keywords), func(k string) bool { return checkKeyword(k) != nil })
	if row.Fallback || name == names.Inbox {
		return nil
	}
	_, err = s.MailboxNamed(ctx, row.AccountID, name)
	if errors.Is(err, ErrMailboxNotFound) {
		_, err = s.CreateMailbox(ctx, row.AccountID, name, storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED)
	}
	if fault.Is(err, rpcv1.Reason_REASON_LIMIT) || fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NAME_INVALID) {
		row.Mailbox, err = names.Inbox, nil
	}
	if errors.Is(err, ErrAccountNotFound) {
		err = nil // Insert says so
	}
	return err
}

// LostMessage is a message whose body is nowhere.
type LostMessage struct {
	AccountID, Mailbox string
	UID                uint32
	ContentID          string
	Size               int64
	// Deleted says that it could only have been restored.
	Deleted bool
}

// UnfinishedAccounts gives a page of the accounts of a rebuild, after one.
func (s *Store) UnfinishedAccounts(ctx context.Context, after string) (accounts []string, err error) {
	err = s.read(ctx, "unfinished_accounts", func(t *tx) error {
		return t.texts(&accounts, `SELECT a.account_id FROM accounts a LEFT JOIN rebuild_accounts r ON r.account_id = a.account_id AND r.finished = 1
			WHERE r.account_id IS NULL AND a.account_id > ? ORDER BY a.account_id`+sqldb.Limit(catalogPage), after)
	})
	return accounts, err
}

// Rebuilt is what an account has after a rebuild.
type Rebuilt struct {
	Mailboxes       int
	Messages, Bytes int64
	Lost            []LostMessage
	// Prefixes are what went before some of its messages, the latest first: they tell its address.
	Prefixes [][]byte
}

// prefixSample bounds Rebuilt.Prefixes.
const prefixSample = 200

// FinishAccount removes the messages of an account whose body was not found, and leaves the event by which quota learns of the others.
func (s *Store) FinishAccount(ctx context.Context, account string) (*Rebuilt, error) {
	var out *Rebuilt
	err := s.change(ctx, "finish_account", account, func(t *tx) error {
		out = &Rebuilt{}
		var err error
		if out.Lost, err = t.dropAwaited(account); err != nil {
			return err
		}
		counted, err := t.countRows(account)
		if err != nil {
			return err
		}
		for _, c := range counted {
			out.Messages += c.messages
			out.Bytes += c.bytes
		}
		if err := t.row(`SELECT COUNT(*) FROM mailboxes WHERE account_id = ?`, account).Scan(&out.Mailboxes); err != nil {
			return err
		}
		var bytes, messages int64
		err = t.row(`SELECT CAST(COALESCE(SUM(delta_bytes), 0) AS BIGINT), CAST(COALESCE(SUM(delta_messages), 0) AS BIGINT) FROM events WHERE account_id = ?`, account).
			Scan(&bytes, &messages)
		if err != nil {
			return err
		}
		if out.Bytes != bytes || out.Messages != messages {
			t.used(account, out.Bytes-bytes, out.Messages-messages, "")
		}
		err = t.rows(func(rows *sqldb.Rows) error {
			var prefix []byte
			err := rows.Scan(&prefix)
			out.Prefixes = append(out.Prefixes, slices.Clone(prefix))
			return err
		}, `SELECT prefix FROM messages WHERE account_id = ? ORDER BY mailbox_id, uid DESC`+sqldb.Limit(prefixSample), account)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO rebuild_accounts (account_id, taken_ms, finished) VALUES (?, 0, 1)
			ON CONFLICT (account_id) DO UPDATE SET finished = 1`, account)
		return err
	})
	return out, err
}

// dropAwaited removes the rows of contents whose body no pack had.
func (t *tx) dropAwaited(account string) ([]LostMessage, error) {
	var lost []LostMessage
	scan := func(deleted bool) func(*sqldb.Rows) error {
		return func(rows *sqldb.Rows) error {
			l := LostMessage{AccountID: account, Deleted: deleted}
			err := rows.Scan(&l.Mailbox, &l.UID, &l.ContentID, &l.Size)
			lost = append(lost, l)
			return err
		}
	}
	err := t.rows(scan(false), `SELECT b.name, m.uid, m.content_id, m.size FROM messages m
		JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id
		JOIN mailboxes b ON b.account_id = m.account_id AND b.mailbox_id = m.mailbox_id
		WHERE m.account_id = ? AND c.pack_share = ? ORDER BY b.name, m.uid`, account, awaited)
	if err != nil {
		return nil, err
	}
	err = t.rows(scan(true), `SELECT m.mailbox_name, m.uid, m.content_id, m.size FROM deleted_messages m
		JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id
		WHERE m.account_id = ? AND c.pack_share = ? ORDER BY m.mailbox_name, m.uid`, account, awaited)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	for _, statement := range []string{
		`DELETE FROM messages WHERE account_id = ? AND content_id IN (SELECT content_id FROM contents WHERE account_id = ? AND pack_share = ?)`,
		`DELETE FROM deleted_messages WHERE account_id = ? AND content_id IN (SELECT content_id FROM contents WHERE account_id = ? AND pack_share = ?)`,
	} {
		if _, err := t.exec(statement, account, account, awaited); err != nil {
			return nil, err
		}
	}
	if _, err := t.exec(`DELETE FROM contents WHERE account_id = ? AND pack_share = ?`, account, awaited); err != nil {
		return nil, err
	}
	return lost, t.recount(account)
}

// recount sets the counters and the tombstones of all mailboxes of an account by its rows.
func (t *tx) recount(account string) error {
	counted, err := t.countRows(account)
	if err != nil {
		return err
	}
	type box struct {
		id, modseq uint64
		next       uint32
	}
	var boxes []box
	err = t.rows(func(rows *sqldb.Rows) error {
		var b box
		err := rows.Scan(&b.id, &b.modseq, &b.next)
		boxes = append(boxes, b)
		return err
	}, `SELECT mailbox_id, highest_modseq + 1, uid_next FROM mailboxes WHERE account_id = ?`, account)
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if err := t.setCounters(account, b.id, counted[b.id]); err != nil {
			return err
		}
		if err := t.later(`UPDATE mailboxes SET highest_modseq = ? WHERE account_id = ? AND mailbox_id = ?`, b.modseq, account, b.id); err != nil {
			return err
		}
		if err := t.buryGaps(account, b.id, b.modseq, b.next); err != nil {
			return err
		}
	}
	return nil
}

// KeepSnapshots notes which snapshots of the catalog a rebuild has found in an object, by account, so that later ones make them superfluous.
func (s *Store) KeepSnapshots(ctx context.Context, object string, total int64, kept map[string][]KeptSnapshot) error {
	return s.write(ctx, "keep_snapshots", func(t *tx) error {
		_, err := t.exec(`INSERT INTO catalog_objects (object_key, total_bytes, created_unix) VALUES (?, ?, ?) ON CONFLICT (object_key) DO NOTHING`,
			object, total, t.now)
		if err != nil {
			return err
		}
		for _, account := range slices.Sorted(maps.Keys(kept)) {
			for _, k := range kept[account] {
				err := t.later(`INSERT INTO catalog_frames (account_id, snapshot_id, generation, object_key, stored_bytes) VALUES (?, ?, 1, ?, ?)
					ON CONFLICT (account_id, snapshot_id) DO NOTHING`, account, k.ID, object, k.Stored)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// KeptSnapshot is a snapshot by its id, hexadecimal, and the octets of its frame.
type KeptSnapshot struct {
	ID     string
	Stored int64
}
