package meta

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// expungeBatch bounds the messages that one transaction of Expunge removes, so that deliveries do not wait for long.
const expungeBatch = 5000

// Expunge removes the messages of a set that have \Deleted. They can be restored for the retention time. Many go in several
// transactions; after an error some may be gone. An actor needs RightExpunge.
func (s *Store) Expunge(ctx context.Context, account string, mailbox uint64, set uidset.Set) (expunged uidset.Set, step Step, err error) {
	for more := true; more && err == nil; {
		var some uidset.Set
		var next Step
		err = s.change(ctx, "expunge", account, func(t *tx) error {
			m, err := t.mailbox(account, mailbox)
			if err != nil {
				return err
			}
			if err := t.permit(account, mailbox, RightExpunge); err != nil {
				return err
			}
			next, more, some = Step{m.GetHighestModseq(), m.GetHighestModseq()}, false, nil
			if m.GetDeleted() == 0 {
				return nil
			}
			chosen, err := t.choose(account, m, set, true, expungeBatch)
			if err != nil {
				return err
			}
			some, more = chosen.uids, len(chosen.list) == expungeBatch
			next.HighestModseq, err = t.expunge(account, m, chosen)
			return err
		})
		if step.HighestModseq > 0 {
			next = step.then(next)
		}
		step = next
		if len(some) > 0 && err == nil {
			expunged = expunged.Union(some)
			set = set.Intersect(uidset.Set{{Start: some[len(some)-1].Stop, Stop: 1<<32 - 1}})
		}
	}
	return expunged, step, err
}

// expunge removes what was chosen and gives the mailbox's modseq afterwards.
func (t *tx) expunge(account string, m *storagev1.Mailbox, chosen *selection) (uint64, error) {
	if len(chosen.list) == 0 {
		return m.GetHighestModseq(), nil
	}
	if err := t.retire(account, m, chosen.uids); err != nil {
		return 0, err
	}
	if err := t.bump(account, m, chosen.counters.negative()); err != nil {
		return 0, err
	}
	t.used(account, -chosen.counters.bytes, -chosen.counters.messages, "")
	return m.GetHighestModseq(), t.bury(account, m, chosen.uids)
}

// retire moves message rows to deleted_messages.
func (t *tx) retire(account string, m *storagev1.Mailbox, uids uidset.Set) error {
	for _, r := range uids {
		if err := t.retireRange(account, m, r.Start, r.Stop); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) retireRange(account string, m *storagev1.Mailbox, first, last uint32) error {
	err := t.later(`INSERT INTO deleted_messages (account_id, mailbox_id, uid, mailbox_name, modseq, flags, keywords, size,
			internal_unix, saved_unix, popped, content_id, prefix, deleted_unix, expires_unix)
		SELECT account_id, mailbox_id, uid, CAST(? AS TEXT), modseq, flags, keywords, size,
			internal_unix, saved_unix, popped, content_id, prefix, CAST(? AS BIGINT), CAST(? AS BIGINT) FROM messages
		WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
		m.GetName(), t.now, t.now+int64(t.store.opts.Retention.Seconds()), account, m.GetMailboxId(), first, last)
	if err != nil {
		return err
	}
	return t.later(`DELETE FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
		account, m.GetMailboxId(), first, last)
}
