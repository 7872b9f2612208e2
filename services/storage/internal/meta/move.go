package meta

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Moved is the outcome of a copy or a move.
type Moved struct {
	Mapping *storagev1.UidMapping
	Step    // of the source
}

// newMoved is the outcome before any message was moved or copied.
func newMoved(source, target *storagev1.Mailbox) *Moved {
	return &Moved{
		Mapping: &storagev1.UidMapping{MailboxId: target.GetMailboxId(), UidValidity: target.GetUidValidity()},
		Step:    Step{source.GetHighestModseq(), source.GetHighestModseq()},
	}
}

// moveBatch bounds the messages that one transaction of Move moves, so that deliveries do not wait for long.
const moveBatch = 5000

// Move moves the messages of a set into the mailbox of a normalised name (RFC 6851). Usage stays the same. Many go in several
// transactions; after an error some may have been moved, and none is in both mailboxes or in neither. An actor needs the rights to read and to
// expunge where they are, and to insert where they go (RFC 6851 section 4.4); flags that it may not set there are left out.
func (s *Store) Move(ctx context.Context, account string, mailbox uint64, set uidset.Set, to string) (*Moved, error) {
	var out *Moved
	var end uint32 // the source's next UID at first: what was moved within a mailbox is not moved again
	for more := true; more; {
		var some *Moved
		err := s.change(ctx, "move", account, func(t *tx) error {
			source, target, err := t.pair(account, mailbox, to)
			if err != nil {
				return err
			}
			has, err := t.permitPair(account, source, RightRead|RightDeleted|RightExpunge, account, target)
			if err != nil {
				return err
			}
			if end == 0 {
				end = source.GetUidNext()
			}
			chosen, err := t.choose(account, source, set.Intersect(uidset.Set{{Start: 1, Stop: max(end, 2) - 1}}), false, moveBatch)
			if err != nil {
				return err
			}
			some, err = t.move(account, source, target, chosen, has)
			return err
		})
		if err != nil {
			return nil, err
		}
		moved := some.Mapping.GetSource()
		if more = len(moved) == moveBatch; more {
			set = set.Intersect(uidset.Set{{Start: moved[len(moved)-1] + 1, Stop: 1<<32 - 1}})
		}
		if out != nil {
			some.Step = out.then(some.Step)
			some.Mapping.Source = append(out.Mapping.GetSource(), moved...)
			some.Mapping.Destination = append(out.Mapping.GetDestination(), some.Mapping.GetDestination()...)
		}
		out = some
	}
	return out, nil
}

// pair reads the source by id and the target by name, in one round trip. Both are the same if they are one mailbox.
func (t *tx) pair(account string, mailbox uint64, to string) (source, target *storagev1.Mailbox, err error) {
	t.queue.Query(func(rows *sqldb.Rows) (err error) {
		target, err = scanMailbox(rows)
		return err
	}, mailboxByName, account, to)
	if source, err = t.mailbox(account, mailbox); err != nil {
		return nil, nil, err
	}
	switch {
	case target == nil:
		return nil, nil, ErrMailboxNotFound
	case target.GetMailboxId() == source.GetMailboxId():
		target = source
	}
	return source, target, nil
}

// permitPair checks that the actor may take messages from one mailbox and put them into another one, and gives what it may do there.
func (t *tx) permitPair(account string, source *storagev1.Mailbox, wanted Rights, toAccount string, target *storagev1.Mailbox) (Rights, error) {
	if err := t.permit(account, source.GetMailboxId(), wanted); err != nil {
		return 0, err
	}
	has, err := t.rights(toAccount, target.GetMailboxId())
	if err != nil {
		return 0, err
	}
	return has, has.permit(RightInsert)
}

