package meta

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// ErrMailboxNotFound is the fault of a mailbox that does not exist.
var ErrMailboxNotFound = fault.New(codes.NotFound, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "no such mailbox")

// ErrMailboxExists is the fault of a name that is taken.
var ErrMailboxExists = fault.New(codes.AlreadyExists, rpcv1.Reason_REASON_MAILBOX_EXISTS, "a mailbox of that name exists")

var errUIDsUsedUp = fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "the mailbox has used up its UIDs")

const mailboxColumns = `mailbox_id, name, uid_validity, uid_next, highest_modseq, messages, unseen, deleted, deleted_bytes, bytes, special_use, access_modseq`

// subscribedColumns are mailboxColumns of a mailbox m, and whether there is a subscription to it.
const subscribedColumns = mailboxColumns + `, (SELECT COUNT(*) FROM subscriptions s WHERE s.account_id = m.account_id AND s.name = m.name)`

const mailboxByID = `SELECT ` + mailboxColumns + ` FROM mailboxes WHERE account_id = ? AND mailbox_id = ?`

const subscribedByID = `SELECT ` + subscribedColumns + ` FROM mailboxes m WHERE account_id = ? AND mailbox_id = ?`

const mailboxByName = `SELECT ` + mailboxColumns + ` FROM mailboxes WHERE account_id = ? AND name = ?`

type scanner interface{ Scan(dest ...any) error }

func scanMailbox(row scanner, more ...any) (*storagev1.Mailbox, error) {
	m := &storagev1.Mailbox{}
	err := row.Scan(append([]any{
		&m.MailboxId, &m.Name, &m.UidValidity, &m.UidNext, &m.HighestModseq,
		&m.Messages, &m.Unseen, &m.Deleted, &m.DeletedBytes, &m.Bytes, &m.SpecialUse, &m.AccessModseq,
	}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrMailboxNotFound
	}
	return m, err
}

func scanSubscribed(row scanner) (*storagev1.Mailbox, error) {
	var subscriptions int64
	m, err := scanMailbox(row, &subscriptions)
	if err != nil {
		return nil, err
	}
	m.Subscribed = subscriptions > 0
	return m, nil
}

// mailbox reads one by id, without its subscription.
func (t *tx) mailbox(account string, id uint64) (*storagev1.Mailbox, error) {
	if id > math.MaxInt64 {
		return nil, ErrMailboxNotFound
	}
	return scanMailbox(t.row(mailboxByID, account, id))
}

// subscribedMailbox reads one by id, with its subscription.
func (t *tx) subscribedMailbox(account string, id uint64) (*storagev1.Mailbox, error) {
	if id > math.MaxInt64 {
		return nil, ErrMailboxNotFound
	}
	return scanSubscribed(t.row(subscribedByID, account, id))
}

// mailboxNamed reads one by name, without its subscription.
func (t *tx) mailboxNamed(account, name string) (*storagev1.Mailbox, error) {
	return scanMailbox(t.row(mailboxByName, account, name))
}

// Mailbox reads a mailbox by id, as the actor may see it.
func (s *Store) Mailbox(ctx context.Context, account string, id uint64) (m *storagev1.Mailbox, err error) {
	err = s.read(ctx, "get_mailbox", func(t *tx) error {
		if m, err = t.subscribedMailbox(account, id); err != nil {
			return err
		}
		return t.show(account, m)
	})
	return m, err
}

// MailboxNamed reads a mailbox by its normalised name, as the actor may see it.
func (s *Store) MailboxNamed(ctx context.Context, account, name string) (m *storagev1.Mailbox, err error) {
	if err := s.ensure(ctx, account); err != nil {
		return nil, err
	}
	err = s.read(ctx, "get_mailbox", func(t *tx) error {
		m, err = scanSubscribed(t.row(`SELECT `+subscribedColumns+` FROM mailboxes m WHERE account_id = ? AND name = ?`, account, name))
		if err != nil {
			return err
		}
		return t.show(account, m)
	})
	return m, err
}

// ListMailboxes gives an account's mailboxes by name, INBOX first, and the subscribed names without a mailbox.
func (s *Store) ListMailboxes(ctx context.Context, account string) (list []*storagev1.Mailbox, subscribedOnly []string, err error) {
	if err := s.ensure(ctx, account); err != nil {
		return nil, nil, err
	}
	err = s.read(ctx, "list_mailboxes", func(t *tx) error {
		list, subscribedOnly = nil, nil
		subscribed := map[string]bool{}
		t.queue.Query(func(rows *sqldb.Rows) error {
			var name string
			err := rows.Scan(&name)
			subscribed[name] = true
			return err
		}, `SELECT name FROM subscriptions WHERE account_id = ?`, account)
		err := t.rows(func(rows *sqldb.Rows) error {
			m, err := scanMailbox(rows)
			if err != nil {
				return err
			}
			m.Subscribed = subscribed[m.Name]
			delete(subscribed, m.Name)
			list = append(list, m)
			return nil
		}, `SELECT `+mailboxColumns+` FROM mailboxes WHERE account_id = ?`, account)
		for name := range subscribed {
			subscribedOnly = append(subscribedOnly, name)
		}
		return err
	})
	// Sorted here, as databases differ in how they order text.
	slices.SortFunc(list, func(a, b *storagev1.Mailbox) int { return compareNames(a.GetName(), b.GetName()) })
	slices.Sort(subscribedOnly)
	return list, subscribedOnly, err
}

// createMailbox makes a mailbox whose name is free. Its UIDVALIDITY is the time, or more where that was used. It begins with the access control
// list of the one above it, which may be nil.
func (t *tx) createMailbox(account, name string, use storagev1.SpecialUse, above *storagev1.Mailbox) (*storagev1.Mailbox, error) {
	m := newMailbox(name, use)
	var count int
	err := t.row(`UPDATE accounts SET mailboxes = mailboxes + 1, next_mailbox_id = next_mailbox_id + 1,
			next_uid_validity = CASE WHEN next_uid_validity < ? THEN ? ELSE next_uid_validity END + 1
		WHERE account_id = ? RETURNING next_mailbox_id - 1, next_uid_validity - 1, mailboxes`,
		t.now, t.now, account).Scan(&m.MailboxId, &m.UidValidity, &count)
	if err != nil {
		return nil, err
	}
	if limit := t.store.opts.Limits.Mailboxes; count > limit {
		return nil, fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "an account can have %d mailboxes", limit)
	}
	if above.GetAccessModseq() > 0 {
		m.AccessModseq = m.GetHighestModseq()
		if err := t.inheritAcl(account, above.GetMailboxId(), m.GetMailboxId()); err != nil {
			return nil, err
		}
	}
	return m, t.insertMailbox(account, m)
}

