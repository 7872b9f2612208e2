package meta

import (
	"cmp"
	"context"
	"math"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Delta is what changed in a mailbox since a modseq, from one snapshot.
type Delta struct {
	Changed  []*storagev1.MessageState // in UID order
	Vanished uidset.Set
	Mailbox  *storagev1.Mailbox
}

// Sync reads what changed since a modseq; since 0 gives all states and nothing vanished. A uidValidity that is not 0
// and not the mailbox's is REASON_UID_VALIDITY_CHANGED.
func (s *Store) Sync(ctx context.Context, account string, mailbox, since uint64, uidValidity uint32) (*Delta, error) {
	var d *Delta
	err := s.read(ctx, "sync", func(t *tx) (err error) {
		d = &Delta{}
		if d.Mailbox, err = t.subscribedMailbox(account, mailbox); err != nil {
			return err
		}
		if uidValidity != 0 && uidValidity != d.Mailbox.GetUidValidity() {
			return errUIDValidity
		}
		if since == 0 {
			d.Changed, err = t.states(account, d.Mailbox, uidset.All, 0)
			return err
		}
		if since >= d.Mailbox.GetHighestModseq() {
			return nil
		}
		_, err = t.changedSince(account, mailbox, since, d, "")
		return err
	})
	return d, err
}

// SyncSize tells about how many states and ranges Sync will give, at the cost of an index's range. It also gives the mailbox, from which
// the caller may tell that nothing has changed.
func (s *Store) SyncSize(ctx context.Context, account string, mailbox, since uint64) (m *storagev1.Mailbox, n int64, err error) {
	err = s.read(ctx, "sync_size", func(t *tx) error {
		if m, err = t.subscribedMailbox(account, mailbox); err != nil {
			return err
		}
		switch {
		case since == 0:
			n = int64(m.GetMessages())
			return nil
		case since >= m.GetHighestModseq():
			n = 0
			return nil
		}
		return t.row(`SELECT (SELECT COUNT(*) FROM messages WHERE account_id = ? AND mailbox_id = ? AND modseq > ?)
				+ (SELECT COUNT(*) FROM tombstones WHERE account_id = ? AND mailbox_id = ? AND modseq > ?)`,
			account, mailbox, since, account, mailbox, since).Scan(&n)
	})
	return m, n, err
}

// fewChanges is how many states, and how many ranges of UIDs, SyncFew reads.
const fewChanges = 256

// SyncFew is Sync for a since above 0 and few changes, in one round trip; nil if they are more.
func (s *Store) SyncFew(ctx context.Context, account string, mailbox, since uint64, uidValidity uint32) (*Delta, error) {
	if mailbox > math.MaxInt64 {
		return nil, ErrMailboxNotFound
	}
	since = min(since, math.MaxInt64) // as large as databases have
	var d *Delta
	err := s.read(ctx, "sync", func(t *tx) error {
		d = &Delta{}
		t.queue.Query(func(rows *sqldb.Rows) (err error) {
			d.Mailbox, err = scanSubscribed(rows)
			return err
		}, subscribedByID, account, mailbox)
		ranges, err := t.changedSince(account, mailbox, since, d, sqldb.Limit(fewChanges))
		switch {
		case err != nil:
			return err
		case d.Mailbox == nil:
			return ErrMailboxNotFound
		case uidValidity != 0 && uidValidity != d.Mailbox.GetUidValidity():
			return errUIDValidity
		case len(d.Changed) == fewChanges || ranges == fewChanges:
			d = nil
		}
		return nil
	})
	return d, err
}

// errUIDValidity is the fault of a mailbox that is not the one that was meant.
var errUIDValidity = fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_UID_VALIDITY_CHANGED, "the mailbox's UIDVALIDITY has changed")

// changedSince reads up to a limit, which may be empty, and tells how many ranges of vanished UIDs it has read.
func (t *tx) changedSince(account string, mailbox, since uint64, d *Delta, limit string) (ranges int, err error) {
	var vanished uidset.Set
	// In the order of the index: in that of the UIDs a planner may think it cheaper to read the whole mailbox than to sort.
	t.queue.Query(func(rows *sqldb.Rows) error {
		m, err := scanState(rows)
		d.Changed = append(d.Changed, m)
		return err
	}, `SELECT `+stateColumns+` FROM messages m WHERE account_id = ? AND mailbox_id = ? AND modseq > ? ORDER BY modseq`+limit,
		account, mailbox, since)
	err = t.rows(func(rows *sqldb.Rows) error {
		var r uidset.Range
		err := rows.Scan(&r.Start, &r.Stop)
		vanished = append(vanished, r)
		return err
	}, `SELECT uid_start, uid_stop FROM tombstones WHERE account_id = ? AND mailbox_id = ? AND modseq > ?`+limit,
		account, mailbox, since)
	slices.SortFunc(d.Changed, func(a, b *storagev1.MessageState) int { return cmp.Compare(a.GetUid(), b.GetUid()) })
	d.Vanished = vanished.Union(nil)
	return len(vanished), err
}
