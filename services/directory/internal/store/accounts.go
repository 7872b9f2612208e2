package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// Account is a person or a function with a mailbox.
type Account struct {
	ID          string
	Address     address.Address
	DisplayName string
	Disabled    bool
	PopDelete   directoryv1.PopDelete
	Created     int64 // Unix seconds
	Credentials

	// Of the account's domain; not written with the account.
	DomainPopDelete directoryv1.PopDelete
	DomainDisabled  bool
}

// Credentials are the stored forms of an account's password.
type Credentials struct {
	Version  int64  // rises with every change of the password
	Password string // PHC string, or empty
	Scram    string // RFC 5803, or empty
}

const accountColumns = `a.id, a.domain, a.local_part, a.display_name, a.disabled, a.pop_delete, a.created_at,
	a.version, a.password, a.scram, d.pop_delete, d.disabled`

const selectAccounts = `SELECT ` + accountColumns + ` FROM accounts a JOIN domains d ON d.name = a.domain `

func scanAccount(row scanner) (Account, error) {
	var a Account
	err := row.Scan(&a.ID, &a.Address.Domain, &a.Address.Local, &a.DisplayName, &a.Disabled, &a.PopDelete, &a.Created,
		&a.Version, &a.Password, &a.Scram, &a.DomainPopDelete, &a.DomainDisabled)
	return a, notFound(err)
}

