package meta

import (
	"context"

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

// ensureAccount makes the account with its default mailboxes if it is new; ErrAccountNotFound if it was purged.
func (t *tx) ensureAccount(account string) error {
	gone, err := t.purged(account)
	if err != nil {
		return err
	}
	if gone {
		return ErrAccountNotFound
	}
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

// ensure makes the account if it is new, at the cost of a read otherwise; ErrAccountNotFound if it was purged.
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
