package meta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/message/text"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// DeletedKey names a deleted message: mailbox ids and UIDs are never used twice.
type DeletedKey struct {
	MailboxID uint64
	UID       uint32
}

// String gives the deleted_id of the API.
func (k DeletedKey) String() string { return fmt.Sprintf("%d.%d", k.MailboxID, k.UID) }

// ParseDeletedKey reads what String wrote.
func ParseDeletedKey(s string) (DeletedKey, error) {
	var k DeletedKey
	if n, err := fmt.Sscanf(s, "%d.%d", &k.MailboxID, &k.UID); err != nil || n != 2 || k.String() != s {
		return k, fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "%q is no deleted message", s)
	}
	return k, nil
}

// Deleted is a message that can be restored.
type Deleted struct {
	Key                      DeletedKey
	Mailbox                  string
	State                    *storagev1.MessageState
	DeletedUnix, ExpiresUnix int64
	Summary                  *mailv1.Structure
}

// deletedPage bounds a page of ListDeleted.
const deletedPage = 200

// ListDeleted gives a page of an account's deleted messages, the latest deletion first, after the last of the page before (nil: from the start).
func (s *Store) ListDeleted(ctx context.Context, account string, last *Deleted) ([]*Deleted, error) {
	if last == nil {
		last = &Deleted{DeletedUnix: 1<<63 - 1}
	}
	var page []*Deleted
	err := s.read(ctx, "list_deleted", func(t *tx) error {
		page = nil
		return t.rows(func(rows *sqldb.Rows) error {
			d := &Deleted{Summary: &mailv1.Structure{}}
			var summary []byte
			var err error
			d.State, err = scanState(rows, &d.Key.MailboxID, &d.Mailbox, &d.DeletedUnix, &d.ExpiresUnix, &summary)
			if err != nil {
				return err
			}
			d.Key.UID = d.State.GetUid()
			page = append(page, d)
			return proto.Unmarshal(summary, d.Summary)
		}, `SELECT `+stateColumns+`, m.mailbox_id, m.mailbox_name, m.deleted_unix, m.expires_unix, c.summary
			FROM deleted_messages m JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id
			WHERE m.account_id = ? AND m.expires_unix > ? AND (m.deleted_unix, m.mailbox_id, m.uid) < (?, ?, ?)
			ORDER BY m.deleted_unix DESC, m.mailbox_id DESC, m.uid DESC`+sqldb.Limit(deletedPage),
			account, t.now, last.DeletedUnix, last.Key.MailboxID, last.Key.UID)
	})
	return page, err
}

// RestoreFilter chooses deleted messages.
type RestoreFilter struct {
	Keys         []DeletedKey // empty: by the filters below
	Mailbox      string       // where they were; empty: any
	DeletedSince int64        // Unix seconds; 0: any
	To           string       // a normalised name; empty: where they were
}

// lost is a deleted message that matches a filter.
type lost struct {
	DeletedKey
	mailbox string
	flags   uint32
	size    int64
}

func (t *tx) lost(account string, f RestoreFilter) ([]lost, error) {
	const columns = `SELECT mailbox_id, uid, mailbox_name, flags, size FROM deleted_messages WHERE account_id = ? AND expires_unix > ?`
	var out []lost
	scan := func(rows *sqldb.Rows) error {
		var l lost
		err := rows.Scan(&l.MailboxID, &l.UID, &l.mailbox, &l.flags, &l.size)
		if f.Mailbox == "" || l.mailbox == f.Mailbox {
			out = append(out, l)
		}
		return err
	}
	if len(f.Keys) == 0 {
		return out, t.rows(scan, columns+` AND deleted_unix >= ? ORDER BY mailbox_id, uid`, account, t.now, f.DeletedSince)
	}
	keys := slices.SortedFunc(slices.Values(f.Keys), func(a, b DeletedKey) int {
		return cmp.Or(cmp.Compare(a.MailboxID, b.MailboxID), cmp.Compare(a.UID, b.UID))
	})
	for _, k := range slices.Compact(keys) {
		if k.MailboxID > math.MaxInt64 {
			continue
		}
		t.queue.Query(scan, columns+` AND mailbox_id = ? AND uid = ?`, account, t.now, k.MailboxID, k.UID)
		if err := t.overflow(); err != nil {
			return nil, err
		}
	}
	return out, t.flush()
}

// RestoreSize tells what Restore needs reserved.
func (s *Store) RestoreSize(ctx context.Context, account string, f RestoreFilter) (bytes, messages int64, err error) {
	err = s.read(ctx, "restore_size", func(t *tx) error {
		list, err := t.lost(account, f)
		bytes, messages = sum(list)
		return err
	})
	return bytes, messages, err
}

func sum(list []lost) (bytes, messages int64) {
	for _, l := range list {
		bytes += l.size
	}
	return bytes, int64(len(list))
}

