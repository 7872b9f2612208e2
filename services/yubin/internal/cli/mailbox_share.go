package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func newMailboxShare(a *app) *cobra.Command {
	return group("share", "Mailboxes that accounts share", `What others may do with an account's mailboxes (IMAP ACL, RFC 4314). Users set it themselves in mail programs that speak ACL; this is for the others,
and for when somebody is away. Who is given rights on a mailbox sees it below "Other Users".`,
		newMailboxShareList(a), newMailboxShareSet(a), newMailboxShareRemove(a))
}

// namedRights are rights under names that are easier to remember.
var namedRights = map[string]string{"read": "lr", "write": "lrswite", "all": "lrswipkxtea"}

type shareView struct {
	Mailbox string `json:"mailbox"`
	Grantee string `json:"grantee"`
	Rights  string `json:"rights"`
}

func newMailboxShareList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list ADDRESS [MAILBOX]",
		Aliases: []string{"ls"},
		Short:   "List who may do what with an account's mailboxes",
		Example: `  yubin mailbox share list alice@example.com
  yubin mailbox share list alice@example.com Projects`,
		Args:              positional(1, 2),
		ValidArgsFunction: a.completeMailboxes(),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			acc, err := c.account(ctx, args[0])
			if err != nil {
				return err
			}
			mailboxes := args[1:]
			if len(mailboxes) == 0 {
				resp, err := c.storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: acc.GetAccountId()})
				if err != nil {
					return err
				}
				for _, m := range resp.GetMailboxes() {
					if m.GetAccessModseq() > 0 {
						mailboxes = append(mailboxes, m.GetName())
					}
				}
			}
			var views []shareView
			addresses := map[string]string{}
			for _, name := range mailboxes {
				resp, err := c.storage.GetAcl(ctx, &storagev1.GetAclRequest{AccountId: acc.GetAccountId(), Mailbox: name})
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				for _, e := range resp.GetEntries() {
					shown, err := c.granteeName(ctx, addresses, e.GetGrantee())
					if err != nil {
						return err
					}
					views = append(views, shareView{name, shown, e.GetRights()})
				}
			}
			return list(a, views, []column{left("MAILBOX"), left("WHO"), left("RIGHTS")},
				func(v shareView) []string { return []string{v.Mailbox, v.Grantee, v.Rights} })
		}),
	}
}

func newMailboxShareSet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "set ADDRESS MAILBOX WHO RIGHTS",
		Short: "Say what somebody may do with a mailbox",
		Long: `Give an account, or with @DOMAIN all accounts of a domain, rights on a mailbox, in place of those that they had. Mailboxes that are made below it begin
with the same list; those that are there keep theirs.

RIGHTS are read, write, all, or letters (RFC 4314 section 2.1): l know of it, r read, s mark as seen, w change other flags, i add messages, k make
mailboxes below, x delete or rename it, t mark as deleted, e expunge, a change this list, p post. read is lr, write is lrswite.`,
		Example: `  yubin mailbox share set alice@example.com Projects bob@example.com write
  yubin mailbox share set info@example.com INBOX @example.com read
  yubin mailbox share set alice@example.com INBOX bob@example.com lrs`,
		Args:              positional(4, 4),
		ValidArgsFunction: a.completeMailboxes(),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			rights := args[3]
			if rights == "" {
				return errors.New(`no rights are given: "yubin mailbox share remove" takes all away`)
			}
			if named, ok := namedRights[strings.ToLower(rights)]; ok {
				rights = named
			}
			return c.setShare(ctx, a, args, rights, "%s may do %s with %s")
		}),
	}
}

func newMailboxShareRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "remove ADDRESS MAILBOX WHO",
		Aliases:           []string{"rm"},
		Short:             "Take all rights on a mailbox from somebody",
		Example:           "  yubin mailbox share remove alice@example.com Projects bob@example.com",
		Args:              positional(3, 3),
		ValidArgsFunction: a.completeMailboxes(),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			return c.setShare(ctx, a, args, "", "%s may do nothing%s with %s any more")
		}),
	}
}

// setShare sets the rights of a grantee; args are the address, the mailbox and the grantee. say takes the grantee, the rights and the mailbox.
func (c *clients) setShare(ctx context.Context, a *app, args []string, rights, say string) error {
	acc, err := c.account(ctx, args[0])
	if err != nil {
		return err
	}
	grantee, shown, err := c.grantee(ctx, args[2], rights == "")
	if err != nil {
		return err
	}
	if _, domain, _ := strings.Cut(acc.GetAddress(), "@"); rights != "" && !strings.HasSuffix(shown, "@"+domain) {
		return fmt.Errorf("%s: mailboxes of %s are shared within %s", shown, acc.GetAddress(), domain)
	}
	_, err = c.storage.SetAcl(ctx, &storagev1.SetAclRequest{
		AccountId: acc.GetAccountId(), Mailbox: args[1], Operation: storagev1.SetAclRequest_OPERATION_SET,
		Entry: &storagev1.AclEntry{Grantee: grantee, Rights: rights},
	})
	if err != nil {
		return err
	}
	return a.done(shareView{args[1], shown, rights}, say, shown, rights, args[1])
}

// grantee gives an account or a domain as lists have it, and as it is shown. What is gone can be named as it is listed: an account by its id.
func (c *clients) grantee(ctx context.Context, who string, gone bool) (id, shown string, err error) {
	if name, isDomain := strings.CutPrefix(who, "@"); isDomain {
		d, err := c.domain(ctx, name)
		if gone && isNotFound(err) {
			return who, who, nil
		}
		return "@" + d.GetName(), "@" + d.GetName(), err
	}
	if gone && !strings.Contains(who, "@") {
		return who, who, nil
	}
	acc, err := c.account(ctx, who)
	return acc.GetAccountId(), acc.GetAddress(), err
}

// granteeName gives the address of a grantee, or its id if there is no such account any more. known has those that were asked for.
func (c *clients) granteeName(ctx context.Context, known map[string]string, grantee string) (string, error) {
	if name, ok := known[grantee]; ok || strings.HasPrefix(grantee, "@") {
		if !ok {
			name = grantee
		}
		return name, nil
	}
	resp, err := c.directory.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_AccountId{AccountId: grantee}})
	switch {
	case err == nil:
		known[grantee] = resp.GetAccount().GetAddress()
	case isNotFound(err):
		known[grantee] = grantee
	default:
		return "", err
	}
	return known[grantee], nil
}

// completeMailboxes offers accounts, and then the mailboxes of the one that was chosen, and then accounts again, which may be given rights.
func (a *app) completeMailboxes() completer {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 3 && cmd.Name() == "set" {
			return []string{"read", "write", "all"}, cobra.ShellCompDirectiveNoFileComp
		}
		most := map[string]int{"list": 2}[cmd.Name()]
		if most == 0 {
			most = 3
		}
		return a.complete(most, func(ctx context.Context, c *clients, lower string) (out []string) {
			if len(args) != 1 {
				return offerAccounts(ctx, c, lower)
			}
			acc, err := c.account(ctx, args[0])
			if err != nil {
				return nil
			}
			resp, err := c.storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: acc.GetAccountId()})
			if err != nil {
				return nil
			}
			for _, m := range resp.GetMailboxes() {
				if strings.HasPrefix(strings.ToLower(m.GetName()), lower) {
					out = append(out, m.GetName())
				}
			}
			return out
		})(cmd, args, prefix)
	}
}
