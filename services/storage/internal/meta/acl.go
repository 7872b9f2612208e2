package meta

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	// maxAccess bounds the entries of one list.
	maxAccess = 100
	// maxShared bounds the mailboxes that SharedMailboxes gives for the account itself, and those for its domain.
	maxShared = 1000
)

// Grant is what one grantee may do with a mailbox: an account, or "@" and a domain for all of its accounts.
type Grant struct {
	Grantee string
	Rights  Rights
}

// Acl gives the access control list of the mailbox of a normalised name, in order of grantee. The actor needs RightAdmin.
func (s *Store) Acl(ctx context.Context, account, name string) (list []Grant, err error) {
	if err := s.ensure(ctx, account); err != nil {
		return nil, err
	}
	err = s.read(ctx, "get_acl", func(t *tx) error {
		m, err := t.mailboxNamed(account, name)
		if err != nil {
			return err
		}
		if err := t.permit(account, m.GetMailboxId(), RightAdmin); err != nil {
			return err
		}
		list, err = t.acl(account, m.GetMailboxId())
		return err
	})
	return list, err
}

func (t *tx) acl(account string, mailbox uint64) ([]Grant, error) {
	var list []Grant
	err := t.rows(func(rows *sqldb.Rows) error {
		var g Grant
		err := rows.Scan(&g.Grantee, &g.Rights)
		list = append(list, g)
		return err
	}, `SELECT grantee, rights FROM mailbox_access WHERE account_id = ? AND mailbox_id = ?`, account, mailbox)
	slices.SortFunc(list, func(a, b Grant) int { return strings.Compare(a.Grantee, b.Grantee) })
	return list, err
}

// SetAcl changes what one grantee may do with the mailbox of a normalised name; none removes its entry. The mailbox takes a modseq if that
// changes the list. The actor needs RightAdmin. Errors: LIMIT; INVALID if the grantee is the owner, who may do everything.
func (s *Store) SetAcl(ctx context.Context, account, name string, operation storagev1.SetAclRequest_Operation, change Grant) error {
	if change.Grantee == account {
		return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "the owner of a mailbox has all rights")
	}
	return s.write(ctx, "set_acl", func(t *tx) error {
		if err := t.openAccount(account); err != nil {
			return err
		}
		m, err := t.mailboxNamed(account, name)
		if err != nil {
			return err
		}
		if err := t.permit(account, m.GetMailboxId(), RightAdmin); err != nil {
			return err
		}
		list, err := t.acl(account, m.GetMailboxId())
		if err != nil {
			return err
		}
		var before Rights
		if i := slices.IndexFunc(list, func(g Grant) bool { return g.Grantee == change.Grantee }); i >= 0 {
			before = list[i].Rights
		}
		after := change.Rights
		switch operation {
		case storagev1.SetAclRequest_OPERATION_ADD:
			after |= before
		case storagev1.SetAclRequest_OPERATION_REMOVE:
			after = before &^ after
		}
		if after == before {
			return nil
		}
		if before == 0 && len(list) >= maxAccess {
			return fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "an access control list has at most %d entries", maxAccess)
		}
		return t.grant(account, m, Grant{change.Grantee, after})
	})
}

// grant writes an entry, or removes one without rights, and tells of it.
func (t *tx) grant(account string, m *storagev1.Mailbox, g Grant) (err error) {
	if g.Rights == 0 {
		err = t.later(`DELETE FROM mailbox_access WHERE account_id = ? AND mailbox_id = ? AND grantee = ?`, account, m.GetMailboxId(), g.Grantee)
	} else {
		err = t.later(`INSERT INTO mailbox_access (account_id, mailbox_id, grantee, rights) VALUES (?, ?, ?, ?)
			ON CONFLICT (account_id, mailbox_id, grantee) DO UPDATE SET rights = excluded.rights`, account, m.GetMailboxId(), g.Grantee, g.Rights.String())
	}
	if err != nil {
		return err
	}
	if err := t.bump(account, m, counters{}); err != nil {
		return err
	}
	m.AccessModseq = m.GetHighestModseq()
	return t.later(`UPDATE mailboxes SET access_modseq = highest_modseq WHERE account_id = ? AND mailbox_id = ?`, account, m.GetMailboxId())
}

