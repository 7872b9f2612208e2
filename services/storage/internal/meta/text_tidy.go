package meta

import (
	"context"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
)

// segmentsAtOnce bounds the segments that one transaction drops.
const segmentsAtOnce = 4

// dropSegments drops some of the segments of a mailbox with an id below a limit.
func (s *Store) dropSegments(ctx context.Context, key MailboxKey, below int64) (more bool, err error) {
	err = s.writeRelaxed(ctx, "drop_segments", func(t *tx) error {
		var ids []int64
		err := t.rows(func(rows *sqldb.Rows) error {
			var id int64
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		}, `SELECT segment_id FROM text_segments WHERE account_id = ? AND mailbox_id = ? AND segment_id < ? ORDER BY segment_id`+sqldb.Limit(segmentsAtOnce),
			key.AccountID, key.MailboxID, below)
		more = len(ids) == segmentsAtOnce
		for _, id := range ids {
			if err == nil {
				err = t.dropSegment(key, id)
			}
		}
		return err
	})
	return more, err
}

func (t *tx) dropSegment(key MailboxKey, id int64) error {
	err := t.later(`DELETE FROM text_segments WHERE account_id = ? AND mailbox_id = ? AND segment_id = ?`, key.AccountID, key.MailboxID, id)
	for c := 0; c < textindex.Rows && err == nil; c++ {
		err = t.later(`DELETE FROM text_postings WHERE account_id = ? AND mailbox_id = ? AND chunk = ? AND segment_id = ?`, key.AccountID, key.MailboxID, c, id)
	}
	return err
}

// tidyPage is how many rows a step of tidying looks at.
const tidyPage = 500

// DropClosedTexts drops the index of mailboxes that are gone, of some after the last of the step before.
func (s *Store) DropClosedTexts(ctx context.Context, after MailboxKey) (last MailboxKey, more bool, err error) {
	var gone []MailboxKey
	err = s.read(ctx, "find_closed_texts", func(t *tx) error {
		gone, last = nil, after
		n := 0
		err := t.rows(func(rows *sqldb.Rows) error {
			var open int64
			err := rows.Scan(&last.AccountID, &last.MailboxID, &open)
			if n++; open == 0 {
				gone = append(gone, last)
			}
			return err
		}, `SELECT t.account_id, t.mailbox_id, CASE WHEN b.mailbox_id IS NULL THEN 0 ELSE 1 END
			FROM text_mailboxes t LEFT JOIN mailboxes b ON b.account_id = t.account_id AND b.mailbox_id = t.mailbox_id
			WHERE (t.account_id, t.mailbox_id) > (?, ?) ORDER BY t.account_id, t.mailbox_id`+sqldb.Limit(tidyPage), after.AccountID, after.MailboxID)
		more = n == tidyPage
		return err
	})
	for _, key := range gone {
		if err == nil {
			err = s.dropTexts(ctx, key)
		}
	}
	return last, more, err
}

// dropTexts drops the segments of a mailbox that is gone.
func (s *Store) dropTexts(ctx context.Context, key MailboxKey) (err error) {
	for more := true; more && err == nil; {
		more, err = s.dropSegments(ctx, key, 1<<62)
	}
	if err != nil {
		return err
	}
	return s.writeRelaxed(ctx, "drop_texts", func(t *tx) error {
		for _, table := range []string{"text_mailboxes", "text_queue"} {
			if err := t.later(`DELETE FROM `+table+` WHERE account_id = ? AND mailbox_id = ?`, key.AccountID, key.MailboxID); err != nil {
				return err
			}
		}
		return nil
	})
}

// SegmentKey names a segment.
type SegmentKey struct {
	MailboxKey
	ID int64
}

// DropSparseSegments drops segments of which less than half of the messages are left, of some after the last of the step before: what is
// left goes into others. touched are their mailboxes.
func (s *Store) DropSparseSegments(ctx context.Context, after SegmentKey) (last SegmentKey, touched []MailboxKey, more bool, err error) {
	var sparse []SegmentKey
	err = s.read(ctx, "find_sparse_segments", func(t *tx) error {
		sparse, last = nil, after
		n := 0
		err := t.rows(func(rows *sqldb.Rows) error {
			var messages, left int64
			err := rows.Scan(&last.AccountID, &last.MailboxID, &last.ID, &messages, &left)
			if n++; left*2 < messages {
				sparse = append(sparse, last)
			}
			return err
		}, `SELECT s.account_id, s.mailbox_id, s.segment_id, s.messages, (SELECT COUNT(*) FROM messages m
				WHERE m.account_id = s.account_id AND m.mailbox_id = s.mailbox_id AND m.uid BETWEEN s.first_uid AND s.last_uid)
			FROM text_segments s WHERE (s.account_id, s.mailbox_id, s.segment_id) > (?, ?, ?)
			ORDER BY s.account_id, s.mailbox_id, s.segment_id`+sqldb.Limit(tidyPage), after.AccountID, after.MailboxID, after.ID)
		more = n == tidyPage
		return err
	})
	for _, k := range sparse {
		if err != nil {
			break
		}
		touched = append(touched, k.MailboxKey)
		err = s.writeRelaxed(ctx, "drop_segments", func(t *tx) error { return t.dropSegment(k.MailboxKey, k.ID) })
	}
	return last, touched, more, err
}

// DropLostTexts drops texts whose content is gone, which a program that knows no texts leaves, of some after the last of the step before.
func (s *Store) DropLostTexts(ctx context.Context, account, content string) (lastAccount, lastContent string, more bool, err error) {
	type key struct{ account, content string }
	var lost []key
	err = s.read(ctx, "find_lost_texts", func(t *tx) error {
		lost, lastAccount, lastContent = nil, account, content
		n := 0
		err := t.rows(func(rows *sqldb.Rows) error {
			var there int64
			err := rows.Scan(&lastAccount, &lastContent, &there)
			if n++; there == 0 {
				lost = append(lost, key{lastAccount, lastContent})
			}
			return err
		}, `SELECT t.account_id, t.content_id, CASE WHEN c.content_id IS NULL THEN 0 ELSE 1 END
			FROM text_contents t LEFT JOIN contents c ON c.account_id = t.account_id AND c.content_id = t.content_id
			WHERE (t.account_id, t.content_id) > (?, ?) ORDER BY t.account_id, t.content_id`+sqldb.Limit(tidyPage), account, content)
		more = n == tidyPage
		return err
	})
	if err != nil || len(lost) == 0 {
		return lastAccount, lastContent, more, err
	}
	err = s.writeRelaxed(ctx, "drop_lost_texts", func(t *tx) error {
		for _, k := range lost {
			if err := t.later(`DELETE FROM text_contents WHERE account_id = ? AND content_id = ?`, k.account, k.content); err != nil {
				return err
			}
		}
		return nil
	})
	return lastAccount, lastContent, more, err
}
