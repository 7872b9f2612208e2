package store

import (
	"context"
	"fmt"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Alias leads from one address to others.
type Alias struct {
	Address address.Address
	Targets []address.Address
}

func scanAlias(row scanner) (Alias, error) {
	var a Alias
	var targets string
	if err := row.Scan(&a.Address.Domain, &a.Address.Local, &targets); err != nil {
		return Alias{}, notFound(err)
	}
	var err error
	a.Targets, err = splitAddresses(targets)
	return a, err
}

// PutAlias creates or changes an alias. It fails with ErrExists if an account has the address, with ErrNoDomain without its domain or
// that of a target.
func (s *Store) PutAlias(ctx context.Context, a Alias, now int64) (created bool, err error) {
	err = s.db.Write(ctx, "put_alias", func(tx *sqldb.Tx) error {
		// Whoever gives the address to an account locks its domain too.
		if err := s.needDomains(ctx, tx, append(domainsOf(a.Targets), a.Address.Domain)); err != nil {
			return err
		}
		if taken, err := exists(ctx, tx, `SELECT 1 FROM accounts WHERE domain = ? AND local_part = ?`, a.Address.Domain, a.Address.Local); err != nil {
			return err
		} else if taken {
			return ErrExists
		}
		targets := joinAddresses(a.Targets)
		created, err = changed(tx.Exec(ctx,
			`INSERT INTO aliases (domain, local_part, targets, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (domain, local_part) DO NOTHING`,
			a.Address.Domain, a.Address.Local, targets, now))
		if err != nil || created {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE aliases SET targets = ? WHERE domain = ? AND local_part = ?`, targets, a.Address.Domain, a.Address.Local)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("put alias: %w", err)
	}
	return created, nil
}

// Alias gives the alias at an address, or ErrNotFound.
func (v Snapshot) Alias(ctx context.Context, addr address.Address) (Alias, error) {
	a, err := scanAlias(v.tx.QueryRow(ctx, `SELECT domain, local_part, targets FROM aliases WHERE domain = ? AND local_part = ?`, addr.Domain, addr.Local))
	if err != nil {
		return Alias{}, fmt.Errorf("read alias: %w", err)
	}
	return a, nil
}

// Aliases lists the aliases of a domain, or all if it is empty, in order of domain and local part.
func (s *Store) Aliases(ctx context.Context, domain string) (out []Alias, err error) {
	err = s.db.ReadOne(ctx, "list_aliases", func(tx *sqldb.Tx) error {
		out, err = collect(ctx, tx, scanAlias,
			`SELECT domain, local_part, targets FROM aliases WHERE (? = '' OR domain = ?) ORDER BY domain, local_part`, domain, domain)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list aliases: %w", err)
	}
	return out, nil
}

// DeleteAlias fails with ErrNotFound if there is none.
func (s *Store) DeleteAlias(ctx context.Context, addr address.Address) error {
	err := s.db.Write(ctx, "delete_alias", func(tx *sqldb.Tx) error {
		deleted, err := changed(tx.Exec(ctx, `DELETE FROM aliases WHERE domain = ? AND local_part = ?`, addr.Domain, addr.Local))
		if err == nil && !deleted {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete alias: %w", err)
	}
	return nil
}
