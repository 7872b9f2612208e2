package meta

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// DeleteMailbox removes a mailbox; its messages can be restored for the retention time. INBOX and mailboxes with
// children are REASON_MAILBOX_PROTECTED. The mailbox is gone at once; the messages of a large one follow in several transactions, each with
// the usage event of what it removed, and PurgeExpired does what an error leaves.
func (s *Store) DeleteMailbox(ctx context.Context, account, name string) error {
	var m *storagev1.Mailbox
	more := false
	err := s.write(ctx, "delete_mailbox", func(t *tx) (err error) {
		if err := t.openAccount(account); err != nil {
			return err
		}
		if m, err = t.mailboxNamed(account, name); err != nil {
			return err
		}
		if err := t.permit(account, m.GetMailboxId(), RightDelete); err != nil {
			return err
		}
		if name == names.Inbox {
			return fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_MAILBOX_PROTECTED, "INBOX cannot be deleted")
		}
		tree, err := t.tree(account, name)
		if err != nil {
			return err
		}
		if len(tree) > 1 {
			return fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_MAILBOX_PROTECTED, "the mailbox has children")
		}
		t.removed(account, m.GetMailboxId())
		if err := t.later(`DELETE FROM mailboxes WHERE account_id = ? AND mailbox_id = ?`, account, m.GetMailboxId()); err != nil {
			return err
		}
		if err := t.dropAnnotations(account, m.GetMailboxId()); err != nil {
			return err
		}
		if err := t.dropAcl(account, m); err != nil {
			return err
		}
		if err := t.later(`UPDATE accounts SET mailboxes = mailboxes - 1 WHERE account_id = ?`, account); err != nil {
			return err
		}
		if err := t.later(`INSERT INTO closing_mailboxes (account_id, mailbox_id, name) VALUES (?, ?, ?)`, account, m.GetMailboxId(), name); err != nil {
			return err
		}
		more, err = t.closeSome(account, m)
		return err
	})
	if err != nil {
		return err
	}
	return s.closeRest(ctx, account, m, more)
}

// closeRest removes what is left of a deleted mailbox.
func (s *Store) closeRest(ctx context.Context, account string, m *storagev1.Mailbox, more bool) (err error) {
	for more && err == nil {
		err = s.change(ctx, "close_mailbox", account, func(t *tx) (err error) {
			more, err = t.closeSome(account, m)
			return err
		})
	}
	return err
}

// closeSome retires some of the messages of a deleted mailbox. more says that others are left.
func (t *tx) closeSome(account string, m *storagev1.Mailbox) (more bool, err error) {
	// Its row says that nobody has finished this yet, and what it was called.
	closing := false
	t.queue.Query(func(*sqldb.Rows) error {
		closing = true
		return nil
	}, `SELECT name FROM closing_mailboxes WHERE account_id = ? AND mailbox_id = ?`, account, m.GetMailboxId())
	var list []uint32
	chosen := &selection{}
	err = t.rows(func(rows *sqldb.Rows) error {
		var uid, flags uint32
		var size int64
		err := rows.Scan(&uid, &flags, &size)
		list = append(list, uid)
		chosen.count(flags, size)
		return err
	}, `SELECT uid, flags, size FROM messages WHERE account_id = ? AND mailbox_id = ? ORDER BY uid`+sqldb.Limit(expungeBatch), account, m.GetMailboxId())
	if err != nil || !closing {
		return false, err
	}
	if len(list) > 0 {
		// Nothing comes in any more, so that the range is what was read.
		if err := t.retireRange(account, m, list[0], list[len(list)-1]); err != nil {
			return false, err
		}
		t.used(account, -chosen.counters.bytes, -chosen.counters.messages, "")
	}
	if len(list) == expungeBatch {
		return true, nil
	}
	for _, table := range []string{"tombstones", "closing_mailboxes"} {
		if err := t.later(`DELETE FROM `+table+` WHERE account_id = ? AND mailbox_id = ?`, account, m.GetMailboxId()); err != nil {
			return false, err
		}
	}
	return false, nil
}

// finishDeletes removes what a crash or an error has left of deleted mailboxes.
func (s *Store) finishDeletes(ctx context.Context) error {
	type closing struct {
		account string
		box     *storagev1.Mailbox
	}
	var list []closing
	err := s.read(ctx, "closing_mailboxes", func(t *tx) error {
		list = nil
		return t.rows(func(rows *sqldb.Rows) error {
			c := closing{box: &storagev1.Mailbox{}}
			err := rows.Scan(&c.account, &c.box.MailboxId, &c.box.Name)
			list = append(list, c)
			return err
		}, `SELECT account_id, mailbox_id, name FROM closing_mailboxes ORDER BY account_id, mailbox_id`+sqldb.Limit(reclaimBatch))
	})
	for _, c := range list {
		if err == nil {
			err = s.closeRest(ctx, c.account, c.box, true)
		}
	}
	return err
}
