package meta

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Transfer is messages that go from a mailbox of one account to that of another. The actor needs what Copy and Move want of it.
type Transfer struct {
	AccountID string
	MailboxID uint64
	UIDs      uidset.Set
	// ToMailbox is a normalised name.
	ToAccountID, ToMailbox string
	// Move takes them out of the mailbox where they were; as that is out of the owner's reach, they can be restored there like deleted ones.
	Move bool
}

// maxTransferred bounds the messages of one transfer, as what is known of them is in memory.
const maxTransferred = 100_000

// TransferSize tells what Transfer needs reserved in the account to which messages go, and the outcome if there are none.
func (s *Store) TransferSize(ctx context.Context, x Transfer) (none *Moved, bytes, messages int64, err error) {
	if err := s.ensure(ctx, x.ToAccountID); err != nil {
		return nil, 0, 0, err
	}
	err = s.read(ctx, "transfer_size", func(t *tx) error {
		tr, err := t.transfer(x)
		if err != nil {
			return err
		}
		none, bytes, messages = newMoved(tr.source, tr.target), tr.chosen.counters.bytes, tr.chosen.counters.messages
		return nil
	})
	return none, bytes, messages, err
}

// Transfer copies or moves messages into another account, all or none, in one transaction of both. They share the body. It settles the reservation
// if there is a message, and fails with ErrReservationShort if they are more than it covers.
func (s *Store) Transfer(ctx context.Context, x Transfer, reserved Reserved) (*Moved, error) {
	var out *Moved
	err := s.write(ctx, "transfer", func(t *tx) error {
		if err := t.lockAccounts([]string{x.AccountID, x.ToAccountID}); err != nil {
			return err
		}
		tr, err := t.transfer(x)
		if err != nil {
			return err
		}
		if tr.chosen.counters.bytes > reserved.Bytes || tr.chosen.counters.messages > reserved.Messages {
			return ErrReservationShort
		}
		out = newMoved(tr.source, tr.target)
		if len(tr.chosen.list) == 0 {
			return nil
		}
		first := tr.target.GetUidNext()
		out.Mapping.Source, out.Mapping.Destination = tr.chosen.list, consecutive(first, len(tr.chosen.list))
		if err := tr.copyAcross(first); err != nil {
			return err
		}
		t.used(x.ToAccountID, tr.chosen.counters.bytes, tr.chosen.counters.messages, reserved.ID)
		if x.Move {
			out.HighestModseq, err = t.expunge(x.AccountID, tr.source, tr.chosen)
		}
		return err
	})
	return out, err
}

// transfer is the work of a Transfer in one attempt of its transaction.
type transfer struct {
	*tx
	Transfer
	source, target *storagev1.Mailbox
	has            Rights // of the actor at the target
	chosen         *selection
}

// transfer reads the mailboxes and chooses the messages.
func (t *tx) transfer(x Transfer) (*transfer, error) {
	tr := &transfer{tx: t, Transfer: x}
	wanted := RightRead
	if x.Move {
		wanted |= RightDeleted | RightExpunge
	}
	var err error
	if tr.source, err = t.mailbox(x.AccountID, x.MailboxID); err != nil {
		return nil, err
	}
	if tr.target, err = t.mailboxNamed(x.ToAccountID, x.ToMailbox); err != nil {
		return nil, err
	}
	if tr.has, err = t.permitPair(x.AccountID, tr.source, wanted, x.ToAccountID, tr.target); err != nil {
		return nil, err
	}
	if tr.chosen, err = t.choose(x.AccountID, tr.source, x.UIDs, false, maxTransferred+1); err != nil {
		return nil, err
	}
	if len(tr.chosen.list) > maxTransferred {
		return nil, fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "more than %d messages at once", maxTransferred)
	}
	return tr, nil
}

// copyAcross writes the rows of the messages in the other account, with UIDs from first on.
func (tr *transfer) copyAcross(first uint32) error {
	counts, keywords, err := tr.rowsOf()
	if err != nil {
		return err
	}
	if err := tr.copyContents(counts); err != nil {
		return err
	}
	mask, _ := tr.has.flags()
	if _, err := tr.makeRoom(tr.ToAccountID, tr.target, tr.chosen, mask); err != nil {
		return err
	}
	next := first
	for run := range keywords.runs(tr.chosen.list) {
		start, stop := run[0], run[len(run)-1]
		err := tr.later(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
			SELECT CAST(? AS TEXT), CAST(? AS BIGINT), uid + ?, CAST(? AS BIGINT), flags & ?, CAST(? AS TEXT), size, internal_unix, CAST(? AS BIGINT), 0,
				content_id, prefix FROM messages
			WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			tr.ToAccountID, tr.target.GetMailboxId(), int64(next)-int64(start), tr.target.GetHighestModseq(), mask, keywords[start], tr.now,
			tr.AccountID, tr.source.GetMailboxId(), start, stop)
		if err != nil {
			return err
		}
		next += stop - start + 1
	}
	return tr.ref(tr.ToAccountID, tr.target.GetMailboxId(), uidset.Range{Start: first, Stop: next - 1})
}

// keywordsByUID are keywords as rows have them, of those messages that have any.
type keywordsByUID map[uint32]string

