package meta

import (
	"context"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// RenewUIDValidity gives a mailbox, or with an empty name all of an account, a UIDVALIDITY that it never had (RFC 9051 section 2.3.1.1). It
// is the time, or more where that was used, as for a new mailbox.
func (s *Store) RenewUIDValidity(ctx context.Context, account, name string) ([]*storagev1.Mailbox, error) {
	var list []*storagev1.Mailbox
	err := s.change(ctx, "renew_uid_validity", account, func(t *tx) error {
		list = nil
		gone, err := t.purged(account)
		if err != nil {
			return err
		}
		if gone {
			return ErrAccountNotFound
		}
		next := t.now
		err = t.rows(func(rows *sqldb.Rows) error {
			var validity int64
			err := rows.Scan(&validity)
			next = max(next, validity)
			return err
		}, `SELECT next_uid_validity FROM accounts WHERE account_id = ?`, account)
		if err != nil {
			return err
		}
		err = t.rows(func(rows *sqldb.Rows) error {
			m, err := scanMailbox(rows)
			if name == "" || m.GetName() == name {
				list = append(list, m)
			}
			return err
		}, `SELECT `+mailboxColumns+` FROM mailboxes WHERE account_id = ? ORDER BY mailbox_id`, account)
		if err != nil {
			return err
		}
		if len(list) == 0 && name != "" {
			return ErrMailboxNotFound
		}
		for _, m := range list {
			m.UidValidity = uint32(next)
			next++
			if err := t.bump(account, m, counters{}); err != nil {
				return err
			}
			err := t.later(`UPDATE mailboxes SET uid_validity = ? WHERE account_id = ? AND mailbox_id = ?`, m.GetUidValidity(), account, m.GetMailboxId())
			if err != nil {
				return err
			}
		}
		return t.later(`UPDATE accounts SET next_uid_validity = ? WHERE account_id = ?`, next, account)
	})
	return list, err
}
