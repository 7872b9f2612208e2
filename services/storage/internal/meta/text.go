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

// TextMark says how far the index of texts is in a mailbox.
type TextMark struct {
	// Next: the texts of all messages with a lower UID are kept. The mailbox's next message gets UIDNext.
	Next, UIDNext uint32
	// Renew: texts of messages with a lower UID are made anew, though they are kept.
	Renew uint32
	// Stale says that what there is of the index is of an older format, Foreign of a newer one, which belongs to newer replicas: Next is 1.
	Stale, Foreign bool
}

// TextMark reads the mark of a mailbox. Errors: MAILBOX_NOT_FOUND.
func (s *Store) TextMark(ctx context.Context, key MailboxKey) (m TextMark, err error) {
	if key.MailboxID > math.MaxInt64 {
		return m, ErrMailboxNotFound
	}
	err = s.read(ctx, "text_mark", func(t *tx) error {
		m, err = t.textMark(key)
		return err
	})
	return m, err
}

func (t *tx) textMark(key MailboxKey) (m TextMark, err error) {
	var format int64
	err = t.row(`SELECT b.uid_next, COALESCE(t.next_uid, 1), COALESCE(t.renew_uid, 0), COALESCE(t.format, ?)
		FROM mailboxes b LEFT JOIN text_mailboxes t ON t.account_id = b.account_id AND t.mailbox_id = b.mailbox_id
		WHERE b.account_id = ? AND b.mailbox_id = ?`, int64(textindex.Format), key.AccountID, key.MailboxID).Scan(&m.UIDNext, &m.Next, &m.Renew, &format)
	if errors.Is(err, sql.ErrNoRows) {
		return m, ErrMailboxNotFound
	}
	if format != textindex.Format {
		m.Stale, m.Foreign, m.Next = format < textindex.Format, format > textindex.Format, 1
	}
	return m, err
}

// textlessPage is how many messages Textless looks at.
const textlessPage = 256

// Textless looks at messages from a mark on, and gives those whose texts are to be made: one of each content. last is the highest UID that it has
// looked at, 0 if there are no messages.
func (s *Store) Textless(ctx context.Context, key MailboxKey, m TextMark) (wanted uidset.Set, last uint32, err error) {
	err = s.read(ctx, "find_textless", func(t *tx) error {
		last = 0
		var uids uidset.Builder
		seen := map[string]bool{}
		err := t.rows(func(rows *sqldb.Rows) error {
			var content string
			var kept int64
			if err := rows.Scan(&last, &content, &kept); err != nil {
				return err
			}
			if (kept == 0 || last < m.Renew) && !seen[content] {
				seen[content] = true
				uids.Add(last)
			}
			return nil
		}, `SELECT m.uid, m.content_id, CASE WHEN t.content_id IS NULL THEN 0 ELSE 1 END FROM messages m
			LEFT JOIN text_contents t ON t.account_id = m.account_id AND t.content_id = m.content_id
			WHERE m.account_id = ? AND m.mailbox_id = ? AND m.uid >= ? ORDER BY m.uid`+sqldb.Limit(textlessPage), key.AccountID, key.MailboxID, m.Next)
		wanted = uids.Set()
		return err
	})
	return wanted, last, err
}

// KeepTexts stores the texts of contents that are still there, and moves the mark of a mailbox from where it was to next. ok is false if another one
// has moved it.
func (s *Store) KeepTexts(ctx context.Context, key MailboxKey, m TextMark, next uint32, texts map[string][]byte) (ok bool, err error) {
	err = s.writeRelaxed(ctx, "keep_texts", func(t *tx) error {
		// Contents go while the account is locked, and their texts with them.
		if err := t.lockAccounts([]string{key.AccountID}); err != nil {
			return err
		}
		for content, text := range texts {
			err := t.later(`INSERT INTO text_contents (account_id, content_id, text) SELECT account_id, content_id, ? FROM contents
				WHERE account_id = ? AND content_id = ? ON CONFLICT (account_id, content_id) DO UPDATE SET text = excluded.text`, text, key.AccountID, content)
			if err != nil {
				return err
			}
		}
		n, err := t.exec(`INSERT INTO text_mailboxes (account_id, mailbox_id, next_uid, renew_uid, next_segment, format)
			SELECT account_id, mailbox_id, CAST(? AS BIGINT), 0, 1, CAST(? AS BIGINT) FROM mailboxes WHERE account_id = ? AND mailbox_id = ?
			ON CONFLICT (account_id, mailbox_id) DO UPDATE SET next_uid = excluded.next_uid
				WHERE text_mailboxes.next_uid = ? AND text_mailboxes.renew_uid = ? AND text_mailboxes.format = ?`,
			next, int64(textindex.Format), key.AccountID, key.MailboxID, m.Next, m.Renew, int64(textindex.Format))
		ok = n > 0
		return err
	})
	return ok, err
}

// RenewTexts sets the mark of a mailbox back, so that all of its texts are made anew, and drops its segments.
func (s *Store) RenewTexts(ctx context.Context, key MailboxKey) error {
	var below int64
	err := s.writeRelaxed(ctx, "renew_texts", func(t *tx) error {
		below = 0
		err := t.row(`INSERT INTO text_mailboxes (account_id, mailbox_id, next_uid, renew_uid, next_segment, format)
			SELECT account_id, mailbox_id, 1, uid_next, 1, CAST(? AS BIGINT) FROM mailboxes WHERE account_id = ? AND mailbox_id = ?
			ON CONFLICT (account_id, mailbox_id) DO UPDATE SET next_uid = 1, renew_uid = excluded.renew_uid, format = excluded.format
			RETURNING next_segment`, int64(textindex.Format), key.AccountID, key.MailboxID).Scan(&below)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrMailboxNotFound
		}
		return err
	})
	for more := true; more && err == nil; {
		more, err = s.dropSegments(ctx, key, below)
	}
	return err
}
