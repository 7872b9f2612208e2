// Package metatest holds the conformance suite that every database under the metadata store must pass, and the invariants that
// every test of storage can check at its end.
package metatest

import (
	"context"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Usage is what an account's rows add up to, with its pending events.
type Usage struct {
	Bytes, Messages int64
	events          []event
}

type event struct{ sequence, bytes, messages int64 }

// PendingBytes adds up the events after a sequence.
func (u *Usage) PendingBytes(applied int64) (n int64) {
	for _, e := range u.events {
		if e.sequence > applied {
			n += e.bytes
		}
	}
	return n
}

// PendingMessages adds up the events after a sequence.
func (u *Usage) PendingMessages(applied int64) (n int64) {
	for _, e := range u.events {
		if e.sequence > applied {
			n += e.messages
		}
	}
	return n
}

// invariants are queries that give a row for each thing that is wrong.
var invariants = map[string]string{
	"counters of a mailbox differ from its rows": `
		SELECT b.account_id || '/' || b.name FROM mailboxes b LEFT JOIN (
			SELECT account_id, mailbox_id, COUNT(*) AS n, SUM(size) AS bytes, SUM(CASE WHEN flags & 1 = 0 THEN 1 ELSE 0 END) AS unseen,
				SUM(CASE WHEN flags & 8 <> 0 THEN 1 ELSE 0 END) AS deleted, SUM(CASE WHEN flags & 8 <> 0 THEN size ELSE 0 END) AS deleted_bytes,
				MAX(uid) AS uid, MAX(modseq) AS modseq
			FROM messages GROUP BY account_id, mailbox_id
		) m ON m.account_id = b.account_id AND m.mailbox_id = b.mailbox_id
		WHERE b.access_modseq > b.highest_modseq OR b.messages <> COALESCE(n, 0) OR b.bytes <> COALESCE(m.bytes, 0) OR b.unseen <> COALESCE(m.unseen, 0)
			OR b.deleted <> COALESCE(m.deleted, 0) OR b.deleted_bytes <> COALESCE(m.deleted_bytes, 0)
			OR b.uid_next <= COALESCE(uid, 0) OR b.highest_modseq < COALESCE(m.modseq, 0)`,
	"message without a mailbox": `
		SELECT m.account_id FROM messages m LEFT JOIN mailboxes b ON b.account_id = m.account_id AND b.mailbox_id = m.mailbox_id
		WHERE b.mailbox_id IS NULL AND m.account_id NOT IN (SELECT account_id FROM purged_accounts WHERE unfinished = 1)
			AND NOT EXISTS (SELECT 1 FROM closing_mailboxes c WHERE c.account_id = m.account_id AND c.mailbox_id = m.mailbox_id)`,
	"mailbox that is deleted and lives": `
		SELECT c.account_id FROM closing_mailboxes c JOIN mailboxes b ON b.account_id = c.account_id AND b.mailbox_id = c.mailbox_id`,
	"row of a purged account": `
		SELECT p.account_id FROM purged_accounts p WHERE p.unfinished = 0 AND p.account_id IN (
			SELECT account_id FROM accounts UNION SELECT account_id FROM mailboxes UNION SELECT account_id FROM subscriptions
			UNION SELECT account_id FROM messages UNION SELECT account_id FROM deleted_messages UNION SELECT account_id FROM contents
			UNION SELECT account_id FROM threads UNION SELECT account_id FROM keywords UNION SELECT account_id FROM tombstones
			UNION SELECT account_id FROM events UNION SELECT account_id FROM deliveries UNION SELECT account_id FROM closing_mailboxes
			UNION SELECT account_id FROM metadata_entries UNION SELECT account_id FROM mailbox_access UNION SELECT grantee FROM mailbox_access)`,
	"access to a mailbox that is not there, or whose list never changed": `
		SELECT a.account_id || '/' || a.grantee FROM mailbox_access a LEFT JOIN mailboxes b ON b.account_id = a.account_id AND b.mailbox_id = a.mailbox_id
		WHERE b.mailbox_id IS NULL OR b.access_modseq = 0 OR a.rights = '' OR a.grantee = a.account_id`,
	"annotation of a mailbox that is not there": `
		SELECT a.account_id || '/' || a.name FROM metadata_entries a LEFT JOIN mailboxes b ON b.account_id = a.account_id AND b.mailbox_id = a.mailbox_id
		WHERE a.mailbox_id <> 0 AND b.mailbox_id IS NULL`,
	"message without its content, or of another size": `
		SELECT m.account_id FROM messages m LEFT JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id
		WHERE c.content_id IS NULL OR m.size <> c.raw_size + LENGTH(m.prefix)`,
	"references of a content differ from its rows": `
		SELECT c.account_id || '/' || c.content_id FROM contents c LEFT JOIN (
			SELECT account_id, content_id, COUNT(*) AS n FROM (
				SELECT account_id, content_id FROM messages UNION ALL SELECT account_id, content_id FROM deleted_messages
			) AS rows_of GROUP BY account_id, content_id
		) r ON r.account_id = c.account_id AND r.content_id = c.content_id
		WHERE c.refs <> COALESCE(n, 0)`,
	"live octets of an object differ from its contents": `
		SELECT p.object_key FROM packs p LEFT JOIN (
			SELECT object_key, COUNT(*) AS n, SUM(pack_share) AS bytes FROM contents GROUP BY object_key
		) c ON c.object_key = p.object_key
		WHERE p.live_refs <> COALESCE(n, 0) OR p.live_bytes <> COALESCE(bytes, 0) OR p.live_bytes > p.total_bytes`,
	"content in an unknown object": `
		SELECT c.account_id FROM contents c LEFT JOIN packs p ON p.object_key = c.object_key WHERE p.object_key IS NULL`,
	"number of mailboxes differs from the rows": `
		SELECT a.account_id FROM accounts a WHERE a.mailboxes <> (SELECT COUNT(*) FROM mailboxes b WHERE b.account_id = a.account_id)`,
	"tombstone of a message that lives": `
		SELECT t.account_id FROM tombstones t JOIN messages m ON m.account_id = t.account_id AND m.mailbox_id = t.mailbox_id
			AND m.uid BETWEEN t.uid_start AND t.uid_stop`,
}

// Check fails the test for every invariant that does not hold, and gives the usage of each account.
func Check(t testing.TB, db *sqldb.DB) map[string]*Usage {
	t.Helper()
	usage := map[string]*Usage{}
	ctx := context.Background()
	err := db.Read(ctx, "check", func(tx *sqldb.Tx) error {
		for what, query := range invariants {
			err := each(ctx, tx, query, func(rows *sqldb.Rows) error {
				var who string
				err := rows.Scan(&who)
				t.Errorf("%s: %s", what, who)
				return err
			})
			if err != nil {
				return err
			}
		}
		err := each(ctx, tx, `SELECT a.account_id, CAST(COALESCE(SUM(m.size), 0) AS BIGINT), COUNT(m.uid) FROM accounts a
				LEFT JOIN messages m ON m.account_id = a.account_id GROUP BY a.account_id`, func(rows *sqldb.Rows) error {
			var account string
			u := &Usage{}
			err := rows.Scan(&account, &u.Bytes, &u.Messages)
			usage[account] = u
			return err
		})
		if err != nil {
			return err
		}
		return each(ctx, tx, `SELECT account_id, sequence, delta_bytes, delta_messages FROM events`, func(rows *sqldb.Rows) error {
			var account string
			var e event
			err := rows.Scan(&account, &e.sequence, &e.bytes, &e.messages)
			if u := usage[account]; u != nil {
				u.events = append(u.events, e)
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return usage
}

func each(ctx context.Context, tx *sqldb.Tx, query string, fn func(*sqldb.Rows) error) error {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
