package meta

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// ErrAccountNotFound is the fault of an account that was purged.
var ErrAccountNotFound = fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "the account does not exist any more")

// purgeBatch bounds the rows of a table that one transaction of PurgeAccount removes.
const purgeBatch = 1000

// PurgeAccount removes everything of an account, for good, and tells how many messages there were, deleted ones not counted.
// The packs' live bytes go down; the objects are reclaimed later. It may be repeated after an error.
func (s *Store) PurgeAccount(ctx context.Context, account string) (messages uint64, err error) {
	// At once, so that nothing comes in while its rows go.
	err = s.change(ctx, "close_account", account, func(t *tx) error { return t.closeAccount(account) })
	if err == nil {
		err = s.forgetGrantee(ctx, account)
	}
	for more := true; more && err == nil; {
		var n uint64
		err = s.write(ctx, "purge_account", func(t *tx) (err error) {
			n, more, err = t.purgeSome(account)
			return err
		})
		if err == nil {
			messages += n
		}
	}
	return messages, err
}

// UnfinishedPurges gives accounts that a crash or an error has left half purged.
func (s *Store) UnfinishedPurges(ctx context.Context) ([]string, error) {
	var accounts []string
	err := s.read(ctx, "unfinished_purges", func(t *tx) error {
		return t.texts(&accounts, `SELECT account_id FROM purged_accounts WHERE unfinished = 1`)
	})
	return accounts, err
}

// Purged tells which of some accounts were purged.
func (s *Store) Purged(ctx context.Context, accounts []string) (map[string]bool, error) {
	purged := map[string]bool{}
	err := s.read(ctx, "find_purged", func(t *tx) error {
		for _, account := range accounts {
			t.queue.Query(func(*sqldb.Rows) error {
				purged[account] = true
				return nil
			}, `SELECT account_id FROM purged_accounts WHERE account_id = ?`, account)
			if err := t.overflow(); err != nil {
				return err
			}
		}
		return t.flush()
	})
	return purged, err
}

func (t *tx) purged(account string) (bool, error) {
	var n int
	err := t.row(`SELECT COUNT(*) FROM purged_accounts WHERE account_id = ?`, account).Scan(&n)
	return n > 0, err
}

// closeAccount marks an account as purged and removes what leads to its messages.
func (t *tx) closeAccount(account string) error {
	// A row to lock, so that nobody makes the account before the mark is there to be seen.
	_, err := t.exec(`INSERT INTO accounts (account_id, next_mailbox_id, next_uid_validity, event_sequence, mailboxes)
		VALUES (?, 1, 1, 0, 0) ON CONFLICT (account_id) DO NOTHING`, account)
	if err != nil {
		return err
	}
	if err := t.lockAccounts([]string{account}); err != nil {
		return err
	}
	err = t.later(`INSERT INTO purged_accounts (account_id, purged_unix, unfinished) VALUES (?, ?, 1)
		ON CONFLICT (account_id) DO UPDATE SET unfinished = 1`, account, t.now)
	if err != nil {
		return err
	}
	err = t.rows(func(rows *sqldb.Rows) error {
		var id uint64
		err := rows.Scan(&id)
		t.removed(account, id)
		return err
	}, `SELECT mailbox_id FROM mailboxes WHERE account_id = ?`, account)
	if err != nil {
		return err
	}
	for _, table := range []string{"mailboxes", "closing_mailboxes", "subscriptions", "metadata_entries", "mailbox_access", "leases", "events", "text_mailboxes", "text_queue", "accounts"} {
		if err := t.later(`DELETE FROM `+table+` WHERE account_id = ?`, account); err != nil {
			return err
		}
	}
	return nil
}

// purgeSome removes a batch of the rows of a closed account. more says that others may be left.
func (t *tx) purgeSome(account string) (messages uint64, more bool, err error) {
	// Another replica may be at it too.
	err = t.rows(func(*sqldb.Rows) error { return nil }, `SELECT account_id FROM purged_accounts WHERE account_id = ?`+t.forUpdate(), account)
	if err != nil {
		return 0, false, err
	}
	messages, err = t.purgeMessages(account, "messages")
	if err != nil || messages > 0 {
		return messages, true, err
	}
	deleted, err := t.purgeMessages(account, "deleted_messages")
	if err != nil || deleted > 0 {
		return 0, true, err
	}
	for _, table := range []struct{ name, key string }{
		{"threads", "hash"},
		{"keywords", "folded"},
		{"tombstones", "mailbox_id, modseq, uid_start"},
		{"deliveries", "delivery_id, target"},
		{"text_contents", "content_id"},
		{"text_segments", "segment_id, mailbox_id"},
		{"text_postings", "mailbox_id, chunk, segment_id"},
	} {
		n, err := t.exec(`DELETE FROM `+table.name+` WHERE account_id = ? AND (`+table.key+`) IN (
			SELECT `+table.key+` FROM `+table.name+` WHERE account_id = ?`+sqldb.Limit(purgeBatch)+`)`, account, account)
		if err != nil || n > 0 {
			return 0, true, err
		}
	}
	return 0, false, t.later(`UPDATE purged_accounts SET unfinished = 0 WHERE account_id = ?`, account)
}

// purgeMessages removes up to purgeBatch rows of messages or deleted_messages.
func (t *tx) purgeMessages(account, table string) (uint64, error) {
	var contents []string
	err := t.texts(&contents, `DELETE FROM `+table+` WHERE account_id = ? AND (mailbox_id, uid) IN (
			SELECT mailbox_id, uid FROM `+table+` WHERE account_id = ? ORDER BY mailbox_id, uid`+sqldb.Limit(purgeBatch)+`) RETURNING content_id`, account, account)
	if err != nil {
		return 0, err
	}
	return uint64(len(contents)), t.unref(map[string][]string{account: contents})
}
