package meta

import (
	"context"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// defaults are the mailboxes of a new account, subscribed (RFC 6154 for the special uses).
var defaults = []struct {
	name string
	use  storagev1.SpecialUse
}{
	{names.Inbox, storagev1.SpecialUse_SPECIAL_USE_INBOX},
	{"Drafts", storagev1.SpecialUse_SPECIAL_USE_DRAFTS},
	{"Sent", storagev1.SpecialUse_SPECIAL_USE_SENT},
	{"Junk", storagev1.SpecialUse_SPECIAL_USE_JUNK},
	{"Trash", storagev1.SpecialUse_SPECIAL_USE_TRASH},
	{"Archive", storagev1.SpecialUse_SPECIAL_USE_ARCHIVE},
}

// ensureAccount makes the account with its default mailboxes if it is new.
func (t *tx) ensureAccount(account string) error {
	made, err := t.exec(`INSERT INTO accounts (account_id, next_mailbox_id, next_uid_validity, event_sequence, mailboxes)
		VALUES (?, 1, 1, 0, 0) ON CONFLICT (account_id) DO NOTHING`, account)
	if err != nil || made == 0 {
		return err
	}
	for _, d := range defaults {
		if _, err := t.createMailbox(account, d.name, d.use); err != nil {
			return err
		}
		if err := t.subscribe(account, d.name); err != nil {
			return err
		}
	}
	return nil
}

// ensure makes the account if it is new, at the cost of a read otherwise.
func (s *Store) ensure(ctx context.Context, account string) error {
	known := false
	err := s.read(ctx, "find_account", func(t *tx) error {
		var n int
		err := t.row(`SELECT COUNT(*) FROM accounts WHERE account_id = ?`, account).Scan(&n)
		known = n > 0
		return err
	})
	if err != nil || known {
		return err
	}
	return s.write(ctx, "create_account", func(t *tx) error { return t.ensureAccount(account) })
}

// purgeBatch bounds the messages that one transaction of PurgeAccount removes.
const purgeBatch = 1000

// PurgeAccount removes everything of an account and tells how many messages there were, deleted ones not counted.
// The packs' live bytes go down; the objects are reclaimed later. It may be repeated after an error.
func (s *Store) PurgeAccount(ctx context.Context, account string) (messages uint64, err error) {
	for done := false; !done; {
		var n uint64
		err := s.write(ctx, "purge_account", func(t *tx) (err error) {
			n, err = t.purgeMessages(account, "messages")
			if err != nil || n > 0 {
				return err
			}
			deleted, err := t.purgeMessages(account, "deleted_messages")
			if err != nil || deleted > 0 {
				return err
			}
			done = true
			return t.purgeRest(account)
		})
		if err != nil {
			return messages, err
		}
		messages += n
	}
	return messages, nil
}

// purgeMessages removes up to purgeBatch rows of messages or deleted_messages.
func (t *tx) purgeMessages(account, table string) (uint64, error) {
	type key struct {
		mailbox uint64
		uid     uint32
	}
	var keys []key
	var contents []string
	err := t.rows(func(rows *sqldb.Rows) error {
		var k key
		var content string
		err := rows.Scan(&k.mailbox, &k.uid, &content)
		keys, contents = append(keys, k), append(contents, content)
		return err
	}, `SELECT mailbox_id, uid, content_id FROM `+table+` WHERE account_id = ? ORDER BY mailbox_id, uid LIMIT ?`, account, purgeBatch)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE account_id = ? AND mailbox_id = ? AND uid = ?`, account, k.mailbox, k.uid); err != nil {
			return 0, err
		}
	}
	return uint64(len(keys)), t.unref(account, contents)
}

// purgeRest removes what is left of an account without messages.
func (t *tx) purgeRest(account string) error {
	err := t.rows(func(rows *sqldb.Rows) error {
		var id uint64
		err := rows.Scan(&id)
		t.removed(account, id)
		return err
	}, `SELECT mailbox_id FROM mailboxes WHERE account_id = ?`, account)
	if err != nil {
		return err
	}
	for _, table := range []string{
		"mailboxes", "subscriptions", "threads", "keywords", "tombstones", "events", "deliveries", "leases", "accounts",
	} {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE account_id = ?`, account); err != nil {
			return err
		}
	}
	return nil
}