// move moves what was chosen; both mailboxes may be the same one. Flags go along as far as rights at the target let them.
func (t *tx) move(account string, source, target *storagev1.Mailbox, chosen *selection, has Rights) (*Moved, error) {
	out := newMoved(source, target)
	if len(chosen.list) == 0 {
		return out, nil
	}
	if target == source {
		out.PreviousModseq = 0 // it is not only what is gone that changes
	}
	mask, keywords := has.flags()
	first, err := t.makeRoom(account, target, chosen, mask)
	if err != nil {
		return nil, err
	}
	out.Mapping.Source, out.Mapping.Destination = chosen.list, consecutive(first, len(chosen.list))
	modseq := target.GetHighestModseq()
	for _, r := range chosen.uids {
		err := t.later(`UPDATE messages SET mailbox_id = ?, uid = uid + ?, modseq = ?, flags = flags & ?, keywords = CASE WHEN ? THEN keywords ELSE '' END,
				saved_unix = ?, popped = 0
			WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			target.GetMailboxId(), int64(first)-int64(r.Start), modseq, mask, keywords, t.now, account, source.GetMailboxId(), r.Start, r.Stop)
		if err != nil {
			return nil, err
		}
		first += r.Stop - r.Start + 1
	}
	if err := t.bump(account, source, chosen.counters.negative()); err != nil {
		return nil, err
	}
	out.HighestModseq = source.GetHighestModseq()
	return out, t.bury(account, source, chosen.uids)
}

// makeRoom adds to a mailbox what was chosen, with those flags that may go along, and gives the first of as many new UIDs.
func (t *tx) makeRoom(account string, target *storagev1.Mailbox, chosen *selection, mask uint32) (first uint32, err error) {
	first = target.GetUidNext()
	return first, t.bump(account, target, chosen.arriving(mask))
}

func consecutive(first uint32, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = first + uint32(i)
	}
	return out
}

// ErrReservationShort says that the messages of a request are more than what was reserved for it: they changed meanwhile.
var ErrReservationShort = fault.New(codes.Aborted, rpcv1.Reason_REASON_UNAVAILABLE, "the messages changed meanwhile, try again")

// Reserved is the capacity that a write may use.
type Reserved struct {
	ID              string
	Bytes, Messages int64
}

// CopySize tells what Copy needs reserved.
func (s *Store) CopySize(ctx context.Context, account string, mailbox uint64, set uidset.Set, to string) (bytes, messages int64, err error) {
	err = s.read(ctx, "copy_size", func(t *tx) error {
		source, target, err := t.pair(account, mailbox, to)
		if err != nil {
			return err
		}
		if _, err := t.permitPair(account, source, RightRead, account, target); err != nil {
			return err
		}
		chosen, err := t.choose(account, source, set, false, 0)
		if err != nil {
			return err
		}
		bytes, messages = chosen.counters.bytes, chosen.counters.messages
		return nil
	})
	return bytes, messages, err
}

// Copy copies the messages of a set with flags and dates. They share the content. It settles the reservation if there is
// a message, and fails with ErrReservationShort if they are more than it covers. An actor needs the rights to read where they are and to insert
// where they go; flags that it may not set there are left out (RFC 4314 section 4, COPY).
func (s *Store) Copy(ctx context.Context, account string, mailbox uint64, set uidset.Set, to string, reserved Reserved) (*Moved, error) {
	var out *Moved
	err := s.change(ctx, "copy", account, func(t *tx) error {
		source, target, err := t.pair(account, mailbox, to)
		if err != nil {
			return err
		}
		chosen, err := t.choose(account, source, set, false, 0)
		if err != nil {
			return err
		}
		has, err := t.permitPair(account, source, RightRead, account, target)
		if err != nil {
			return err
		}
		if chosen.counters.bytes > reserved.Bytes || chosen.counters.messages > reserved.Messages {
			return ErrReservationShort
		}
		out = newMoved(source, target)
		if len(chosen.list) == 0 {
			return nil
		}
		mask, keywords := has.flags()
		first, err := t.makeRoom(account, target, chosen, mask)
		if err != nil {
			return err
		}
		out.Mapping.Source, out.Mapping.Destination = chosen.list, consecutive(first, len(chosen.list))
		out.HighestModseq = source.GetHighestModseq()
		next := first
		for _, r := range chosen.uids {
			err := t.later(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
				SELECT account_id, CAST(? AS BIGINT), uid + ?, CAST(? AS BIGINT), flags & ?,
					CASE WHEN ? THEN keywords ELSE '' END, size, internal_unix, CAST(? AS BIGINT), 0, content_id, prefix FROM messages
				WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
				target.GetMailboxId(), int64(next)-int64(r.Start), target.GetHighestModseq(), mask, keywords, t.now, account, source.GetMailboxId(), r.Start, r.Stop)
			if err != nil {
				return err
			}
			next += r.Stop - r.Start + 1
		}
		t.used(account, chosen.counters.bytes, chosen.counters.messages, reserved.ID)
		return t.ref(account, target.GetMailboxId(), uidset.Range{Start: first, Stop: next - 1})
	})
	return out, err
}
