package store

import (
	"context"
	"fmt"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// Domain is a domain whose mail is ours.
type Domain struct {
	Name         string
	CatchAll     []address.Address
	PopDelete    directoryv1.PopDelete
	NoSubaddress bool
	Disabled     bool
}

const domainColumns = `name, catch_all, pop_delete, no_subaddress, disabled`

func scanDomain(row scanner) (Domain, error) {
	var d Domain
	var catchAll string
	if err := row.Scan(&d.Name, &catchAll, &d.PopDelete, &d.NoSubaddress, &d.Disabled); err != nil {
		return Domain{}, notFound(err)
	}
	var err error
	d.CatchAll, err = splitAddresses(catchAll)
	return d, err
}

// PutDomain creates or changes a domain. It fails with ErrNoDomain without the domain of a catch-all's address.
func (s *Store) PutDomain(ctx context.Context, d Domain, now int64) (created bool, err error) {
	err = s.db.Write(ctx, "put_domain", func(tx *sqldb.Tx) error {
		for _, addr := range d.CatchAll {
			if addr.Domain == d.Name {
				continue
			}
			if err := needDomain(ctx, tx, addr.Domain); err != nil {
				return err
			}
		}
		catchAll := joinAddresses(d.CatchAll)
		created, err = changed(tx.Exec(ctx,
			`INSERT INTO domains (`+domainColumns+`, created_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`,
			d.Name, catchAll, int32(d.PopDelete), d.NoSubaddress, d.Disabled, now))
		if err != nil || created {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE domains SET catch_all = ?, pop_delete = ?, no_subaddress = ?, disabled = ? WHERE name = ?`,
			catchAll, int32(d.PopDelete), d.NoSubaddress, d.Disabled, d.Name)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("put domain: %w", err)
	}
	return created, nil
}

// Domains lists all domains by name.
func (s *Store) Domains(ctx context.Context) (out []Domain, err error) {
	err = s.db.Read(ctx, "list_domains", func(tx *sqldb.Tx) error {
		out, err = collect(ctx, tx, scanDomain, `SELECT `+domainColumns+` FROM domains ORDER BY name`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	return out, nil
}

// DeleteDomain fails with ErrNotEmpty while accounts or aliases are left in the domain, and with ErrNotFound if there is none.
func (s *Store) DeleteDomain(ctx context.Context, name string) error {
	err := s.db.Write(ctx, "delete_domain", func(tx *sqldb.Tx) error {
		for _, query := range []string{
			`SELECT 1 FROM accounts WHERE domain = ? LIMIT 1`,
			`SELECT 1 FROM aliases WHERE domain = ? LIMIT 1`,
		} {
			if used, err := exists(ctx, tx, query, name); err != nil {
				return err
			} else if used {
				return ErrNotEmpty
			}
		}
		deleted, err := changed(tx.Exec(ctx, `DELETE FROM domains WHERE name = ?`, name))
		if err == nil && !deleted {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete domain: %w", err)
	}
	return nil
}

// Domain gives a domain, or ErrNotFound.
func (v Snapshot) Domain(ctx context.Context, name string) (Domain, error) {
	d, err := scanDomain(v.tx.QueryRow(ctx, `SELECT `+domainColumns+` FROM domains WHERE name = ?`, name))
	if err != nil {
		return Domain{}, fmt.Errorf("read domain: %w", err)
	}
	return d, nil
}

// FirstDomain gives the domain that was created first, or ErrNotFound.
func (v Snapshot) FirstDomain(ctx context.Context) (Domain, error) {
	d, err := scanDomain(v.tx.QueryRow(ctx, `SELECT `+domainColumns+` FROM domains ORDER BY created_at, name LIMIT 1`))
	if err != nil {
		return Domain{}, fmt.Errorf("read first domain: %w", err)
	}
	return d, nil
}

// needDomain fails with ErrNoDomain if there is no such domain.
func needDomain(ctx context.Context, tx *sqldb.Tx, name string) error {
	there, err := exists(ctx, tx, `SELECT 1 FROM domains WHERE name = ?`, name)
	if err == nil && !there {
		return ErrNoDomain
	}
	return err
}
