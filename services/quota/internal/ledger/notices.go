package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Notice is a warning to the owner of an account that is to be mailed. It is written in the transaction that reached the level,
// and stays until Delivered: a crash between makes it be sent again, under the same ID.
type Notice struct {
	AccountID string
	Number    int64 // 1, 2, 3, … per account
	Level     int   // percent
	Refused   bool  // because mail was refused
	Limit     Amount
	Used      Amount
	Created   time.Time
}

// ID is the same each time that the notice is sent, and no other's. At most 64 octets.
func (n Notice) ID() string { return fmt.Sprintf("quota-%s-%d", n.AccountID, n.Number) }

// warn moves an account's alarm to where usage is, and writes a notice if a level was reached.
func (w *work) warn(a *account, refused bool) {
	next, raise := a.alarm.next(w.l.opts.Levels, a.fill(), refused)
	a.alarm = next
	if !raise {
		return
	}
	a.notices++
	w.noticed = true
	flag := 0
	if refused {
		flag = 1
	}
	w.writes.Exec(`INSERT INTO notices (account_id, number, level, refused, limit_bytes, limit_messages, used_bytes, used_messages, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.AccountID, a.notices, next.level, flag,
		a.Limit.Bytes, a.Limit.Messages, a.Used.Bytes, a.Used.Messages, w.l.opts.Now().UnixMilli())
}

// Notices gives up to limit notices that are not delivered yet, oldest first.
func (l *Ledger) Notices(ctx context.Context, limit int) (out []Notice, err error) {
	err = l.db.ReadOne(ctx, "notices", func(tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, `SELECT account_id, number, level, refused, limit_bytes, limit_messages, used_bytes, used_messages, created_at
			FROM notices ORDER BY created_at, account_id, number`+sqldb.Limit(limit))
		if err != nil {
			return err
		}
		for rows.Next() {
			var n Notice
			var refused, created int64
			if err := rows.Scan(&n.AccountID, &n.Number, &n.Level, &refused, &n.Limit.Bytes, &n.Limit.Messages,
				&n.Used.Bytes, &n.Used.Messages, &created); err != nil {
				return err
			}
			n.Refused, n.Created = refused == 1, time.UnixMilli(created).UTC()
			out = append(out, n)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	return out, nil
}

// Delivered forgets a notice. It tells whether this call did: another replica may have sent the notice too.
func (l *Ledger) Delivered(ctx context.Context, n Notice) (first bool, err error) {
	err = l.write(ctx, "notices", durable, func(w *work) error {
		var deleted int64
		w.writes.ExecCount(&deleted, `DELETE FROM notices WHERE account_id = ? AND number = ?`, n.AccountID, n.Number)
		err := w.save()
		first = deleted > 0
		return err
	})
	return first, err
}
