package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/address"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/apply"
)

type domainView struct {
	Name       string   `json:"name"`
	CatchAll   []string `json:"catch_all"`
	PopDelete  string   `json:"pop_delete"`
	Subaddress bool     `json:"subaddress"`
	Disabled   bool     `json:"disabled"`
}

func viewDomain(d *directoryv1.Domain) domainView {
	return domainView{
		Name: d.GetName(), CatchAll: append([]string{}, d.GetCatchAll()...), PopDelete: apply.PopDeleteName(d.GetPopDelete()),
		Subaddress: !d.GetNoSubaddress(), Disabled: d.GetDisabled(),
	}
}

// domainFlags are the settings of a domain; only those that were given count.
type domainFlags struct {
	catchAll   []string
	popDelete  popDeleteFlag
	subaddress bool
	disable    bool
	enable     bool
	fs         *pflag.FlagSet
}

func (f *domainFlags) declare(cmd *cobra.Command) {
	f.fs = cmd.Flags()
	f.fs.SortFlags = false
	f.fs.StringSliceVar(&f.catchAll, "catch-all", nil, `addresses that take mail to unknown addresses of the domain; "" for none: it is refused`)
	f.fs.Var(&f.popDelete, "pop-delete", popDeleteUsage+"; for accounts that say nothing")
	f.fs.BoolVar(&f.subaddress, "subaddress", true, "deliver user+tag@ to user@; --subaddress=false turns it off")
	f.fs.BoolVar(&f.disable, "disable", false, "refuse mail and logins of the whole domain")
	f.fs.BoolVar(&f.enable, "enable", false, "take a disabled domain into use again")
	cmd.MarkFlagsMutuallyExclusive("disable", "enable")
}

func (f *domainFlags) apply(d *directoryv1.Domain) {
	if f.fs.Changed("catch-all") {
		d.CatchAll = slices.DeleteFunc(f.catchAll, func(s string) bool { return s == "" })
	}
	if f.fs.Changed("pop-delete") {
		d.PopDelete = f.popDelete.policy
	}
	if f.fs.Changed("subaddress") {
		d.NoSubaddress = !f.subaddress
	}
	if f.disable || f.enable {
		d.Disabled = f.disable
	}
}

func newDomain(a *app) *cobra.Command {
	return group("domain", "Domains whose mail is taken", "Domains whose mail is taken, and the defaults of their accounts.",
		newDomainAdd(a), newDomainList(a), newDomainSet(a), newDomainRemove(a))
}

func newDomainAdd(a *app) *cobra.Command {
	var f domainFlags
	cmd := &cobra.Command{
		Use:   "add DOMAIN",
		Short: "Add a domain",
		Example: `  yubin domain add example.com
  yubin domain add example.com --catch-all postmaster@example.com --pop-delete keep`,
		Args:              positional(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			_, err := c.domain(ctx, args[0])
			if err == nil {
				return &hintError{err: fmt.Errorf("the domain %s exists already", args[0]), hint: `"yubin domain set" changes it.`}
			}
			if !isNotFound(err) {
				return err
			}
			d := &directoryv1.Domain{Name: args[0]}
			f.apply(d)
			resp, err := c.directoryAdmin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: d})
			if err != nil {
				return err
			}
			return a.done(viewDomain(resp.GetDomain()), "domain %s added", resp.GetDomain().GetName())
		}),
	}
	f.declare(cmd)
	return cmd
}

func newDomainList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the domains",
		Example: "  yubin domain list --json",
		Args:    positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			resp, err := c.directoryAdmin.ListDomains(ctx, &directoryv1.ListDomainsRequest{})
			if err != nil {
				return err
			}
			var views []domainView
			for _, d := range resp.GetDomains() {
				views = append(views, viewDomain(d))
			}
			return list(a, views, []column{left("DOMAIN"), left("STATE"), left("POP3 DELE"), left("SUBADDRESS"), left("CATCH-ALL")},
				func(d domainView) []string {
					return []string{d.Name, state(d.Disabled), d.PopDelete, onOff(d.Subaddress), orDash(strings.Join(d.CatchAll, ", "))}
				})
		}),
	}
}

func newDomainSet(a *app) *cobra.Command {
	var f domainFlags
	cmd := &cobra.Command{
		Use:   "set DOMAIN",
		Short: "Change a domain's settings",
		Long:  "Change a domain's settings. What is not given stays as it is.",
		Example: `  yubin domain set example.com --pop-delete trash
  yubin domain set example.com --catch-all "" --subaddress=false`,
		Args: checked(positional(1, 1), func(cmd *cobra.Command, _ []string) error {
			if !anyChanged(cmd, "catch-all", "pop-delete", "subaddress", "disable", "enable") {
				return usagef(cmd, "nothing to change: give --catch-all, --pop-delete, --subaddress, --disable or --enable")
			}
			return nil
		}),
		ValidArgsFunction: a.completeDomain(),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		d, err := c.domain(ctx, args[0])
		if err != nil {
			return err
		}
		f.apply(d)
		resp, err := c.directoryAdmin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: d})
		if err != nil {
			return err
		}
		return a.done(viewDomain(resp.GetDomain()), "domain %s changed", resp.GetDomain().GetName())
	})
	f.declare(cmd)
	return cmd
}

func newDomainRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "remove DOMAIN",
		Aliases:           []string{"rm"},
		Short:             "Remove a domain that has no accounts and aliases left",
		Example:           "  yubin domain remove example.com",
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeDomain(),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			if _, err := c.directoryAdmin.DeleteDomain(ctx, &directoryv1.DeleteDomainRequest{Name: args[0]}); err != nil {
				return err
			}
			return a.done(map[string]string{"removed": args[0]}, "domain %s removed", args[0])
		}),
	}
}

// domain finds a domain.
func (c *clients) domain(ctx context.Context, name string) (*directoryv1.Domain, error) {
	ascii, err := address.ParseDomain(name)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	resp, err := c.directoryAdmin.ListDomains(ctx, &directoryv1.ListDomainsRequest{})
	if err != nil {
		return nil, err
	}
	for _, d := range resp.GetDomains() {
		if d.GetName() == ascii {
			return d, nil
		}
	}
	return nil, &notFoundError{what: "domain", name: name}
}

// notFoundError is what this program did not find in a list.
type notFoundError struct{ what, name string }

func (e *notFoundError) Error() string { return fmt.Sprintf("there is no %s %s", e.what, e.name) }

func state(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "active"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func anyChanged(cmd *cobra.Command, flags ...string) bool {
	return slices.ContainsFunc(flags, cmd.Flags().Changed)
}
