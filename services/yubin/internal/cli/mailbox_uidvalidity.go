package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

type renewedView struct {
	Address     string `json:"address"`
	Mailbox     string `json:"mailbox"`
	UIDValidity uint32 `json:"uid_validity"`
}

func newMailboxRenew(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "renew-uidvalidity ADDRESS [MAILBOX]",
		Short: "Let mail programs fetch mailboxes anew",
		Long: `Give a mailbox, or all of an account or of everybody, a new UIDVALIDITY: mail programs forget what they know of it and fetch it anew.
It is for the time after a database was restored that is older than what they have seen, since UIDs are then given
a second time. POP3 programs that keep mail on the server download it again. No message is changed.`,
		Example: `  yubin mailbox renew-uidvalidity alice@example.com
  yubin mailbox renew-uidvalidity alice@example.com Sent
  yubin mailbox renew-uidvalidity --all`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return positional(0, 0)(cmd, args)
			}
			return positional(1, 2)(cmd, args)
		},
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		var views []renewedView
		renew := func(id, address, mailbox string) error {
			resp, err := c.storageAdmin.RenewUidValidity(ctx, &storagev1.RenewUidValidityRequest{AccountId: id, Mailbox: mailbox})
			for _, m := range resp.GetMailboxes() {
				views = append(views, renewedView{address, m.GetName(), m.GetUidValidity()})
			}
			if err != nil {
				return fmt.Errorf("%s: %w", address, err)
			}
			return nil
		}
		if all {
			for acc, err := range c.accounts(ctx, "") {
				if err == nil {
					err = renew(acc.GetAccountId(), acc.GetAddress(), "")
				}
				if err != nil {
					return err
				}
			}
		} else {
			acc, err := c.account(ctx, args[0])
			if err != nil {
				return err
			}
			mailbox := ""
			if len(args) == 2 {
				mailbox = args[1]
			}
			if err := renew(acc.GetAccountId(), acc.GetAddress(), mailbox); err != nil {
				return err
			}
		}
		return list(a, views, []column{left("ADDRESS"), left("MAILBOX"), right("UIDVALIDITY")},
			func(v renewedView) []string { return []string{v.Address, v.Mailbox, fmt.Sprint(v.UIDValidity)} })
	})
	cmd.Flags().BoolVar(&all, "all", false, "all mailboxes of all accounts")
	return cmd
}
