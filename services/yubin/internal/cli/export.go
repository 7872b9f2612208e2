package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/services/yubin/internal/transfer"
)

const exportLong = `Write an account's mail into a Maildir, or into one mbox file if the name ends in .mbox. The account is not changed.

A Maildir (Maildir++) has a folder for each mailbox and holds each message octet by octet, with flags and dates. If it is
interrupted, the same command goes on where it was, and later it adds what is new.
An mbox (mboxrd, LF line ends) holds all mailboxes one after the other; "yubin import mbox" puts them apart again.`

func newExport(a *app) *cobra.Command {
	var (
		to, format string
		mailboxes  []string
	)
	cmd := &cobra.Command{
		Use:   "export ADDRESS --to DIR|FILE.mbox",
		Short: "Write an account's mail into a Maildir or an mbox file",
		Long:  exportLong,
		Example: `  yubin export alice@example.com --to backup/alice
  yubin export alice@example.com --to inbox.mbox --mailbox INBOX`,
		Args: checked(positional(1, 1), func(cmd *cobra.Command, _ []string) error {
			switch {
			case to == "":
				return usagef(cmd, "say with --to where the mail goes")
			case format != "" && format != "mbox" && format != "maildir":
				return usagef(cmd, "--format %q: must be maildir or mbox", format)
			}
			return nil
		}),
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		asMbox := format == "mbox" || format == "" && strings.HasSuffix(to, ".mbox") && !isDir(to)
		acc, err := c.account(ctx, args[0])
		if err != nil {
			return err
		}
		open := transfer.NewMaildirSink
		if asMbox {
			open = transfer.NewMboxSink
		}
		sink, err := open(to)
		if err != nil {
			return err
		}
		run := &transfer.Export{Storage: c.storage, AccountID: acc.GetAccountId(), Sink: sink, Mailboxes: mailboxes, Progress: a.newProgress("exported")}
		result, err := run.Run(ctx)
		if err != nil {
			hint := "Run the same command again to go on."
			if asMbox {
				hint = "No file was made."
			}
			return &hintError{err: err, hint: hint}
		}
		summary := struct {
			Address string `json:"address"`
			transfer.ExportResult
		}{acc.GetAddress(), result}
		before := ""
		if result.Before > 0 {
			before = fmt.Sprintf(", %d were there before", result.Before)
		}
		return a.done(summary, "%s (%s) exported to %s%s", countMessages(uint64(result.Messages)), humanBytes(result.Bytes), to, before)
	})
	cmd.Flags().StringVar(&to, "to", "", "directory, or file whose name ends in .mbox (required)")
	cmd.Flags().StringSliceVar(&mailboxes, "mailbox", nil, "only these mailboxes")
	cmd.Flags().StringVar(&format, "format", "", "maildir or mbox (default: by the name)")
	return cmd
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
