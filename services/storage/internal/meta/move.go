package meta

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Moved is the outcome of a copy or a move.
type Moved struct {
	Mapping *storagev1.UidMapping
	// HighestModseq of the source.
	HighestModseq uint64
}

// newMoved is the outcome before any message was moved or copied.
func newMoved(source, target *storagev1.Mailbox) *Moved {
	return &Moved{
		Mapping:       &storagev1.UidMapping{MailboxId: target.GetMailboxId(), UidValidity: target.GetUidValidity()},
		HighestModseq: source.GetHighestModseq(),
	}
}

// Move moves the messages of a set into the mailbox of a normalised name (RFC 6851). Usage stays the same.
func (s *Store) Move(ctx context.Context, account string, mailbox uint64, set uidset.Set, to string) (*Moved, error) {
	var out *Moved
	err := s.write(ctx, "move", func(t *tx) error {
		source, target, err := t.pair(account, mailbox, to)
		if err != nil {
			return err
		}
		chosen, err := t.choose(account, source, set, 0, 0)
		if err != nil {
			return err
		}
		out, err = t.move(account, source, target, chosen)
		return err
	})
	return out, err
}

// pair reads the source by id and the target by name.
func (t *tx) pair(account string, mailbox uint64, to string) (source, target *storagev1.Mailbox, err error) {
	if source, err = t.mailbox(account, mailbox); err != nil {
		return nil, nil, err
	}
	target, err = t.mailboxNamed(account, to)
	return source, target, err
}

// move moves what was chosen; both mailboxes may be the same one.
func (t *tx) move(account string, source, target *storagev1.Mailbox, chosen *selection) (*Moved, error) {
	out := newMoved(source, target)
	if len(chosen.list) == 0 {
		return out, nil
	}
	first, modseq, err := t.makeRoom(account, target.GetMailboxId(), chosen)
	if err != nil {
		return nil, err
	}
	out.Mapping.Source, out.Mapping.Destination = chosen.list, consecutive(first, len(chosen.list))
	for _, r := range chosen.uids {
		_, err := t.exec(`UPDATE messages SET mailbox_id = ?, uid = uid + ?, modseq = ?, saved_unix = ?, popped = 0
			WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			target.GetMailboxId(), int64(first)-int64(r.Start), modseq, t.now, account, source.GetMailboxId(), r.Start, r.Stop)
		if err != nil {
			return nil, err
		}
		first += r.Stop - r.Start + 1
	}
	source, err = t.bump(account, source.GetMailboxId(), chosen.counters.negative())
	if err != nil {
		return nil, err
	}
	out.HighestModseq = source.GetHighestModseq()
	return out, t.bury(account, source.GetMailboxId(), source.GetHighestModseq(), chosen.uids)
}

// makeRoom counts what was chosen into a mailbox and gives the first of the new UIDs, which are consecutive.
func (t *tx) makeRoom(account string, mailbox uint64, chosen *selection) (first uint32, modseq uint64, err error) {
	c := chosen.counters
	c.uids = c.messages
	m, err := t.bump(account, mailbox, c)
	if err != nil {
		return 0, 0, err
	}
	return m.GetUidNext() - uint32(c.uids), m.GetHighestModseq(), nil
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
		source, _, err := t.pair(account, mailbox, to)
		if err != nil {
			return err
		}
		chosen, err := t.choose(account, source, set, 0, 0)
		if err != nil {
			return err
		}
		bytes, messages = chosen.counters.bytes, chosen.counters.messages
		return nil
	})
	return bytes, messages, err
}

// Copy copies the messages of a set with flags and dates. They share the content. It settles the reservation if there is
// a message, and fails with ErrReservationShort if they are more than it covers.
func (s *Store) Copy(ctx context.Context, account string, mailbox uint64, set uidset.Set, to string, reserved Reserved) (*Moved, error) {
	var out *Moved
	err := s.write(ctx, "copy", func(t *tx) error {
		source, target, err := t.pair(account, mailbox, to)
		if err != nil {
			return err
		}
		chosen, err := t.choose(account, source, set, 0, 0)
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
		first, modseq, err := t.makeRoom(account, target.GetMailboxId(), chosen)
		if err != nil {
			return err
		}
		out.Mapping.Source, out.Mapping.Destination = chosen.list, consecutive(first, len(chosen.list))
		if source.GetMailboxId() == target.GetMailboxId() {
			out.HighestModseq = modseq
		}
		for _, r := range chosen.uids {
			_, err := t.exec(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
				SELECT account_id, ?, uid + ?, ?, flags, keywords, size, internal_unix, ?, 0, content_id, prefix FROM messages
				WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
				target.GetMailboxId(), int64(first)-int64(r.Start), modseq, t.now, account, source.GetMailboxId(), r.Start, r.Stop)
			if err != nil {
				return err
			}
			first += r.Stop - r.Start + 1
		}
		t.used(account, chosen.counters.bytes, chosen.counters.messages, reserved.ID)
		return t.ref(account, target.GetMailboxId(), uidset.Range{Start: first - uint32(len(chosen.list)), Stop: first - 1})
	})
	return out, err
}
