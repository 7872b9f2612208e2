package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/apply"
)

type accountView struct {
	AccountID          string     `json:"account_id"`
	Address            string     `json:"address"`
	Domain             string     `json:"domain"`
	DisplayName        string     `json:"display_name"`
	Disabled           bool       `json:"disabled"`
	PopDelete          string     `json:"pop_delete"`
	EffectivePopDelete string     `json:"effective_pop_delete"`
	Created            string     `json:"created"`
	Password           string     `json:"password,omitempty"`
	Usage              *usageView `json:"usage,omitempty"`
	Aliases            []string   `json:"aliases,omitempty"`
}

func viewAccount(acc *directoryv1.Account) accountView {
	return accountView{
		AccountID: acc.GetAccountId(), Address: acc.GetAddress(), Domain: acc.GetDomain(), DisplayName: acc.GetDisplayName(),
		Disabled: acc.GetDisabled(), PopDelete: apply.PopDeleteName(acc.GetPopDelete()),
		EffectivePopDelete: apply.PopDeleteName(acc.GetEffectivePopDelete()), Created: timestamp(acc.GetCreatedUnix()),
	}
}

func newAccount(a *app) *cobra.Command {
	return group("account", "Accounts: who has a mailbox", "Accounts: who has a mailbox and may log in.",
		newAccountAdd(a), newAccountList(a), newAccountShow(a), newAccountSet(a), newAccountRemove(a))
}

func newAccountAdd(a *app) *cobra.Command {
	var (
		password    passwordSource
		displayName string
		popDelete   popDeleteFlag
		disable     bool
		id          string
	)
	cmd := &cobra.Command{
		Use:   "add ADDRESS",
		Short: "Add an account",
		Long:  "Add an account. Its domain must exist. The password is asked for on the terminal unless a flag says where it comes from.",
		Example: `  yubin account add alice@example.com --display-name "Alice Example"
  yubin account add bob@example.com --generate
  pass show mail/carol | yubin account add carol@example.com --password-stdin`,
		Args:              positional(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		secret, err := password.read(a, cmd, "Password for "+args[0])
		if err != nil {
			return err
		}
		resp, err := c.directoryAdmin.CreateAccount(ctx, &directoryv1.CreateAccountRequest{
			Address: args[0], DisplayName: displayName, Password: secret, PopDelete: popDelete.policy, Disabled: disable, AccountId: id,
		})
		if fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) {
			return &hintError{err: err, hint: `"yubin domain add" adds a domain.`}
		}
		if err != nil {
			return err
		}
		view := viewAccount(resp.GetAccount())
		if !password.generate {
			return a.done(view, "account %s added", view.Address)
		}
		view.Password = secret
		return a.done(view, "account %s added, password: %s", view.Address, secret)
	})
	fs := cmd.Flags()
	fs.SortFlags = false
	password.declare(cmd, true)
	fs.StringVar(&displayName, "display-name", "", "the person's name")
	fs.Var(&popDelete, "pop-delete", popDeleteUsage)
	fs.BoolVar(&disable, "disable", false, "refuse its mail and logins for now")
	fs.StringVar(&id, "id", "", "the id it had in a directory that was lost, as \"yubin storage rebuild\" tells: so it has its mail again")
	return cmd
}

func newAccountList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list [DOMAIN]",
		Aliases:           []string{"ls"},
		Short:             "List the accounts, all or those of a domain",
		Example:           "  yubin account list example.com",
		Args:              positional(0, 1),
		ValidArgsFunction: a.completeDomain(),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			var views []accountView
			for acc, err := range c.accounts(ctx, strings.Join(args, "")) {
				if err != nil {
					return err
				}
				views = append(views, viewAccount(acc))
			}
			return list(a, views, []column{left("ADDRESS"), left("NAME"), left("STATE"), left("POP3 DELE"), left("CREATED")},
				func(v accountView) []string {
					return []string{v.Address, orDash(v.DisplayName), state(v.Disabled), v.EffectivePopDelete, v.Created}
				})
		}),
	}
}

func newAccountShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "show ADDRESS",
		Short:             "Show an account, its usage and its aliases",
		Example:           "  yubin account show alice@example.com",
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			acc, err := c.account(ctx, args[0])
			if err != nil {
				return err
			}
			usage, err := c.quota.GetUsage(ctx, &quotav1.GetUsageRequest{AccountId: acc.GetAccountId()})
			if err != nil {
				return err
			}
			view := viewAccount(acc)
			u := viewUsage(acc.GetAddress(), usage.GetUsage())
			view.Usage = &u
			if view.Aliases, err = c.aliasesTo(ctx, acc.GetAddress()); err != nil {
				return err
			}
			policy := view.PopDelete
			if policy != view.EffectivePopDelete {
				policy += " (" + view.EffectivePopDelete + ")"
			}
			return a.details(view,
				[2]string{"Address", view.Address},
				[2]string{"Name", orDash(view.DisplayName)},
				[2]string{"State", state(view.Disabled)},
				[2]string{"POP3 DELE", policy},
				[2]string{"Used", fmt.Sprintf("%s of %s, %s", humanBytes(u.UsedBytes), limitText(u.LimitBytes, true), countMessages(uint64(u.UsedMessages)))},
				[2]string{"Aliases", orDash(strings.Join(view.Aliases, ", "))},
				[2]string{"Created", humanTime(acc.GetCreatedUnix())},
				[2]string{"Account id", view.AccountID},
			)
		}),
	}
}

func newAccountSet(a *app) *cobra.Command {
	var (
		displayName     string
		popDelete       popDeleteFlag
		disable, enable bool
	)
	cmd := &cobra.Command{
		Use:   "set ADDRESS",
		Short: "Change an account's settings",
		Long:  `Change an account's settings. What is not given stays as it is. For the password see "yubin password set", for limits "yubin quota set".`,
		Example: `  yubin account set alice@example.com --pop-delete keep
  yubin account set bob@example.com --disable`,
		Args: checked(positional(1, 1), func(cmd *cobra.Command, _ []string) error {
			if !anyChanged(cmd, "display-name", "pop-delete", "disable", "enable") {
				return usagef(cmd, "nothing to change: give --display-name, --pop-delete, --disable or --enable")
			}
			return nil
		}),
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		req := &directoryv1.UpdateAccountRequest{Address: args[0]}
		if cmd.Flags().Changed("display-name") {
			req.DisplayName = &displayName
		}
		if cmd.Flags().Changed("pop-delete") {
			req.PopDelete = &popDelete.policy
		}
		if disable || enable {
			req.Disabled = &disable
		}
		resp, err := c.directoryAdmin.UpdateAccount(ctx, req)
		if err != nil {
			return err
		}
		return a.done(viewAccount(resp.GetAccount()), "account %s changed", resp.GetAccount().GetAddress())
	})
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&displayName, "display-name", "", "the person's name")
	fs.Var(&popDelete, "pop-delete", popDeleteUsage)
	fs.BoolVar(&disable, "disable", false, "refuse its mail and logins")
	fs.BoolVar(&enable, "enable", false, "take it into use again")
	cmd.MarkFlagsMutuallyExclusive("disable", "enable")
	return cmd
}

