package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
		there, err := exists(ctx, tx, `SELECT 1 FROM domains WHERE name = ?`+s.lock, d.Name)
		if err != nil {
			return err
		}
		others := slices.DeleteFunc(domainsOf(d.CatchAll), func(name string) bool { return name == d.Name })
		if err := s.needDomains(ctx, tx, others); err != nil {
			return err
		}
		created = !there
		_, err = tx.Exec(ctx, `INSERT INTO domains (`+domainColumns+`, created_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET catch_all = excluded.catch_all, pop_delete = excluded.pop_delete,
				no_subaddress = excluded.no_subaddress, disabled = excluded.disabled`,
			d.Name, joinAddresses(d.CatchAll), int32(d.PopDelete), d.NoSubaddress, d.Disabled, now)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("put domain: %w", err)
	}
	return created, nil
}

// Domains lists all domains by name.
func (s *Store) Domains(ctx context.Context) (out []Domain, err error) {
	err = s.db.ReadOne(ctx, "list_domains", func(tx *sqldb.Tx) error {
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
		if there, err := exists(ctx, tx, `SELECT 1 FROM domains WHERE name = ?`+s.lock, name); err != nil || !there {
			return errors.Join(err, ErrNotFound)
		}
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
		_, err := tx.Exec(ctx, `DELETE FROM domains WHERE name = ?`, name)
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

// needDomains fails with ErrNoDomain unless all domains are there, and keeps them from being deleted meanwhile.
func (s *Store) needDomains(ctx context.Context, tx *sqldb.Tx, names []string) error {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		there, err := exists(ctx, tx, `SELECT 1 FROM domains WHERE name = ?`+s.lock, name)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("%s: %w", name, ErrNoDomain)
		}
	}
	return nil
}

func domainsOf(list []address.Address) (names []string) {
	for _, a := range list {
		names = append(names, a.Domain)
	}
	return names
}