// runs yields consecutive UIDs with the same keywords.
func (k keywordsByUID) runs(uids []uint32) func(func([]uint32) bool) {
	return func(yield func([]uint32) bool) {
		for len(uids) > 0 {
			n := 1
			for n < len(uids) && uids[n] == uids[n-1]+1 && k[uids[n]] == k[uids[0]] {
				n++
			}
			if !yield(uids[:n]) {
				return
			}
			uids = uids[n:]
		}
	}
}

// rowsOf reads how many of the messages each content has, and the keywords as the other account spells them, as far as they may go along.
func (tr *transfer) rowsOf() (map[string]int64, keywordsByUID, error) {
	counts, keywords := map[string]int64{}, keywordsByUID{}
	known := vocabulary{}
	known.learn(&tr.queue, tr.ToAccountID)
	_, permitted := tr.has.flags()
	err := tr.ranges(tr.source, tr.chosen.uids, func() bool { return false }, func(r uidset.Range) {
		tr.queue.Query(func(rows *sqldb.Rows) error {
			var uid uint32
			var content, words string
			err := rows.Scan(&uid, &content, &words)
			counts[content]++
			if words != "" && permitted {
				keywords[uid] = words
			}
			return err
		}, `SELECT uid, content_id, keywords FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			tr.AccountID, tr.source.GetMailboxId(), r.Start, r.Stop)
	})
	if err != nil {
		return nil, nil, err
	}
	spelt := map[string]string{}
	for _, uid := range slices.Sorted(maps.Keys(keywords)) {
		words := keywords[uid]
		if _, ok := spelt[words]; !ok {
			canonical, err := tr.canonicalKeywords(tr.ToAccountID, known, strings.Fields(words), true)
			if err != nil {
				return nil, nil, err
			}
			spelt[words] = strings.Join(canonical, " ")
		}
		keywords[uid] = spelt[words]
	}
	return counts, keywords, nil
}

// passing is a content that the other account does not have yet.
type passing struct {
	id, object string
	share      int64 // of the object that goes along
	hashes     []threadSum
}

// copyContents gives the other account the contents that it lacks, without references yet. counts tells how many of the messages have each.
func (tr *transfer) copyContents(counts map[string]int64) error {
	list, err := tr.lacking(counts)
	if err != nil {
		return err
	}
	known := threads{}
	for _, c := range list {
		known.find(&tr.queue, tr.ToAccountID, c.hashes)
		if err := tr.overflow(); err != nil {
			return err
		}
	}
	if err := tr.flush(); err != nil {
		return err
	}
	refs := map[string]int64{}
	for _, c := range list {
		refs[c.object]++
		thread, err := tr.thread(known, tr.ToAccountID, c.hashes, "T"+c.id)
		if err != nil {
			return err
		}
		err = tr.later(`INSERT INTO contents (account_id, content_id, refs, object_key, object_offset, stored_size, raw_size, raw_sum,
				pack_share, thread_id, sent_unix, header_size, header, summary, structure)
			SELECT CAST(? AS TEXT), content_id, 0, object_key, object_offset, stored_size, raw_size, raw_sum,
				CAST(? AS BIGINT), CAST(? AS TEXT), sent_unix, header_size, header, summary, structure FROM contents WHERE account_id = ? AND content_id = ?`,
			tr.ToAccountID, c.share, thread, tr.AccountID, c.id)
		if err != nil {
			return err
		}
		err = tr.later(`UPDATE contents SET pack_share = pack_share - ? WHERE account_id = ? AND content_id = ?`, c.share, tr.AccountID, c.id)
		if err != nil {
			return err
		}
	}
	// After all contents, in order of key: other transactions change the same packs.
	for _, object := range slices.Sorted(maps.Keys(refs)) {
		if err := tr.later(`UPDATE packs SET live_refs = live_refs + ? WHERE object_key = ?`, refs[object], object); err != nil {
			return err
		}
	}
	return nil
}

// lacking reads the contents that the other account does not have, in order of id.
func (tr *transfer) lacking(counts map[string]int64) ([]passing, error) {
	var list []passing
	has := map[string]bool{}
	ids := slices.Sorted(maps.Keys(counts))
	for some := range slices.Chunk(ids, keysAtOnce) {
		tr.queue.Query(func(rows *sqldb.Rows) error {
			var id string
			err := rows.Scan(&id)
			has[id] = true
			return err
		}, `SELECT content_id FROM contents WHERE account_id = ? AND content_id`+inKeys, append([]any{tr.ToAccountID}, inArgs(some)...)...)
		err := tr.rows(func(rows *sqldb.Rows) error {
			var c passing
			var refs int64
			var summary []byte
			if err := rows.Scan(&c.id, &refs, &c.object, &c.share, &summary); err != nil || has[c.id] {
				return err
			}
			// A body that the one account keeps is shared out; one that it gives away counts for the other alone.
			if !tr.Move || refs > counts[c.id] {
				c.share /= 2
			}
			parsed := &mailv1.Structure{}
			if err := proto.Unmarshal(summary, parsed); err != nil {
				return fmt.Errorf("read summary of message: %w", err)
			}
			c.hashes = threadSums(parsed)
			list = append(list, c)
			return nil
		}, `SELECT content_id, refs, object_key, pack_share, summary FROM contents WHERE account_id = ? AND content_id`+inKeys,
			append([]any{tr.AccountID}, inArgs(some)...)...)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b passing) int { return strings.Compare(a.id, b.id) })
	return list, nil
}
