package meta

import (
	"context"
	"math"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// MailboxKey names a mailbox. Mailbox ids are never reused in an account.
type MailboxKey struct {
	AccountID string
	MailboxID uint64
}

// Highest tells the highest modseq of mailboxes, at the cost of an index read each; of one that is gone, that it was deleted.
func (s *Store) Highest(ctx context.Context, keys []MailboxKey) ([]Change, error) {
	var changes []Change
	err := s.read(ctx, "highest_modseqs", func(t *tx) error {
		changes = make([]Change, len(keys))
		var batch sqldb.Batch
		for i, key := range keys {
			c := &changes[i]
			*c = Change{AccountID: key.AccountID, MailboxID: key.MailboxID, Deleted: true}
			if !validText(key.AccountID) || key.MailboxID > math.MaxInt64 {
				continue // and does not spoil the others
			}
			batch.Query(func(rows *sqldb.Rows) error {
				c.Deleted = false
				return rows.Scan(&c.Modseq)
			}, `SELECT highest_modseq FROM mailboxes WHERE account_id = ? AND mailbox_id = ?`, key.AccountID, key.MailboxID)
		}
		return t.raw.Batch(ctx, &batch)
	})
	return changes, err
}