// newMailbox is an empty one, as it is at first.
func newMailbox(name string, use storagev1.SpecialUse) *storagev1.Mailbox {
	return &storagev1.Mailbox{Name: name, UidNext: 1, HighestModseq: 1, SpecialUse: use}
}

func (t *tx) insertMailbox(account string, m *storagev1.Mailbox) error {
	t.changed(account, m.GetMailboxId(), m.GetHighestModseq())
	return t.later(`INSERT INTO mailboxes (account_id, `+mailboxColumns+`) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?)`,
		account, m.GetMailboxId(), m.GetName(), m.GetUidValidity(), m.GetUidNext(), m.GetHighestModseq(), int64(m.GetSpecialUse()), m.GetAccessModseq())
}

// CreateMailbox makes a mailbox and its missing parents (RFC 9051 section 6.3.4). name is normalised. A special use
// that another mailbox has is refused (RFC 6154 section 3).
func (s *Store) CreateMailbox(ctx context.Context, account, name string, use storagev1.SpecialUse) (m *storagev1.Mailbox, err error) {
	err = s.write(ctx, "create_mailbox", func(t *tx) error {
		if err := t.openAccount(account); err != nil {
			return err
		}
		if err := t.permitCreate(account, name); err != nil {
			return err
		}
		if m, err = t.mailboxNamed(account, name); err == nil {
			return ErrMailboxExists
		} else if !errors.Is(err, ErrMailboxNotFound) {
			return err
		}
		if use != storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED {
			if t.actor.foreign(account) {
				return ErrNotPermitted // what a mailbox is for is the owner's business
			}
			if taken, err := t.specialUse(account, use); err != nil {
				return err
			} else if taken != nil {
				return fault.Newf(codes.FailedPrecondition, rpcv1.Reason_REASON_INVALID, "the mailbox %q has that special use", taken.GetName())
			}
		}
		above, err := t.createParents(account, name)
		if err != nil {
			return err
		}
		if m, err = t.createMailbox(account, name, use, above); err != nil {
			return err
		}
		return t.show(account, m)
	})
	return m, err
}