// Account gives the account that has the address itself, or ErrNotFound.
func (v Snapshot) Account(ctx context.Context, addr address.Address) (Account, error) {
	a, err := accountAt(ctx, v.tx, addr, "")
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// accountAt reads an account; lock is lockAccounts, or empty.
func accountAt(ctx context.Context, tx *sqldb.Tx, addr address.Address, lock string) (Account, error) {
	return scanAccount(tx.QueryRow(ctx, selectAccounts+`WHERE a.domain = ? AND a.local_part = ?`+lock, addr.Domain, addr.Local))
}

// Account gives the account that has the address itself, or ErrNotFound.
func (s *Store) Account(ctx context.Context, addr address.Address) (a Account, err error) {
	err = s.db.ReadOne(ctx, "account", func(tx *sqldb.Tx) error {
		a, err = Snapshot{tx}.Account(ctx, addr)
		return err
	})
	return a, err
}

// AccountByID gives an account, or ErrNotFound.
func (s *Store) AccountByID(ctx context.Context, id string) (a Account, err error) {
	err = s.db.ReadOne(ctx, "account", func(tx *sqldb.Tx) error {
		a, err = scanAccount(tx.QueryRow(ctx, selectAccounts+`WHERE a.id = ?`, id))
		return err
	})
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// CreateAccount stores a new account, with version 1, and gives it as stored. It fails with ErrExists if an account or alias has the address, or an
// account the id, with ErrNoDomain without the domain.
func (s *Store) CreateAccount(ctx context.Context, a Account) (stored Account, err error) {
	err = s.db.Write(ctx, "create_account", func(tx *sqldb.Tx) error {
		// All who give away addresses of the domain lock it first.
		if err := s.needDomains(ctx, tx, []string{a.Address.Domain}); err != nil {
			return err
		}
		if taken, err := exists(ctx, tx, `SELECT 1 FROM aliases WHERE domain = ? AND local_part = ?`, a.Address.Domain, a.Address.Local); err != nil {
			return err
		} else if taken {
			return ErrExists
		}
		if _, err := accountAt(ctx, tx, a.Address, ""); !errors.Is(err, ErrNotFound) {
			return errors.Join(err, ErrExists)
		}
		if taken, err := exists(ctx, tx, `SELECT 1 FROM accounts WHERE id = ?`, a.ID); err != nil {
			return err
		} else if taken {
			return ErrExists
		}
		_, err := tx.Exec(ctx, `INSERT INTO accounts
			(domain, local_part, id, display_name, disabled, pop_delete, version, password, scram, created_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)`,
			a.Address.Domain, a.Address.Local, a.ID, a.DisplayName, a.Disabled, int32(a.PopDelete), a.Password, a.Scram, a.Created)
		if err != nil {
			return err
		}
		stored, err = accountAt(ctx, tx, a.Address, "")
		return err
	})
	if err != nil {
		return Account{}, fmt.Errorf("create account: %w", err)
	}
	return stored, nil
}

// UpdateAccount lets change alter display name, disabled and POP3 policy of an account, and gives it as stored. change may run again.
func (s *Store) UpdateAccount(ctx context.Context, addr address.Address, change func(*Account)) (a Account, err error) {
	err = s.db.Write(ctx, "update_account", func(tx *sqldb.Tx) error {
		if a, err = accountAt(ctx, tx, addr, s.lockAccounts()); err != nil {
			return err
		}
		change(&a)
		_, err := tx.Exec(ctx, `UPDATE accounts SET display_name = ?, disabled = ?, pop_delete = ? WHERE domain = ? AND local_part = ?`,
			a.DisplayName, a.Disabled, int32(a.PopDelete), addr.Domain, addr.Local)
		return err
	})
	if err != nil {
		return Account{}, fmt.Errorf("update account: %w", err)
	}
	return a, nil
}

// SetPassword replaces the stored forms of an account's password; its version rises. c.Version is ignored.
func (s *Store) SetPassword(ctx context.Context, addr address.Address, c Credentials) error {
	err := s.db.Write(ctx, "set_password", func(tx *sqldb.Tx) error {
		set, err := changed(tx.Exec(ctx, `UPDATE accounts SET password = ?, scram = ?, version = version + 1 WHERE domain = ? AND local_part = ?`,
			c.Password, c.Scram, addr.Domain, addr.Local))
		if err == nil && !set {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	return nil
}

// RenewPassword replaces the stored forms of a password by others of the same one, unless the password was changed since c.Version was read.
func (s *Store) RenewPassword(ctx context.Context, addr address.Address, c Credentials) error {
	err := s.db.Write(ctx, "renew_password", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE accounts SET password = ?, scram = ? WHERE domain = ? AND local_part = ? AND version = ?`,
			c.Password, c.Scram, addr.Domain, addr.Local, c.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("renew password: %w", err)
	}
	return nil
}

// Accounts lists at most limit accounts in order of domain and local part, those after the address `after`; its zero value is before the first. An
// empty domain is all.
func (s *Store) Accounts(ctx context.Context, domain string, after address.Address, limit int) (out []Account, err error) {
	err = s.db.ReadOne(ctx, "list_accounts", func(tx *sqldb.Tx) error {
		if domain != "" {
			local := ""
			if after.Domain == domain {
				local = after.Local
			}
			out, err = collect(ctx, tx, scanAccount, selectAccounts+`WHERE a.domain = ? AND a.local_part > ? ORDER BY a.local_part LIMIT ?`,
				domain, local, limit)
			return err
		}
		out, err = collect(ctx, tx, scanAccount, selectAccounts+`WHERE (a.domain, a.local_part) > (?, ?) ORDER BY a.domain, a.local_part LIMIT ?`,
			after.Domain, after.Local, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return out, nil
}

// DeleteAccount deletes an account with its app passwords, and gives its id.
func (s *Store) DeleteAccount(ctx context.Context, addr address.Address) (id string, err error) {
	err = s.db.Write(ctx, "delete_account", func(tx *sqldb.Tx) error {
		a, err := accountAt(ctx, tx, addr, s.lockAccounts())
		if err != nil {
			return err
		}
		id = a.ID
		if _, err := tx.Exec(ctx, `DELETE FROM app_passwords WHERE account_id = ?`, id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM accounts WHERE domain = ? AND local_part = ?`, addr.Domain, addr.Local)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("delete account: %w", err)
	}
	return id, nil
}
