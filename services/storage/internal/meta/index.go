package meta

import (
	"context"
	"math"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Conditions of the partial indexes on messages. A query has them word for word, else the databases do not see that the index fits.
const (
	isUnseen  = `flags & 1 = 0`
	isFlagged = `flags & 4 <> 0`
	isDeleted = `flags & 8 <> 0`
)

// Mark is what messages of a mailbox are found by without looking at the others.
type Mark string

// The marks. Other flags and keywords have no index: whoever looks for them reads the mailbox's states.
const (
	MarkUnseen  Mark = isUnseen
	MarkFlagged Mark = isFlagged
	MarkDeleted Mark = isDeleted
)

// maxMarked bounds what Marked gives.
const maxMarked = 5000

// Marked gives the messages of a mailbox that have a mark, at the cost of reading them in an index. few is false if
// they are more than are worth to be listed.
func (s *Store) Marked(ctx context.Context, account string, mailbox uint64, mark Mark) (uids uidset.Set, few bool, err error) {
	if mailbox > math.MaxInt64 {
		return nil, true, nil
	}
	err = s.read(ctx, "find_marked", func(t *tx) error {
		var b uidset.Builder
		n := 0
		err := t.rows(func(rows *sqldb.Rows) error {
			var uid uint32
			err := rows.Scan(&uid)
			b.Add(uid)
			n++
			return err
		}, `SELECT uid FROM messages WHERE account_id = ? AND mailbox_id = ? AND `+string(mark)+` ORDER BY uid`+sqldb.Limit(maxMarked+1), account, mailbox)
		uids, few = b.Set(), n <= maxMarked
		return err
	})
	return uids, few, err
}
