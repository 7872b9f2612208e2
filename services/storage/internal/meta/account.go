package meta

import (
	"context"
	"errors"
	"slices"

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

// openAccount locks the account, which is made with its default mailboxes if it is new; ErrAccountNotFound if it was purged. An actor who is
// not the owner makes none: there is nothing for him.
func (t *tx) openAccount(account string) error {
	for {
		known := false
		t.findAccount(&t.queue, account, func() { known = true })
		if err := t.flush(); err != nil || known {
			return err
		}
		if t.actor.foreign(account) {
			return ErrMailboxNotFound
		}
		// Another transaction may have made it meanwhile; then it is there to be locked.
		if made, err := t.makeAccount(account); err != nil || made {
			return err
		}
	}
}

// makeAccount makes an account unless there is one. An account that is being purged has a row until it is marked as purged, so that
// this waits for the mark.
func (t *tx) makeAccount(account string) (made bool, err error) {
	boxes := int64(len(defaults))
	validity := max(t.now, 1)
	n, err := t.exec(`INSERT INTO accounts (account_id, next_mailbox_id, next_uid_validity, event_sequence, mailboxes)
		VALUES (?, ?, ?, 0, ?) ON CONFLICT (account_id) DO NOTHING`, account, boxes+1, validity+boxes, boxes)
	if err != nil || n == 0 {
		return false, err
	}
	gone, err := t.purged(account)
	if err == nil && gone {
		if err = t.later(`DELETE FROM accounts WHERE account_id = ?`, account); err == nil {
			err = ErrAccountNotFound
		}
	}
	if err != nil {
		return false, err
	}
	for i, d := range defaults {
		m := newMailbox(d.name, d.use)
		m.MailboxId, m.UidValidity = uint64(i+1), uint32(validity+int64(i))
		if err := t.insertMailbox(account, m); err != nil {
			return false, err
		}
		if err := t.subscribe(account, d.name); err != nil {
			return false, err
		}
	}
	return true, nil
}

// makeAccounts makes those of some accounts that are new, in a transaction of its own: whoever makes an account waits for others who do, and
// must not hold locks then. It adds to purged those that were.
func (s *Store) makeAccounts(ctx context.Context, accounts []string, purged map[string]bool) error {
	return s.write(ctx, "create_account", func(t *tx) error {
		for _, account := range slices.Sorted(slices.Values(accounts)) {
			_, err := t.makeAccount(account)
			if errors.Is(err, ErrAccountNotFound) {
				purged[account] = true
				continue
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ensure makes the account if it is new, at the cost of a read otherwise; ErrAccountNotFound if it was purged.
func (s *Store) ensure(ctx context.Context, account string) error {
	if s.actor.foreign(account) {
		return nil
	}
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
	return s.write(ctx, "create_account", func(t *tx) error { return t.openAccount(account) })
}