// inheritAcl gives a new mailbox the list of the one above it (RFC 4314 section 4, CREATE).
func (t *tx) inheritAcl(account string, from, to uint64) error {
	return t.later(`INSERT INTO mailbox_access (account_id, mailbox_id, grantee, rights)
		SELECT account_id, CAST(? AS BIGINT), grantee, rights FROM mailbox_access WHERE account_id = ? AND mailbox_id = ?`, to, account, from)
}

// dropAcl removes the list of a mailbox that goes.
func (t *tx) dropAcl(account string, m *storagev1.Mailbox) error {
	if m.GetAccessModseq() == 0 {
		return nil
	}
	return t.later(`DELETE FROM mailbox_access WHERE account_id = ? AND mailbox_id = ?`, account, m.GetMailboxId())
}

// forgetGrantee takes from an account that is purged what others have granted it, and its own annotations of their mailboxes.
func (s *Store) forgetGrantee(ctx context.Context, grantee string) error {
	var granted []MailboxKey
	err := s.read(ctx, "find_granted", func(t *tx) error {
		granted = nil
		return t.rows(func(rows *sqldb.Rows) error {
			var key MailboxKey
			err := rows.Scan(&key.AccountID, &key.MailboxID)
			granted = append(granted, key)
			return err
		}, `SELECT account_id, mailbox_id FROM mailbox_access WHERE grantee = ?`, grantee)
	})
	for _, key := range granted {
		if err != nil {
			return err
		}
		err = s.change(ctx, "forget_grantee", key.AccountID, func(t *tx) error {
			m, err := t.mailbox(key.AccountID, key.MailboxID)
			if errors.Is(err, ErrMailboxNotFound) {
				return nil // and its list with it
			}
			if err != nil {
				return err
			}
			err = t.later(`DELETE FROM metadata_entries WHERE account_id = ? AND mailbox_id = ? AND viewer = ?`, key.AccountID, key.MailboxID, grantee)
			if err != nil {
				return err
			}
			return t.grant(key.AccountID, m, Grant{Grantee: grantee})
		})
	}
	return err
}

// SharedMailboxes gives the mailboxes of others of which the actor may know, in order of account and name. Of those that are shared with the
// account itself, and of those that are with its domain, it gives up to maxShared.
func (s *Store) SharedMailboxes(ctx context.Context) ([]*storagev1.SharedMailboxes, error) {
	type shared struct {
		*storagev1.Mailbox
		has Rights
	}
	var found map[MailboxKey]*shared
	err := s.read(ctx, "list_shared", func(t *tx) error {
		found = map[MailboxKey]*shared{}
		self, domain := t.actor.grantees()
		for _, grantee := range []string{self, domain} {
			t.queue.Query(func(rows *sqldb.Rows) error {
				var account string
				var has Rights
				m, err := scanMailbox(rows, &account, &has)
				if err != nil {
					return err
				}
				key := MailboxKey{account, m.GetMailboxId()}
				if found[key] == nil {
					found[key] = &shared{Mailbox: m}
				}
				found[key].has |= has
				return nil
			}, `SELECT `+mailboxColumns+`, owner, rights FROM (
					SELECT account_id AS owner, mailbox_id AS id, rights FROM mailbox_access WHERE grantee = ? AND account_id <> ?
					ORDER BY grantee, account_id, mailbox_id`+sqldb.Limit(maxShared)+`
				) granted JOIN mailboxes m ON m.account_id = granted.owner AND m.mailbox_id = granted.id`, grantee, self)
		}
		return t.flush()
	})
	owners := map[string]*storagev1.SharedMailboxes{}
	for key, m := range found {
		if m.has&RightLookup == 0 {
			continue
		}
		m.Rights = m.has.String()
		if owners[key.AccountID] == nil {
			owners[key.AccountID] = &storagev1.SharedMailboxes{AccountId: key.AccountID}
		}
		owners[key.AccountID].Mailboxes = append(owners[key.AccountID].Mailboxes, m.Mailbox)
	}
	var list []*storagev1.SharedMailboxes
	for _, owner := range owners {
		slices.SortFunc(owner.Mailboxes, func(a, b *storagev1.Mailbox) int { return compareNames(a.GetName(), b.GetName()) })
		list = append(list, owner)
	}
	slices.SortFunc(list, func(a, b *storagev1.SharedMailboxes) int { return strings.Compare(a.GetAccountId(), b.GetAccountId()) })
	return list, err
}