func newAccountRemove(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "remove ADDRESS",
		Aliases: []string{"rm"},
		Short:   "Remove an account and all its mail",
		Long: `Remove an account and all its mail, for good: "yubin export" first if in doubt.
If it is interrupted, the account is disabled and the same command finishes the work.`,
		Example:           "  yubin account remove alice@example.com --yes",
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		acc, err := c.account(ctx, args[0])
		if err != nil {
			return err
		}
		if !yes {
			if err := a.confirm(ctx, fmt.Sprintf("Remove %s and all its mail for good?", acc.GetAddress())); err != nil {
				return err
			}
		}
		messages, err := c.removeAccount(ctx, a, acc)
		if err != nil {
			return &hintError{err: err, hint: "The account is not removed yet. Run the same command again to finish."}
		}
		err = a.done(map[string]any{"removed": acc.GetAddress(), "account_id": acc.GetAccountId(), "messages": messages},
			"account %s removed, with %s", acc.GetAddress(), countMessages(messages))
		if aliases, listErr := c.aliasesTo(ctx, acc.GetAddress()); listErr == nil && len(aliases) > 0 {
			a.note("Still leading to it: %s", strings.Join(aliases, ", "))
		}
		return err
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// removeAccount goes in an order that can be repeated after a failure at any point: nothing new comes in, then mail and
// ledger go, and the account itself, by which they are found, goes last.
func (c *clients) removeAccount(ctx context.Context, a *app, acc *directoryv1.Account) (messages uint64, err error) {
	disabled := true
	_, err = c.directoryAdmin.UpdateAccount(ctx, &directoryv1.UpdateAccountRequest{Address: acc.GetAddress(), Disabled: &disabled})
	if err != nil {
		return 0, fmt.Errorf("disable account: %w", err)
	}
	long, cancel := a.patient(ctx)
	defer cancel()
	purged, err := c.storageAdmin.PurgeAccount(long, &storagev1.PurgeAccountRequest{AccountId: acc.GetAccountId()})
	if err != nil {
		return 0, fmt.Errorf("purge mail: %w", err)
	}
	if _, err := c.quotaAdmin.ForgetAccount(ctx, &quotav1.ForgetAccountRequest{AccountId: acc.GetAccountId()}); err != nil {
		return 0, fmt.Errorf("forget usage: %w", err)
	}
	_, err = c.directoryAdmin.DeleteAccount(ctx, &directoryv1.DeleteAccountRequest{Address: acc.GetAddress()})
	if err != nil && !isNotFound(err) {
		return 0, fmt.Errorf("delete account: %w", err)
	}
	return purged.GetMessages(), nil
}

// account finds an account by address.
func (c *clients) account(ctx context.Context, addr string) (*directoryv1.Account, error) {
	resp, err := c.directory.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: addr}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return resp.GetAccount(), nil
}

// accounts gives all accounts, or those of a domain, in order of address.
func (c *clients) accounts(ctx context.Context, domain string) iter.Seq2[*directoryv1.Account, error] {
	return func(yield func(*directoryv1.Account, error) bool) {
		req := &directoryv1.ListAccountsRequest{Domain: domain}
		for {
			resp, err := c.directoryAdmin.ListAccounts(ctx, req)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, acc := range resp.GetAccounts() {
				if !yield(acc, nil) {
					return
				}
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				return
			}
		}
	}
}

// aliasesTo gives the aliases that name an address as a target.
func (c *clients) aliasesTo(ctx context.Context, addr string) ([]string, error) {
	resp, err := c.directoryAdmin.ListAliases(ctx, &directoryv1.ListAliasesRequest{})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, alias := range resp.GetAliases() {
		if slices.Contains(alias.GetTargets(), addr) {
			out = append(out, alias.GetAddress())
		}
	}
	return out, nil
}

func isNotFound(err error) bool {
	if missing := (*notFoundError)(nil); errors.As(err, &missing) {
		return true
	}
	return fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
}

// confirm asks a question that only "y" or "yes" answers with yes.
func (a *app) confirm(ctx context.Context, question string) error {
	if !a.interactive() {
		return &hintError{err: errors.New("not confirmed: there is no terminal to ask on"), hint: "Give --yes if you are sure."}
	}
	fmt.Fprintf(a.errOut, "%s [y/N] ", question)
	answer, err := interruptible(ctx, func() (string, error) { return bufio.NewReader(a.in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed: nothing was changed")
}

// normal gives an address as the directory writes it.
func normal(addr string) (string, error) {
	parsed, err := address.Parse(addr)
	if err != nil {
		return "", fmt.Errorf("%q: %w", addr, err)
	}
	return parsed.String(), nil
}
