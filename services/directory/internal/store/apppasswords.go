package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// AppPassword is a random password that one of the owner's programs uses.
type AppPassword struct {
	AccountID string
	ID        string
	Label     string
	Protocols []string // empty: all
	Digest    string
	Scram     string // RFC 5803, or empty
	Created   int64  // Unix seconds
	LastUsed  int64  // Unix seconds; 0: never
}

const appPasswordColumns = `account_id, id, label, protocols, digest, scram, created_at, last_used_at` // #nosec G101 -- names of columns

func scanAppPassword(row scanner) (AppPassword, error) {
	var p AppPassword
	var protocols string
	err := row.Scan(&p.AccountID, &p.ID, &p.Label, &protocols, &p.Digest, &p.Scram, &p.Created, &p.LastUsed)
	p.Protocols = strings.Fields(protocols)
	return p, notFound(err)
}

// CreateAppPassword gives the account at an address an app password, limit at most. It fails with ErrExists if the account
// has one with the id, with ErrTooMany, and with ErrNotFound without an account that has both address and id.
func (s *Store) CreateAppPassword(ctx context.Context, addr address.Address, p AppPassword, limit int) error {
	err := s.db.Write(ctx, "create_app_password", func(tx *sqldb.Tx) error {
		account, err := accountAt(ctx, tx, addr, s.lockAccounts())
		if err != nil {
			return err
		}
		if account.ID != p.AccountID {
			return ErrNotFound
		}
		var count int
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM app_passwords WHERE account_id = ?`, account.ID).Scan(&count); err != nil {
			return err
		}
		if count >= limit {
			return ErrTooMany
		}
		created, err := changed(tx.Exec(ctx,
			`INSERT INTO app_passwords (`+appPasswordColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, id) DO NOTHING`,
			p.AccountID, p.ID, p.Label, strings.Join(p.Protocols, " "), p.Digest, p.Scram, p.Created, p.LastUsed))
		if err == nil && !created {
			return ErrExists
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create app password: %w", err)
	}
	return nil
}

// AppPassword gives one app password of an account, or ErrNotFound.
func (s *Store) AppPassword(ctx context.Context, accountID, id string) (p AppPassword, err error) {
	err = s.db.ReadOne(ctx, "app_password", func(tx *sqldb.Tx) error {
		p, err = scanAppPassword(tx.QueryRow(ctx,
			`SELECT `+appPasswordColumns+` FROM app_passwords WHERE account_id = ? AND id = ?`, accountID, id))
		return err
	})
	if err != nil {
		return AppPassword{}, fmt.Errorf("read app password: %w", err)
	}
	return p, nil
}

// AppPasswords lists the app passwords of an account, the oldest first.
func (s *Store) AppPasswords(ctx context.Context, accountID string) (out []AppPassword, err error) {
	err = s.db.ReadOne(ctx, "list_app_passwords", func(tx *sqldb.Tx) error {
		out, err = collect(ctx, tx, scanAppPassword,
			`SELECT `+appPasswordColumns+` FROM app_passwords WHERE account_id = ? ORDER BY created_at, id`, accountID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list app passwords: %w", err)
	}
	return out, nil
}

// TouchAppPassword records a use.
func (s *Store) TouchAppPassword(ctx context.Context, accountID, id string, now int64) error {
	err := s.db.Write(ctx, "touch_app_password", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE app_passwords SET last_used_at = ? WHERE account_id = ? AND id = ? AND last_used_at < ?`,
			now, accountID, id, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("record use of app password: %w", err)
	}
	return nil
}

// DeleteAppPassword fails with ErrNotFound if the account at the address has none with the id, or is not there itself.
func (s *Store) DeleteAppPassword(ctx context.Context, addr address.Address, id string) error {
	err := s.db.Write(ctx, "delete_app_password", func(tx *sqldb.Tx) error {
		account, err := accountAt(ctx, tx, addr, s.lockAccounts())
		if err != nil {
			return err
		}
		deleted, err := changed(tx.Exec(ctx, `DELETE FROM app_passwords WHERE account_id = ? AND id = ?`, account.ID, id))
		if err == nil && !deleted {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete app password: %w", err)
	}
	return nil
}
