package meta

import (
	"errors"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const stateColumns = `m.uid, m.modseq, m.flags, m.keywords, m.size, m.internal_unix, m.popped, m.saved_unix`

func scanState(row scanner, more ...any) (*storagev1.MessageState, error) {
	m := &storagev1.MessageState{}
	var keywords string
	err := row.Scan(append([]any{
		&m.Uid, &m.Modseq, &m.Flags, &keywords, &m.Size, &m.InternalUnix, &m.Popped, &m.SavedUnix,
	}, more...)...)
	m.Keywords = strings.Fields(keywords)
	return m, err
}

// states reads the states of the messages in a set, in UID order, up to a limit; 0 is none.
func (t *tx) states(account string, mailbox *storagev1.Mailbox, set uidset.Set, limit int) ([]*storagev1.MessageState, error) {
	var out []*storagev1.MessageState
	err := t.ranges(mailbox, set, func(r uidset.Range) error {
		return t.rows(func(rows *sqldb.Rows) error {
			m, err := scanState(rows)
			if out = append(out, m); err == nil && len(out) == limit {
				err = errPageFull
			}
			return err
		}, `SELECT `+stateColumns+` FROM messages m WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ? ORDER BY uid`,
			account, mailbox.GetMailboxId(), r.Start, r.Stop)
	})
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return out, err
}

// ranges calls fn for the ranges of the set that the mailbox can have.
func (t *tx) ranges(mailbox *storagev1.Mailbox, set uidset.Set, fn func(uidset.Range) error) error {
	for _, r := range set {
		if r.Start >= mailbox.GetUidNext() {
			break
		}
		if err := fn(uidset.Range{Start: r.Start, Stop: min(r.Stop, mailbox.GetUidNext()-1)}); err != nil {
			return err
		}
	}
	return nil
}

// selection is messages that are about to leave a mailbox or to be copied.
type selection struct {
	uids     uidset.Set // exactly those that exist, so that each range is a run of rows
	list     []uint32
	counters counters // of the messages, uids excepted
}

// choose selects the messages of a set that have all the flag bits, the first ones up to a limit; 0 is none.
func (t *tx) choose(account string, mailbox *storagev1.Mailbox, set uidset.Set, flags uint32, limit int) (*selection, error) {
	s := &selection{}
	var uids uidset.Builder
	err := t.ranges(mailbox, set, func(r uidset.Range) error {
		return t.rows(func(rows *sqldb.Rows) error {
			var uid, has uint32
			var size int64
			if err := rows.Scan(&uid, &has, &size); err != nil {
				return err
			}
			if has&flags != flags {
				return nil
			}
			uids.Add(uid)
			s.list = append(s.list, uid)
			s.counters.add(1, has, size)
			if len(s.list) == limit {
				return errPageFull
			}
			return nil
		}, `SELECT uid, flags, size FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ? ORDER BY uid`,
			account, mailbox.GetMailboxId(), r.Start, r.Stop)
	})
	s.uids = uids.Set()
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return s, err
}

// negative is what takes the counted messages out again.
func (c counters) negative() counters {
	return counters{
		messages: -c.messages, unseen: -c.unseen, deleted: -c.deleted,
		deletedBytes: -c.deletedBytes, bytes: -c.bytes,
	}
}

// bury leaves tombstones.
func (t *tx) bury(account string, mailbox, modseq uint64, uids uidset.Set) error {
	for _, r := range uids {
		_, err := t.exec(`INSERT INTO tombstones (account_id, mailbox_id, modseq, uid_start, uid_stop) VALUES (?, ?, ?, ?, ?)`,
			account, mailbox, modseq, r.Start, r.Stop)
		if err != nil {
			return err
		}
	}
	return nil
}
