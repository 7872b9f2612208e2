package meta

import (
	"math"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const stateColumns = `m.uid, m.modseq, m.flags, m.keywords, m.size, m.internal_unix, m.popped, m.saved_unix`

func scanState(row scanner, more ...any) (*storagev1.MessageState, error) {
	m := &storagev1.MessageState{}
	var keywords string
	var popped int64
	err := row.Scan(append([]any{
		&m.Uid, &m.Modseq, &m.Flags, &keywords, &m.Size, &m.InternalUnix, &popped, &m.SavedUnix,
	}, more...)...)
	m.Keywords, m.Popped = strings.Fields(keywords), popped != 0
	return m, err
}

// rangesAtOnce are the ranges of a set that one round trip reads.
const rangesAtOnce = 100

// ranges queues queries for the ranges of a set that a mailbox can have, and runs them some at a time until enough.
func (t *tx) ranges(mailbox *storagev1.Mailbox, set uidset.Set, enough func() bool, query func(uidset.Range)) error {
	for i, r := range set {
		if r.Start >= mailbox.GetUidNext() {
			break
		}
		query(uidset.Range{Start: r.Start, Stop: min(r.Stop, mailbox.GetUidNext()-1)})
		if (i+1)%rangesAtOnce == 0 {
			if err := t.flush(); err != nil || enough() {
				return err
			}
		}
	}
	return t.flush()
}

// states reads the states of the messages in a set, in UID order, about up to a limit; 0 is none.
func (t *tx) states(account string, mailbox *storagev1.Mailbox, set uidset.Set, limit int) ([]*storagev1.MessageState, error) {
	var out []*storagev1.MessageState
	enough := func() bool { return limit > 0 && len(out) >= limit }
	query := `SELECT ` + stateColumns + ` FROM messages m WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ? ORDER BY uid`
	if limit > 0 {
		query += sqldb.Limit(limit)
	}
	err := t.ranges(mailbox, set, enough, func(r uidset.Range) {
		t.queue.Query(func(rows *sqldb.Rows) error {
			if enough() {
				return nil
			}
			m, err := scanState(rows)
			out = append(out, m)
			return err
		}, query, account, mailbox.GetMailboxId(), r.Start, r.Stop)
	})
	return out, err
}

// mailboxStates reads a mailbox and, in the same round trip unless the set has many ranges, the states of messages in it.
func (t *tx) mailboxStates(account string, id uint64, set uidset.Set, limit int) (*storagev1.Mailbox, []*storagev1.MessageState, error) {
	if len(set) > rangesAtOnce {
		m, err := t.mailbox(account, id)
		if err != nil {
			return nil, nil, err
		}
		states, err := t.states(account, m, set, limit)
		return m, states, err
	}
	if id > math.MaxInt64 {
		return nil, nil, ErrMailboxNotFound
	}
	var m *storagev1.Mailbox
	t.queue.Query(func(rows *sqldb.Rows) (err error) {
		m, err = scanMailbox(rows)
		return err
	}, mailboxByID, account, id)
	all := &storagev1.Mailbox{MailboxId: id, UidNext: math.MaxUint32} // not yet known
	states, err := t.states(account, all, set, limit)
	if err == nil && m == nil {
		err = ErrMailboxNotFound
	}
	return m, states, err
}

// selection is messages that are about to leave a mailbox or to be copied.
type selection struct {
	uids     uidset.Set // exactly those that exist, so that each range is a run of rows
	list     []uint32
	counters counters // of the messages, uids excepted
	// byFlags are the messages with just these flags, and their octets.
	byFlags [AllFlags + 1]struct{ messages, bytes int64 }
}

// count adds a message to what was chosen.
func (s *selection) count(flags uint32, size int64) {
	s.counters.add(1, flags, size)
	some := &s.byFlags[flags&AllFlags]
	some.messages++
	some.bytes += size
}

// arriving counts the messages as they are where only some flags may go along.
func (s *selection) arriving(mask uint32) counters {
	var c counters
	for flags, some := range s.byFlags {
		c.add(some.messages, uint32(flags)&mask, some.bytes)
	}
	c.uids = c.messages
	return c
}

// choose selects the messages of a set, all or those with \Deleted, the first ones up to a limit; 0 is none.
func (t *tx) choose(account string, mailbox *storagev1.Mailbox, set uidset.Set, deleted bool, limit int) (*selection, error) {
	s := &selection{}
	var uids uidset.Builder
	query := `SELECT uid, flags, size FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`
	if deleted {
		query += ` AND ` + isDeleted
	}
	query += ` ORDER BY uid`
	if limit > 0 {
		query += sqldb.Limit(limit)
	}
	enough := func() bool { return limit > 0 && len(s.list) >= limit }
	err := t.ranges(mailbox, set, enough, func(r uidset.Range) {
		t.queue.Query(func(rows *sqldb.Rows) error {
			if enough() {
				return nil
			}
			var uid, has uint32
			var size int64
			err := rows.Scan(&uid, &has, &size)
			uids.Add(uid)
			s.list = append(s.list, uid)
			s.count(has, size)
			return err
		}, query, account, mailbox.GetMailboxId(), r.Start, r.Stop)
	})
	s.uids = uids.Set()
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
func (t *tx) bury(account string, m *storagev1.Mailbox, uids uidset.Set) error {
	for _, r := range uids {
		err := t.later(`INSERT INTO tombstones (account_id, mailbox_id, modseq, uid_start, uid_stop) VALUES (?, ?, ?, ?, ?)`,
			account, m.GetMailboxId(), m.GetHighestModseq(), r.Start, r.Stop)
		if err != nil {
			return err
		}
	}
	return nil
}
