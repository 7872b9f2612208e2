package meta

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// KeptText is the text of a message as it is stored, nil if it is not, with what goes before the message.
type KeptText struct {
	UID    uint32
	Prefix []byte
	Text   []byte
}

// TextsOf gives the texts of the messages of a set, in the order of their UIDs, as long as take wants more. The bytes are not kept for it.
func (s *Store) TextsOf(ctx context.Context, key MailboxKey, set uidset.Set, take func(KeptText) (more bool)) error {
	if key.MailboxID > math.MaxInt64 {
		return nil
	}
	return s.read(ctx, "read_texts", func(t *tx) error {
		enough := false
		for i, r := range set {
			t.queue.Query(func(rows *sqldb.Rows) error {
				if enough {
					return nil
				}
				var k KeptText
				var prefix, text sql.RawBytes
				if err := rows.Scan(&k.UID, &prefix, &text); err != nil {
					return err
				}
				k.Prefix, k.Text = prefix, text
				enough = !take(k)
				return nil
			}, `SELECT m.uid, m.prefix, t.text FROM messages m LEFT JOIN text_contents t ON t.account_id = m.account_id AND t.content_id = m.content_id
				WHERE m.account_id = ? AND m.mailbox_id = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid`, key.AccountID, key.MailboxID, r.Start, r.Stop)
			if (i+1)%rangesAtOnce == 0 {
				if err := t.flush(); err != nil || enough {
					return err
				}
			}
		}
		return t.flush()
	})
}

// statesPage bounds a page of States.
const statesPage = 5000

// States gives one page of the messages of a set with a UID above after, in UID order, with nothing but their states. more says that others may follow.
func (s *Store) States(ctx context.Context, account string, mailbox uint64, set uidset.Set, after uint32) (page []*Message, more bool, err error) {
	if after == math.MaxUint32 {
		return nil, false, nil
	}
	err = s.read(ctx, "search_states", func(t *tx) error {
		box, err := t.mailbox(account, mailbox)
		if err != nil {
			return err
		}
		if err := t.permit(account, mailbox, RightRead); err != nil {
			return err
		}
		states, err := t.states(account, box, set.Intersect(uidset.Set{{Start: after + 1, Stop: math.MaxUint32}}), statesPage)
		page = make([]*Message, len(states))
		for i, state := range states {
			page[i] = &Message{State: state}
		}
		more = len(states) >= statesPage
		return err
	})
	return page, more, err
}

// TextGap is a range of UIDs with kept texts but no segment, and how many messages it has.
type TextGap struct {
	uidset.Range
	Messages int64
	// Tail says that it is behind all segments.
	Tail bool
}

// TextGaps gives the gaps between the segments of a mailbox.
func (s *Store) TextGaps(ctx context.Context, key MailboxKey) (gaps []TextGap, err error) {
	err = s.read(ctx, "find_text_gaps", func(t *tx) error {
		gaps = nil
		mark, err := t.textMark(key)
		if err != nil {
			return err
		}
		from := uint32(1)
		add := func(until uint32) { // below
			if from < until {
				gaps = append(gaps, TextGap{Range: uidset.Range{Start: from, Stop: until - 1}})
			}
		}
		err = t.rows(func(rows *sqldb.Rows) error {
			var first, last uint32
			err := rows.Scan(&first, &last)
			add(min(first, mark.Next))
			from = max(from, last+1)
			return err
		}, `SELECT first_uid, last_uid FROM text_segments WHERE account_id = ? AND mailbox_id = ? ORDER BY first_uid`, key.AccountID, key.MailboxID)
		if err != nil {
			return err
		}
		segments := len(gaps)
		add(mark.Next)
		if len(gaps) > segments {
			gaps[segments].Tail = true
		}
		for i := range gaps {
			g := &gaps[i]
			t.queue.Query(func(rows *sqldb.Rows) error { return rows.Scan(&g.Messages) },
				`SELECT COUNT(*) FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`, key.AccountID, key.MailboxID, g.Start, g.Stop)
			if err := t.overflow(); err != nil {
				return err
			}
		}
		return t.flush()
	})
	return gaps, err
}

