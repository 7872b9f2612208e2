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
		if err := t.openAccount(account); err != nil {
			return err
		}
		source, err := t.mailboxNamed(account, from)
		if err != nil {
			return err
		}
		if err := t.permitRename(account, source, to); err != nil {
			return err
		}
		if strings.HasPrefix(to, from+names.Separator) {
			return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_MAILBOX_NAME_INVALID, "a mailbox cannot become its own child")
		}
		if err := t.nameFree(account, to); err != nil {
			return err
		}
		above, err := t.createParents(account, to)
		if err != nil {
			return err
		}
		if from == names.Inbox {
			return t.renameInbox(account, source, to, above)
		}
		return t.renameTree(account, from, to)
	})
}

// permitRename checks that the actor may take a mailbox from where it is and put it elsewhere (RFC 4314 section 4, RENAME). What is below it
// follows; all lists stay as they are.
func (t *tx) permitRename(account string, source *storagev1.Mailbox, to string) error {
	if err := t.permit(account, source.GetMailboxId(), RightDelete); err != nil {
		return err
	}
	if t.actor.foreign(account) && source.GetName() == names.Inbox {
		return ErrNotPermitted // it would make a mailbox of the owner's messages, and leave the list behind
	}
	return t.permitCreate(account, to)
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

func (t *tx) renameInbox(account string, inbox *storagev1.Mailbox, to string, above *storagev1.Mailbox) error {
	target, err := t.createMailbox(account, to, storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED, above)
	if err != nil {
		return err
	}
	if err := t.copyAnnotations(account, inbox.GetMailboxId(), target.GetMailboxId()); err != nil { // RFC 5464 section 4.1
		return err
	}
	all, err := t.choose(account, inbox, uidset.All, false, 0)
	if err != nil {
		return err
	}
	_, err = t.move(account, inbox, target, all, allRights)
	return err
}

func (t *tx) renameTree(account, from, to string) error {
	tree, err := t.tree(account, from)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(tree)) {
		m := tree[id]
		renamed := to + strings.TrimPrefix(m.GetName(), from)
		if _, err := names.Normalise(renamed); err != nil {
			return err // a child's name grew too long
		}
		// No other mailbox has the name, as what is above it was free.
		if err := t.later(`UPDATE mailboxes SET name = ? WHERE account_id = ? AND mailbox_id = ?`, renamed, account, id); err != nil {
			return err
		}
		if err := t.bump(account, m, counters{}); err != nil {
			return err
		}
	}
	return nil
}

// tree gives a mailbox and its children by id.
func (t *tx) tree(account, name string) (map[uint64]*storagev1.Mailbox, error) {
	tree := map[uint64]*storagev1.Mailbox{}
	return tree, t.rows(func(rows *sqldb.Rows) error {
		m, err := scanMailbox(rows)
		if m.GetName() == name || strings.HasPrefix(m.GetName(), name+names.Separator) {
			tree[m.GetMailboxId()] = m
		}
		return err
	}, `SELECT `+mailboxColumns+` FROM mailboxes WHERE account_id = ?`, account)
}
