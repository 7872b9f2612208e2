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
	var noticed bool
	err := l.db.Write(ctx, "limit", func(tx *sqldb.Tx) (err error) {
		if scope.AccountID != "" {
			noticed, err = l.setAccountLimit(ctx, tx, scope.AccountID, limit)
			return err
		}
		if limit.Bytes == nil && limit.Messages == nil {
			_, err = tx.Exec(ctx, `DELETE FROM limits WHERE domain = ?`, scope.Domain)
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO limits (domain, bytes, messages) VALUES (?, ?, ?)
			ON CONFLICT (domain) DO UPDATE SET bytes = excluded.bytes, messages = excluded.messages`, scope.Domain, limit.Bytes, limit.Messages)
		return err
	})
	if err != nil {
		return fmt.Errorf("set limit: %w", err)
	}
	if noticed {
		l.opts.Noticed()
	}
	return nil
}

func (l *Ledger) setAccountLimit(ctx context.Context, tx *sqldb.Tx, id string, limit Limit) (noticed bool, err error) {
	_, err = tx.Exec(ctx, `UPDATE ledger SET limit_bytes = ?, limit_messages = ? WHERE account_id = ?`, limit.Bytes, limit.Messages, id)
	if err != nil {
		return false, err
	}
	a, err := l.account(ctx, tx, id)
	if err != nil {
		return false, err
	}
	return l.warn(ctx, tx, a, false)
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
