package ledger

import (
	"context"
	"fmt"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Limit as it is set for a scope. A nil value says nothing: the next scope decides.
type Limit struct{ Bytes, Messages *int64 }

// Scope of a limit: an account, else a domain, else (both empty) all.
type Scope struct{ AccountID, Domain string }

// ScopedLimit is a limit and where it applies.
type ScopedLimit struct {
	Scope Scope
	Limit Limit
}

// SetLimit replaces both values of a scope. It holds from the next transaction of any replica on. An account must have been opened.
func (l *Ledger) SetLimit(ctx context.Context, scope Scope, limit Limit) error {
	return l.write(ctx, "limit", durable, func(w *work) error {
		switch {
		case scope.AccountID != "":
			return w.setAccountLimit(scope.AccountID, limit)
		case limit.Bytes == nil && limit.Messages == nil:
			w.writes.Exec(`DELETE FROM limits WHERE domain = ?`, scope.Domain)
		default:
			w.writes.Exec(`INSERT INTO limits (domain, bytes, messages) VALUES (?, ?, ?)
				ON CONFLICT (domain) DO UPDATE SET bytes = excluded.bytes, messages = excluded.messages`, scope.Domain, limit.Bytes, limit.Messages)
		}
		return w.save()
	})
}

func (w *work) setAccountLimit(id string, limit Limit) error {
	_, err := w.tx.Exec(w.ctx, `UPDATE ledger SET limit_bytes = ?, limit_messages = ? WHERE account_id = ?`, limit.Bytes, limit.Messages, id)
	if err != nil {
		return err
	}
	if err := w.lock([]string{id}, nil); err != nil {
		return err
	}
	a, err := w.account(id)
	if err != nil {
		return err
	}
	w.warn(a, false)
	return w.save()
}

// Limits gives all limits that are set: global, then domains, then accounts.
func (l *Ledger) Limits(ctx context.Context) (out []ScopedLimit, err error) {
	err = l.db.Read(ctx, "limits", func(tx *sqldb.Tx) error {
		out = nil
		for _, query := range []string{
			`SELECT '', domain, bytes, messages FROM limits ORDER BY domain`,
			`SELECT account_id, '', limit_bytes, limit_messages FROM ledger
				WHERE limit_bytes IS NOT NULL OR limit_messages IS NOT NULL ORDER BY account_id`,
		} {
			rows, err := tx.Query(ctx, query)
			if err != nil {
				return err
			}
			for rows.Next() {
				var s ScopedLimit
				if err := rows.Scan(&s.Scope.AccountID, &s.Scope.Domain, &s.Limit.Bytes, &s.Limit.Messages); err != nil {
					return err
				}
				out = append(out, s)
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	return out, nil
}