// createParents makes what is missing above a name, and gives the mailbox next above it: nil if it has only one level.
func (t *tx) createParents(account, name string) (above *storagev1.Mailbox, err error) {
	for _, parent := range names.Parents(name) {
		m, err := t.mailboxNamed(account, parent)
		if errors.Is(err, ErrMailboxNotFound) {
			m, err = t.createMailbox(account, parent, storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED, above)
		}
		if err != nil {
			return nil, err
		}
		above = m
	}
	return above, nil
}

// permitCreate checks that the actor may make a mailbox of a name: below what there is next above it (RFC 4314 section 4, CREATE), and
// never beside the owner's own.
func (t *tx) permitCreate(account, name string) error {
	if !t.actor.foreign(account) {
		return nil
	}
	for _, parent := range slices.Backward(names.Parents(name)) {
		m, err := t.mailboxNamed(account, parent)
		if errors.Is(err, ErrMailboxNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		has, err := t.rights(account, m.GetMailboxId())
		if err == nil && has&RightCreate == 0 {
			err = ErrNotPermitted
		}
		return err
	}
	return ErrNotPermitted
}

// specialUse finds the mailbox of a special use, or nil.
func (t *tx) specialUse(account string, use storagev1.SpecialUse) (*storagev1.Mailbox, error) {
	m, err := scanMailbox(t.row(`SELECT `+mailboxColumns+` FROM mailboxes WHERE account_id = ? AND special_use = ? ORDER BY mailbox_id LIMIT 1`,
		account, int32(use)))
	if errors.Is(err, ErrMailboxNotFound) {
		return nil, nil
	}
	return m, err
}

// counters is what a transaction adds to a mailbox. UIDs are taken from uid_next.
type counters struct {
	uids, messages, unseen, deleted int64
	deletedBytes, bytes             int64
}

// add counts n messages with the same flags in, or out if n is negative; bytes are of all of them, and negative, too.
func (c *counters) add(n int64, flags uint32, bytes int64) {
	c.messages += n
	c.bytes += bytes
	if flags&uint32(storagev1.Flag_FLAG_SEEN) == 0 {
		c.unseen += n
	}
	if flags&uint32(storagev1.Flag_FLAG_DELETED) != 0 {
		c.deleted += n
		c.deletedBytes += bytes
	}
}

// errChanged says that a mailbox is not as it was read, so that the transaction did not have its account locked.
var errChanged = errors.New("a mailbox changed under a transaction that had it locked")

// bump takes the mailbox's next modseq and adds to its counters. m is the mailbox as this transaction has it locked, and is made what
// it is afterwards; there must not be two of one mailbox.
func (t *tx) bump(account string, m *storagev1.Mailbox, c counters) error {
	if int64(m.GetUidNext())+c.uids > math.MaxUint32 {
		return errUIDsUsedUp
	}
	err := t.laterOne(errChanged, `UPDATE mailboxes SET highest_modseq = highest_modseq + 1, uid_next = uid_next + ?, messages = messages + ?,
			unseen = unseen + ?, deleted = deleted + ?, deleted_bytes = deleted_bytes + ?, bytes = bytes + ?
		WHERE account_id = ? AND mailbox_id = ? AND highest_modseq = ? AND uid_next = ?`,
		c.uids, c.messages, c.unseen, c.deleted, c.deletedBytes, c.bytes, account, m.GetMailboxId(), m.GetHighestModseq(), m.GetUidNext())
	if err != nil {
		return err
	}
	m.HighestModseq++
	m.UidNext += uint32(c.uids)
	m.Messages = add(m.Messages, c.messages)
	m.Unseen = add(m.Unseen, c.unseen)
	m.Deleted = add(m.Deleted, c.deleted)
	m.DeletedBytes = add(m.DeletedBytes, c.deletedBytes)
	m.Bytes = add(m.Bytes, c.bytes)
	t.changed(account, m.GetMailboxId(), m.GetHighestModseq())
	return nil
}

func add[N uint32 | uint64](n N, d int64) N { return N(int64(n) + d) }
