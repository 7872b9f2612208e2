// Package resolve follows an address to accounts: the account that has it, an alias, its subaddress, the domain's
// catch-all, in this order.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Limits. Beyond them mail must not be dropped for some of those it is meant for, so that the whole fails.
const (
	MaxDepth      = 10   // aliases that lead to aliases
	MaxRecipients = 100  // accounts that one address leads to
	maxVisits     = 1000 // addresses looked at
)

// ErrLimit is returned if an address leads too far.
var ErrLimit = errors.New("the address leads through too many aliases, or to too many accounts")

// Source is what the directory knows, in one consistent view. Each returns store.ErrNotFound for what is not there.
type Source interface {
	Domain(ctx context.Context, name string) (store.Domain, error)
	Account(ctx context.Context, addr address.Address) (store.Account, error)
	Alias(ctx context.Context, addr address.Address) (store.Alias, error)
}

// Options of To.
type Options struct {
	// Postmaster takes the mail to postmaster@ every domain that has neither such an account nor such an alias
	// (RFC 5321 section 4.5.1). Without it that mail goes to the catch-all, and where there is none the address is unknown.
	Postmaster address.Address
	// NoCatchAll leaves catch-alls out.
	NoCatchAll bool
}

// Recipient is an account and the tag of the address that led to it.
type Recipient struct {
	Account store.Account
	Detail  string
}

// Result is where an address leads. Without Recipients, Disabled tells that it leads to disabled accounts only.
type Result struct {
	Foreign    bool // the domain is not one of ours
	Disabled   bool
	Recipients []Recipient // enabled, each account once
}

// To follows an address. An alias that leads back to itself ends there.
func To(ctx context.Context, src Source, addr address.Address, o Options) (Result, error) {
	w := walk{src: src, options: o, seen: map[address.Address]bool{}, accounts: map[string]bool{}}
	if _, err := src.Domain(ctx, addr.Domain); errors.Is(err, store.ErrNotFound) {
		return Result{Foreign: true}, nil
	}
	if err := w.follow(ctx, addr, "", 0); err != nil {
		return Result{}, fmt.Errorf("resolve address: %w", err)
	}
	return w.result, nil
}

type walk struct {
	src      Source
	options  Options
	seen     map[address.Address]bool // addresses followed
	accounts map[string]bool          // ids found
	result   Result
}

// follow adds what an address leads to. detail is the tag of the address before it.
func (w *walk) follow(ctx context.Context, addr address.Address, detail string, depth int) error {
	if w.seen[addr] {
		return nil
	}
	w.seen[addr] = true
	if depth > MaxDepth || len(w.seen) > maxVisits {
		return ErrLimit
	}
	domain, err := w.src.Domain(ctx, addr.Domain)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if domain.Disabled {
		w.result.Disabled = true
		return nil
	}
	if found, err := w.exact(ctx, addr, detail, depth); found || err != nil {
		return err
	}
	if base, tag := addr.SplitDetail(); base != addr && !domain.NoSubaddress {
		if found, err := w.exact(ctx, base, cmp.Or(tag, detail), depth); found || err != nil {
			return err
		}
	}
	if p := w.options.Postmaster; addr.Local == address.Postmaster && p.Domain != "" && !w.seen[p] {
		return w.follow(ctx, p, detail, depth+1)
	}
	if w.options.NoCatchAll {
		return nil
	}
	return w.all(ctx, domain.CatchAll, detail, depth+1)
}

// exact adds the account or the alias that has the address itself.
func (w *walk) exact(ctx context.Context, addr address.Address, detail string, depth int) (found bool, err error) {
	account, err := w.src.Account(ctx, addr)
	if err == nil {
		return true, w.add(account, detail)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	alias, err := w.src.Alias(ctx, addr)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, w.all(ctx, alias.Targets, detail, depth+1)
}

func (w *walk) all(ctx context.Context, targets []address.Address, detail string, depth int) error {
	for _, target := range targets {
		if err := w.follow(ctx, target, detail, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) add(account store.Account, detail string) error {
	switch {
	case account.Disabled || account.DomainDisabled:
		w.result.Disabled = true
	case w.accounts[account.ID]:
	case len(w.result.Recipients) == MaxRecipients:
		return ErrLimit
	default:
		w.accounts[account.ID] = true
		w.result.Recipients = append(w.result.Recipients, Recipient{account, detail})
	}
	return nil
}
