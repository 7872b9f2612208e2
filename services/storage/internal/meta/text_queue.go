package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
)

// TextBehind is a mailbox with messages whose texts are not indexed.
type TextBehind struct {
	MailboxKey
	// Messages is at most how many.
	Messages int64
	// Stale says that what there is of the index is of an older format.
	Stale bool
}

// textPage is how many mailboxes FindTextBehind looks at.
const textPage = 1000

// FindTextBehind looks at some mailboxes after the last of the page before, and gives those that are behind. more is false after the last of all.
func (s *Store) FindTextBehind(ctx context.Context, after MailboxKey) (behind []TextBehind, last MailboxKey, more bool, err error) {
	err = s.read(ctx, "find_text_behind", func(t *tx) error {
		behind, last = nil, after
		n := 0
		err := t.rows(func(rows *sqldb.Rows) error {
			var messages, uidNext, next, format int64
			if err := rows.Scan(&last.AccountID, &last.MailboxID, &messages, &uidNext, &next, &format); err != nil {
				return err
			}
			n++
			stale := format < textindex.Format
			if messages > 0 && (stale || format == textindex.Format && next < uidNext) {
				behind = append(behind, TextBehind{MailboxKey: last, Messages: min(messages, uidNext-next), Stale: stale && next > 1})
			}
			return nil
		}, `SELECT b.account_id, b.mailbox_id, b.messages, b.uid_next, COALESCE(t.next_uid, 1), COALESCE(t.format, ?)
			FROM mailboxes b LEFT JOIN text_mailboxes t ON t.account_id = b.account_id AND t.mailbox_id = b.mailbox_id
			WHERE (b.account_id, b.mailbox_id) > (?, ?) ORDER BY b.account_id, b.mailbox_id`+sqldb.Limit(textPage),
			int64(textindex.Format), after.AccountID, after.MailboxID)
		more = n == textPage
		return err
	})
	return behind, last, more, err
}

// MailboxesOf gives all mailboxes of an account, or of all, after the last of the page before, with the number of their messages.
func (s *Store) MailboxesOf(ctx context.Context, account string, after MailboxKey) (list []TextBehind, err error) {
	query, args := `SELECT account_id, mailbox_id, messages FROM mailboxes WHERE (account_id, mailbox_id) > (?, ?)
		ORDER BY account_id, mailbox_id`, []any{after.AccountID, after.MailboxID}
	if account != "" {
		query, args = `SELECT account_id, mailbox_id, messages FROM mailboxes WHERE account_id = ? AND mailbox_id > ? ORDER BY mailbox_id`,
			[]any{account, after.MailboxID}
	}
	err = s.read(ctx, "list_all_mailboxes", func(t *tx) error {
		list = nil
		return t.rows(func(rows *sqldb.Rows) error {
			var b TextBehind
			err := rows.Scan(&b.AccountID, &b.MailboxID, &b.Messages)
			list = append(list, b)
			return err
		}, query+sqldb.Limit(textPage), args...)
	})
	return list, err
}

// EnqueueTexts leaves mailboxes to whichever replica has time. Those that are in the queue already stay where they are.
func (s *Store) EnqueueTexts(ctx context.Context, list []TextBehind) error {
	return s.writeRelaxed(ctx, "enqueue_texts", func(t *tx) error {
		for _, b := range list {
			err := t.later(`INSERT INTO text_queue (account_id, mailbox_id, since_unix, messages, holder, claimed_until) VALUES (?, ?, ?, ?, '', 0)
				ON CONFLICT (account_id, mailbox_id) DO NOTHING`, b.AccountID, b.MailboxID, t.now, b.Messages)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ClaimText takes a mailbox from the queue for a time, if there is one that nobody has.
func (s *Store) ClaimText(ctx context.Context, holder string, lease time.Duration) (key MailboxKey, ok bool, err error) {
	err = s.read(ctx, "find_text_queue", func(t *tx) error {
		ok = false
		return t.rows(func(*sqldb.Rows) error {
			ok = true
			return nil
		}, `SELECT 1 FROM text_queue WHERE claimed_until <= ? ORDER BY claimed_until`+sqldb.Limit(1), t.now)
	})
	if err != nil || !ok {
		return key, false, err
	}
	skip := ""
	err = s.writeRelaxed(ctx, "claim_text", func(t *tx) error {
		if ok = false; t.forUpdate() != "" {
			skip = t.forUpdate() + " SKIP LOCKED"
		}
		err := t.row(`SELECT account_id, mailbox_id FROM text_queue WHERE claimed_until <= ? ORDER BY claimed_until`+sqldb.Limit(1)+skip, t.now).
			Scan(&key.AccountID, &key.MailboxID)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		ok = true
		return t.later(`UPDATE text_queue SET holder = ?, claimed_until = ? WHERE account_id = ? AND mailbox_id = ?`,
			holder, t.now+int64(lease.Seconds()), key.AccountID, key.MailboxID)
	})
	return key, ok, err
}

// KeepText holds a mailbox of the queue for another time, and tells how many messages are left; false if another one has it.
func (s *Store) KeepText(ctx context.Context, key MailboxKey, holder string, left int64, lease time.Duration) (ok bool, err error) {
	err = s.writeRelaxed(ctx, "keep_text", func(t *tx) error {
		n, err := t.exec(`UPDATE text_queue SET claimed_until = ?, messages = ? WHERE account_id = ? AND mailbox_id = ? AND holder = ?`,
			t.now+int64(lease.Seconds()), left, key.AccountID, key.MailboxID, holder)
		ok = n > 0
		return err
	})
	return ok, err
}

// FinishText takes a mailbox out of the queue.
func (s *Store) FinishText(ctx context.Context, key MailboxKey, holder string) error {
	return s.writeRelaxed(ctx, "finish_text", func(t *tx) error {
		return t.later(`DELETE FROM text_queue WHERE account_id = ? AND mailbox_id = ? AND holder = ?`, key.AccountID, key.MailboxID, holder)
	})
}

// TextQueue is what waits in the queue.
type TextQueue struct {
	Mailboxes, Messages int64
	// Since is when the oldest came, in Unix seconds; 0: there is none.
	Since int64
}

// TextQueue tells what waits: of one account, or "" for all.
func (s *Store) TextQueue(ctx context.Context, account string) (q TextQueue, err error) {
	query, args := `SELECT COUNT(*), COALESCE(SUM(messages), 0), COALESCE(MIN(since_unix), 0) FROM text_queue`, []any(nil)
	if account != "" {
		query, args = query+` WHERE account_id = ?`, []any{account}
	}
	err = s.read(ctx, "text_queue", func(t *tx) error {
		return t.row(query, args...).Scan(&q.Mailboxes, &q.Messages, &q.Since)
	})
	return q, err
}
