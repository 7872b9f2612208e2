package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// completionTimeout bounds how long a shell's Tab waits.
const completionTimeout = 2 * time.Second

// maxCompletions bounds what a shell is offered.
const maxCompletions = 1000

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers what a running system has, for the first n arguments (n < 0: all). Without a system it offers nothing.
func (a *app) complete(n int, offer func(ctx context.Context, c *clients, prefix string) []string) completer {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completionTimeout)
		defer cancel()
		return offer(ctx, c, strings.ToLower(prefix)), cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeDomain() completer { return a.complete(1, offerDomains) }

func offerDomains(ctx context.Context, c *clients, prefix string) (out []string) {
	resp, err := c.directoryAdmin.ListDomains(ctx, &directoryv1.ListDomainsRequest{})
	if err != nil {
		return nil
	}
	for _, d := range resp.GetDomains() {
		if strings.HasPrefix(d.GetName(), prefix) {
			out = append(out, d.GetName())
		}
	}
	return out
}

func (a *app) completeAccounts(n int) completer { return a.complete(n, offerAccounts) }

func offerAccounts(ctx context.Context, c *clients, prefix string) (out []string) {
	for acc, err := range c.accounts(ctx, "") {
		if err != nil || len(out) == maxCompletions {
			return out
		}
		if strings.HasPrefix(acc.GetAddress(), prefix) {
			out = append(out, acc.GetAddress())
		}
	}
	return out
}

// completeAliases offers aliases, and then the targets of the one that was chosen.
func (a *app) completeAliases(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.complete(-1, func(ctx context.Context, c *clients, prefix string) (out []string) {
		resp, err := c.directoryAdmin.ListAliases(ctx, &directoryv1.ListAliasesRequest{})
		if err != nil {
			return nil
		}
		for _, alias := range resp.GetAliases() {
			switch {
			case len(args) == 0 && strings.HasPrefix(alias.GetAddress(), prefix):
				out = append(out, alias.GetAddress())
			case len(args) > 0 && alias.GetAddress() == args[0]:
				return alias.GetTargets()
			}
		}
		return out
	})(cmd, args, prefix)
}