// AddSegment stores a segment that has all messages of a mailbox from UID first on. ok is false if the texts were set back meanwhile, or another one has
// added it.
func (s *Store) AddSegment(ctx context.Context, key MailboxKey, first uint32, seg *textindex.Segment) (ok bool, err error) {
	err = s.writeRelaxed(ctx, "add_segment", func(t *tx) error {
		ok = false
		var id int64
		// The row stays locked, so that no other one adds a segment meanwhile.
		err := t.row(`UPDATE text_mailboxes SET next_segment = next_segment + 1 WHERE account_id = ? AND mailbox_id = ? AND next_uid > ? AND format = ?
			RETURNING next_segment - 1`, key.AccountID, key.MailboxID, seg.Last, int64(textindex.Format)).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var others int64
		err = t.row(`SELECT COUNT(*) FROM text_segments WHERE account_id = ? AND mailbox_id = ? AND first_uid <= ? AND last_uid >= ?`,
			key.AccountID, key.MailboxID, seg.Last, first).Scan(&others)
		if err != nil || others > 0 {
			return err
		}
		err = t.later(`INSERT INTO text_segments (account_id, mailbox_id, segment_id, first_uid, last_uid, messages, header) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			key.AccountID, key.MailboxID, id, first, seg.Last, seg.Docs, seg.Header)
		for c, postings := range seg.Rows {
			if err == nil && postings != nil {
				err = t.later(`INSERT INTO text_postings (account_id, mailbox_id, chunk, segment_id, postings) VALUES (?, ?, ?, ?, ?)`,
					key.AccountID, key.MailboxID, c, id, postings)
			}
		}
		ok = err == nil
		return err
	})
	return ok, err
}

// TextLookup asks the segments of a mailbox, from one snapshot. covered are the UIDs of which they know all; of those below the mark the texts are kept.
func (s *Store) TextLookup(ctx context.Context, key MailboxKey, queries []textindex.Query) (l *textindex.Lookup, covered uidset.Set, mark TextMark, err error) {
	if key.MailboxID > math.MaxInt64 {
		return nil, nil, mark, ErrMailboxNotFound
	}
	err = s.read(ctx, "text_lookup", func(t *tx) error {
		l, covered = textindex.NewLookup(queries), nil
		var err error
		if mark, err = t.textMark(key); err != nil || mark.Next <= 1 {
			return err
		}
		err = t.rows(func(rows *sqldb.Rows) error {
			var id, messages int64
			var r uidset.Range
			var header sql.RawBytes
			if err := rows.Scan(&id, &r.Start, &r.Stop, &messages, &header); err != nil {
				return err
			}
			covered = append(covered, r)
			return l.Segment(id, header, int(messages))
		}, `SELECT segment_id, first_uid, last_uid, messages, header FROM text_segments WHERE account_id = ? AND mailbox_id = ? ORDER BY first_uid`,
			key.AccountID, key.MailboxID)
		if err != nil || len(covered) == 0 {
			return err
		}
		covered = covered.Union(nil)
		for more := true; more; more = l.Next() {
			if err := t.segmentRows(key, l); err != nil {
				return err
			}
		}
		return nil
	})
	return l, covered, mark, err
}

// segmentRows reads the rows that a lookup wants, of all segments of a mailbox.
func (t *tx) segmentRows(key MailboxKey, l *textindex.Lookup) error {
	for _, row := range l.Rows() {
		t.queue.Query(func(rows *sqldb.Rows) error {
			var id int64
			var octets sql.RawBytes
			if err := rows.Scan(&id, &octets); err != nil {
				return err
			}
			return l.Row(row, id, octets)
		}, `SELECT segment_id, postings FROM text_postings WHERE account_id = ? AND mailbox_id = ? AND chunk = ?`, key.AccountID, key.MailboxID, row)
		if err := t.overflow(); err != nil {
			return err
		}
	}
	return t.flush()
}
