package meta

import (
	"context"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Actor is the account on whose behalf the store is asked. The zero Actor is the owner, whichever account it is about.
type Actor struct {
	AccountID string
	// Domain of the account, in lower case: what is granted to "@" and the domain is granted to it.
	Domain string
}

// foreign tells whether a mailbox of an account is somebody else's.
func (a Actor) foreign(account string) bool { return a.AccountID != "" && a.AccountID != account }

// grantees are the names under which lists may have the actor. No grantee is "@" alone.
func (a Actor) grantees() (self, domain string) { return a.AccountID, "@" + a.Domain }

// As gives the store on behalf of an actor: what reads or changes mailboxes and messages then holds to their access control lists, in the
// transaction that does it. That is at no cost for who owns the mailbox. Sync, the maildrop and what works on whole accounts ask no lists.
func (s *Store) As(a Actor) *Store {
	on := *s
	on.actor = a
	return &on
}

// rights gives what the actor may do with a mailbox that exists.
func (t *tx) rights(account string, mailbox uint64) (Rights, error) {
	if !t.actor.foreign(account) {
		return allRights, nil
	}
	var has Rights
	t.actor.find(&t.queue, account, mailbox, &has)
	return has, t.flush()
}

// find adds a query to a batch for what the actor may do with a mailbox of somebody else.
func (a Actor) find(b *queue, account string, mailbox uint64, has *Rights) {
	self, domain := a.grantees()
	b.Query(has.include, `SELECT rights FROM mailbox_access WHERE account_id = ? AND mailbox_id = ? AND grantee IN (?, ?)`,
		account, mailbox, self, domain)
}

// include adds the rights of a row with nothing else.
func (r *Rights) include(rows *sqldb.Rows) error {
	var more Rights
	err := rows.Scan(&more)
	*r |= more
	return err
}

// permit checks that the actor has rights on a mailbox that exists.
func (t *tx) permit(account string, mailbox uint64, wanted Rights) error {
	has, err := t.rights(account, mailbox)
	if err != nil {
		return err
	}
	return has.permit(wanted)
}

// show makes a mailbox what the actor may see of it.
func (t *tx) show(account string, m *storagev1.Mailbox) error {
	if !t.actor.foreign(account) {
		return nil
	}
	has, err := t.rights(account, m.GetMailboxId())
	if err != nil {
		return err
	}
	if has&visibleRights == 0 {
		return ErrMailboxNotFound
	}
	m.Rights, m.Subscribed = has.String(), false
	return nil
}

// Destination finds the mailbox of a normalised name that the actor may add messages to, and what it may do there.
func (s *Store) Destination(ctx context.Context, account, name string) (m *storagev1.Mailbox, has Rights, err error) {
	if err := s.ensure(ctx, account); err != nil {
		return nil, 0, err
	}
	err = s.read(ctx, "get_mailbox", func(t *tx) error {
		if m, err = t.mailboxNamed(account, name); err != nil {
			return err
		}
		if has, err = t.rights(account, m.GetMailboxId()); err != nil {
			return err
		}
		return has.permit(RightInsert)
	})
	return m, has, err
}

// Permitted checks that the actor has rights on a mailbox, for what reads it in several transactions. Of its own it has all.
func (s *Store) Permitted(ctx context.Context, account string, mailbox uint64, wanted Rights) error {
	if !s.actor.foreign(account) {
		return nil
	}
	return s.read(ctx, "find_access", func(t *tx) error {
		if _, err := t.mailbox(account, mailbox); err != nil {
			return err
		}
		return t.permit(account, mailbox, wanted)
	})
}
