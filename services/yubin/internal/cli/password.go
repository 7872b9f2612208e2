package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

func newPassword(a *app) *cobra.Command {
	return group("password", "Passwords and app passwords", "Passwords of accounts, and app passwords for single programs.",
		newPasswordSet(a),
		group("app", "App passwords: one for each program", "App passwords: random ones for single programs, that can be taken back one by one.",
			newAppPasswordAdd(a), newAppPasswordList(a), newAppPasswordRemove(a)))
}

func newPasswordSet(a *app) *cobra.Command {
	var password passwordSource
	cmd := &cobra.Command{
		Use:   "set ADDRESS",
		Short: "Set an account's password",
		Example: `  yubin password set alice@example.com
  yubin password set alice@example.com --generate
  printf '%s\n' "$SECRET" | yubin password set alice@example.com --password-stdin`,
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		secret, err := password.read(a, cmd, "New password for "+args[0])
		if err != nil {
			return err
		}
		if _, err := c.directoryAdmin.SetPassword(ctx, &directoryv1.SetPasswordRequest{Address: args[0], Password: secret}); err != nil {
			return err
		}
		if password.generate {
			return a.done(map[string]string{"address": args[0], "password": secret}, "password of %s: %s", args[0], secret)
		}
		return a.done(map[string]string{"address": args[0]}, "password of %s set", args[0])
	})
	password.declare(cmd, false)
	return cmd
}

type appPasswordView struct {
	ID        string   `json:"id"`
	Label     string   `json:"label"`
	Protocols []string `json:"protocols"`
	Created   string   `json:"created"`
	LastUsed  string   `json:"last_used,omitempty"`
	Password  string   `json:"password,omitempty"`
}

func viewAppPassword(p *directoryv1.AppPassword) appPasswordView {
	return appPasswordView{
		ID: p.GetId(), Label: p.GetLabel(), Protocols: append([]string{}, p.GetProtocols()...),
		Created: timestamp(p.GetCreatedUnix()), LastUsed: timestamp(p.GetLastUsedUnix()),
	}
}

func newAppPasswordAdd(a *app) *cobra.Command {
	var (
		label     string
		protocols []string
	)
	cmd := &cobra.Command{
		Use:               "add ADDRESS --label LABEL",
		Short:             "Make an app password and print it, this once",
		Example:           `  yubin password app add alice@example.com --label "Alice's phone" --protocols imap,smtp`,
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		if label == "" {
			return usagef(cmd, "say with --label which program the password is for")
		}
		resp, err := c.directoryAdmin.CreateAppPassword(ctx, &directoryv1.CreateAppPasswordRequest{Address: args[0], Label: label, Protocols: protocols})
		if err != nil {
			return err
		}
		view := viewAppPassword(resp.GetAppPassword())
		view.Password = resp.GetPassword()
		return a.done(view, "app password %s of %s: %s", view.ID, args[0], view.Password)
	})
	cmd.Flags().StringVar(&label, "label", "", "the program or device it is for")
	cmd.Flags().StringSliceVar(&protocols, "protocols", nil, "only for these of smtp, pop3, imap (default: all)")
	return cmd
}

func newAppPasswordList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list ADDRESS",
		Aliases:           []string{"ls"},
		Short:             "List an account's app passwords",
		Example:           "  yubin password app list alice@example.com",
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			resp, err := c.directoryAdmin.ListAppPasswords(ctx, &directoryv1.ListAppPasswordsRequest{Address: args[0]})
			if err != nil {
				return err
			}
			var views []appPasswordView
			for _, p := range resp.GetAppPasswords() {
				views = append(views, viewAppPassword(p))
			}
			return list(a, views, []column{left("ID"), left("LABEL"), left("FOR"), left("CREATED"), left("LAST USED")},
				func(v appPasswordView) []string {
					protocols := strings.Join(v.Protocols, ", ")
					if protocols == "" {
						protocols = "all"
					}
					return []string{v.ID, v.Label, protocols, v.Created, orDash(v.LastUsed)}
				})
		}),
	}
}

func newAppPasswordRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "remove ADDRESS ID",
		Aliases:           []string{"rm"},
		Short:             "Take back an app password",
		Example:           "  yubin password app remove alice@example.com k3f9",
		Args:              positional(2, 2),
		ValidArgsFunction: a.completeAccounts(1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			_, err := c.directoryAdmin.DeleteAppPassword(ctx, &directoryv1.DeleteAppPasswordRequest{Address: args[0], Id: args[1]})
			if err != nil {
				return err
			}
			return a.done(map[string]string{"address": args[0], "removed": args[1]}, "app password %s of %s removed", args[1], args[0])
		}),
	}
}