// Restore puts deleted messages back with new UIDs and without \Deleted. It settles the reservation if there is one to
// restore, and fails with ErrReservationShort if they are more than it covers.
func (s *Store) Restore(ctx context.Context, account string, f RestoreFilter, reserved Reserved) (restored int, err error) {
	err = s.write(ctx, "restore", func(t *tx) error {
		if err := t.openAccount(account); err != nil {
			return err
		}
		list, err := t.lost(account, f)
		if err != nil {
			return err
		}
		bytes, messages := sum(list)
		if bytes > reserved.Bytes || messages > reserved.Messages {
			return ErrReservationShort
		}
		if restored = len(list); restored == 0 {
			return nil
		}
		t.used(account, bytes, messages, reserved.ID)
		// The increments of the catalog do not tell what can no longer be restored.
		if err := t.wholeNext(account); err != nil {
			return err
		}
		return t.restoreAll(account, list, f.To)
	})
	return restored, err
}

// restoreAll restores messages; one mailbox takes all of its messages at once.
func (t *tx) restoreAll(account string, list []lost, to string) error {
	targets := map[uint64]*storagev1.Mailbox{} // by the mailbox where the messages were
	boxes := map[uint64]*storagev1.Mailbox{}   // by their own id
	into := map[uint64][]lost{}
	for _, l := range list {
		target, known := targets[l.MailboxID]
		if !known {
			var err error
			if target, err = t.restoreTarget(account, l, to); err != nil {
				return err
			}
			if same := boxes[target.GetMailboxId()]; same != nil {
				target = same
			}
			targets[l.MailboxID], boxes[target.GetMailboxId()] = target, target
		}
		into[target.GetMailboxId()] = append(into[target.GetMailboxId()], l)
	}
	for _, id := range slices.Sorted(maps.Keys(into)) {
		if err := t.restore(account, into[id], boxes[id]); err != nil {
			return err
		}
	}
	return nil
}

// restoreTarget finds the mailbox to restore into: the one asked for, else the same one, else that of its name, made again if need be.
func (t *tx) restoreTarget(account string, l lost, to string) (*storagev1.Mailbox, error) {
	name := to
	if name == "" {
		m, err := t.mailbox(account, l.MailboxID)
		if err == nil || !errors.Is(err, ErrMailboxNotFound) {
			return m, err
		}
		name = l.mailbox
	}
	m, err := t.mailboxNamed(account, name)
	if errors.Is(err, ErrMailboxNotFound) {
		if _, err := names.Normalise(name); err != nil {
			return nil, err
		}
		above, err := t.createParents(account, name)
		if err != nil {
			return nil, err
		}
		return t.createMailbox(account, name, storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED, above)
	}
	return m, err
}

// restore puts messages into a mailbox, with one modseq.
func (t *tx) restore(account string, list []lost, target *storagev1.Mailbox) error {
	const deleted = uint32(storagev1.Flag_FLAG_DELETED)
	var c counters
	for _, l := range list {
		c.add(1, l.flags&^deleted, l.size)
	}
	c.uids = c.messages
	next := target.GetUidNext()
	if err := t.bump(account, target, c); err != nil {
		return err
	}
	for run := range consecutiveLost(list) {
		first, last := run[0], run[len(run)-1]
		err := t.later(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
			SELECT account_id, CAST(? AS BIGINT), uid + ?, CAST(? AS BIGINT), flags & ~CAST(? AS BIGINT), keywords, size, internal_unix, CAST(? AS BIGINT), 0,
				content_id, prefix FROM deleted_messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			target.GetMailboxId(), int64(next)-int64(first.UID), target.GetHighestModseq(), deleted, t.now, account, first.MailboxID, first.UID, last.UID)
		if err != nil {
			return err
		}
		err = t.later(`DELETE FROM deleted_messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			account, first.MailboxID, first.UID, last.UID)
		if err != nil {
			return err
		}
		next += uint32(len(run))
	}
	return nil
}

// consecutiveLost yields runs of messages of one mailbox with consecutive UIDs.
func consecutiveLost(list []lost) iter.Seq[[]lost] {
	return func(yield func([]lost) bool) {
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n].MailboxID == list[0].MailboxID && list[n].UID == list[n-1].UID+1 {
				n++
			}
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// Subject gives the decoded subject of a deleted message.
func (d *Deleted) Subject() string { return text.DecodeHeader(d.Summary.GetEnvelope().GetSubject()) }

// From gives the address of the first author, or "".
func (d *Deleted) From() string {
	for _, a := range d.Summary.GetEnvelope().GetFrom() {
		if a.Mailbox != nil && a.Host != nil {
			return strings.ToValidUTF8(string(a.GetMailbox())+"@"+string(a.GetHost()), "\uFFFD")
		}
	}
	return ""
}
