package meta

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// RenameMailbox renames a mailbox with all its children, and makes the missing parents of the new name. Renaming INBOX moves its
// messages into a new mailbox and leaves its children (RFC 9051 section 6.3.6). Names are normalised.
func (s *Store) RenameMailbox(ctx context.Context, account, from, to string) error {
	return s.write(ctx, "rename_mailbox", func(t *tx) error {
		if err := t.ensureAccount(account); err != nil {
			return err
		}
		source, err := t.mailboxNamed(account, from)
		if err != nil {
			return err
		}
		if strings.HasPrefix(to, from+names.Separator) {
			return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_MAILBOX_NAME_INVALID, "a mailbox cannot become its own child")
		}
		if err := t.nameFree(account, to); err != nil {
			return err
		}
		if err := t.createParents(account, to); err != nil {
			return err
		}
		if from == names.Inbox {
			return t.renameInbox(account, source, to)
		}
		return t.renameTree(account, from, to)
	})
}

func (t *tx) nameFree(account, name string) error {
	_, err := t.mailboxNamed(account, name)
	switch {
	case err == nil:
		return ErrMailboxExists
	case errors.Is(err, ErrMailboxNotFound):
		return nil
	}
	return err
}

func (t *tx) renameInbox(account string, inbox *storagev1.Mailbox, to string) error {
	target, err := t.createMailbox(account, to, storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED)
	if err != nil {
		return err
	}
	all, err := t.choose(account, inbox, uidset.All, 0, 0)
	if err != nil {
		return err
	}
	_, err = t.move(account, inbox, target, all)
	return err
}

func (t *tx) renameTree(account, from, to string) error {
	tree, err := t.tree(account, from)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(tree)) {
		renamed := to + strings.TrimPrefix(tree[id], from)
		if _, err := names.Normalise(renamed); err != nil {
			return err // a child's name grew too long
		}
		_, err := t.exec(`UPDATE mailboxes SET name = ? WHERE account_id = ? AND mailbox_id = ?`, renamed, account, id)
		if sqldb.IsUnique(err) {
			return ErrMailboxExists
		}
		if err != nil {
			return err
		}
		if _, err := t.bump(account, id, counters{}); err != nil {
			return err
		}
	}
	return nil
}

// tree gives the names of a mailbox and its children by id.
func (t *tx) tree(account, name string) (map[uint64]string, error) {
	tree := map[uint64]string{}
	err := t.rows(func(rows *sqldb.Rows) error {
		var id uint64
		var found string
		if err := rows.Scan(&id, &found); err != nil {
			return err
		}
		if found == name || strings.HasPrefix(found, name+names.Separator) {
			tree[id] = found
		}
		return nil
	}, `SELECT mailbox_id, name FROM mailboxes WHERE account_id = ?`, account)
	return tree, err
}

// DeleteMailbox removes a mailbox; its messages can be restored for the retention time. INBOX and mailboxes with
// children are REASON_MAILBOX_PROTECTED.
func (s *Store) DeleteMailbox(ctx context.Context, account, name string) error {
	return s.write(ctx, "delete_mailbox", func(t *tx) error {
		if err := t.ensureAccount(account); err != nil {
			return err
		}
		m, err := t.mailboxNamed(account, name)
		if err != nil {
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
		if m.GetMessages() > 0 {
			if err := t.retire(account, m, uidset.All); err != nil {
				return err
			}
			t.used(account, -int64(m.GetBytes()), -int64(m.GetMessages()), "")
		}
		for _, statement := range []string{
			`DELETE FROM tombstones WHERE account_id = ? AND mailbox_id = ?`,
			`DELETE FROM mailboxes WHERE account_id = ? AND mailbox_id = ?`,
		} {
			if _, err := t.exec(statement, account, m.GetMailboxId()); err != nil {
				return err
			}
		}
		t.removed(account, m.GetMailboxId())
		_, err = t.exec(`UPDATE accounts SET mailboxes = mailboxes - 1 WHERE account_id = ?`, account)
		return err
	})
}
