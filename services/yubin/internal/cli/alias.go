package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

type aliasView struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}

func newAlias(a *app) *cobra.Command {
	return group("alias", "Aliases: addresses that lead to accounts", "Aliases: addresses that lead to one or several accounts or other aliases.",
		newAliasAdd(a), newAliasList(a), newAliasRemove(a))
}

func newAliasAdd(a *app) *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "add ADDRESS TARGET…",
		Short: "Add an alias, or targets to it",
		Example: `  yubin alias add team@example.com alice@example.com bob@example.com
  yubin alias add info@example.com carol@example.com --replace`,
		Args:              positional(2, -1),
		ValidArgsFunction: a.completeAccounts(-1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			addr, err := normal(args[0])
			if err != nil {
				return err
			}
			var targets []string
			if !replace {
				if targets, err = c.aliasTargets(ctx, addr); err != nil {
					return err
				}
			}
			for _, arg := range args[1:] {
				target, err := normal(arg)
				if err != nil {
					return err
				}
				if !slices.Contains(targets, target) {
					targets = append(targets, target)
				}
			}
			resp, err := c.directoryAdmin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: &directoryv1.Alias{Address: addr, Targets: targets}})
			if fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) {
				return &hintError{err: err, hint: `Aliases lead to addresses of local domains: "yubin domain list" shows them.`}
			}
			if err != nil {
				return err
			}
			verb := "changed"
			if resp.GetCreated() {
				verb = "added"
			}
			return a.done(aliasView{addr, targets}, "alias %s %s: leads to %s", addr, verb, strings.Join(targets, ", "))
		}),
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "the alias leads only to these targets from now on")
	return cmd
}

// aliasTargets gives where an alias leads, nothing if there is no such alias.
func (c *clients) aliasTargets(ctx context.Context, addr string) ([]string, error) {
	resp, err := c.directoryAdmin.ListAliases(ctx, &directoryv1.ListAliasesRequest{})
	if err != nil {
		return nil, err
	}
	for _, alias := range resp.GetAliases() {
		if alias.GetAddress() == addr {
			return alias.GetTargets(), nil
		}
	}
	return nil, nil
}

func newAliasList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list [DOMAIN]",
		Aliases:           []string{"ls"},
		Short:             "List the aliases, all or those of a domain",
		Example:           "  yubin alias list example.com",
		Args:              positional(0, 1),
		ValidArgsFunction: a.completeDomain(),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			resp, err := c.directoryAdmin.ListAliases(ctx, &directoryv1.ListAliasesRequest{Domain: strings.Join(args, "")})
			if err != nil {
				return err
			}
			var views []aliasView
			for _, alias := range resp.GetAliases() {
				views = append(views, aliasView{alias.GetAddress(), alias.GetTargets()})
			}
			return list(a, views, []column{left("ALIAS"), left("LEADS TO")},
				func(v aliasView) []string { return []string{v.Address, strings.Join(v.Targets, ", ")} })
		}),
	}
}

func newAliasRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "remove ADDRESS [TARGET…]",
		Aliases: []string{"rm"},
		Short:   "Remove an alias, or targets from it",
		Example: `  yubin alias remove team@example.com bob@example.com
  yubin alias remove team@example.com`,
		Args:              positional(1, -1),
		ValidArgsFunction: a.completeAliases,
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			addr, err := normal(args[0])
			if err != nil {
				return err
			}
			if len(args) > 1 {
				return c.removeTargets(ctx, a, addr, args[1:])
			}
			if _, err := c.directoryAdmin.DeleteAlias(ctx, &directoryv1.DeleteAliasRequest{Address: addr}); err != nil {
				return err
			}
			return a.done(map[string]string{"removed": addr}, "alias %s removed", addr)
		}),
	}
}

func (c *clients) removeTargets(ctx context.Context, a *app, addr string, gone []string) error {
	targets, err := c.aliasTargets(ctx, addr)
	if err != nil {
		return err
	}
	for _, arg := range gone {
		target, err := normal(arg)
		if err != nil {
			return err
		}
		i := slices.Index(targets, target)
		if i < 0 {
			return &notFoundError{what: "target " + target + " of alias", name: addr}
		}
		targets = slices.Delete(targets, i, i+1)
	}
	if len(targets) == 0 {
		if _, err := c.directoryAdmin.DeleteAlias(ctx, &directoryv1.DeleteAliasRequest{Address: addr}); err != nil {
			return err
		}
		return a.done(map[string]string{"removed": addr}, "alias %s removed: no target was left", addr)
	}
	_, err = c.directoryAdmin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: &directoryv1.Alias{Address: addr, Targets: targets}})
	if err != nil {
		return err
	}
	return a.done(aliasView{addr, targets}, "alias %s changed: leads to %s", addr, strings.Join(targets, ", "))
}
