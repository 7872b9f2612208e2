package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/services/yubin/internal/mbox"
	"github.com/yubin-mail/yubin/services/yubin/internal/transfer"
)

const importLong = `Bring mail into an account from an mbox file, a Maildir or another IMAP server, with flags and dates.

An import can be stopped at any time, with Ctrl-C too, and the same command goes on where it was: what was imported is recorded
in a file in ~/.local/state/yubin, or the one that --state names. To run it again later brings only what is new.
--restart forgets the record and imports everything again. Messages count towards the quota; a full account stops the import.`

// importFlags are common to all sources.
type importFlags struct {
	to, mailbox, state string
	restart            bool
}

func (f *importFlags) declare(a *app, cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.to, "to", "", "the account's address (required)")
	fs.StringVar(&f.mailbox, "mailbox", "", "put all messages into this mailbox (default: where they were, else INBOX)")
	fs.StringVar(&f.state, "state", "", "file that records what was imported (default: one in ~/.local/state/yubin)")
	fs.BoolVar(&f.restart, "restart", false, "forget the record and import everything again")
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeAccounts(-1)) // fails only if there is no such flag
}

// args checks the arguments of an import: one source, and an account.
func (f *importFlags) args() cobra.PositionalArgs {
	return checked(positional(1, 1), func(cmd *cobra.Command, _ []string) error {
		if f.to == "" {
			return usagef(cmd, "say with --to which account the mail is for")
		}
		return nil
	})
}

func newImport(a *app) *cobra.Command {
	return group("import", "Bring mail in from an mbox, a Maildir or another server", importLong,
		newImportMbox(a), newImportMaildir(a), newImportIMAP(a))
}

func newImportMbox(a *app) *cobra.Command {
	var (
		f      importFlags
		format string
	)
	cmd := &cobra.Command{
		Use:   "mbox FILE --to ADDRESS",
		Short: "Import an mbox file",
		Long:  importLong,
		Example: `  yubin import mbox archive.mbox --to alice@example.com --mailbox Archive
  yubin import mbox /var/mail/alice --to alice@example.com`,
		Args: f.args(),
	}
	cmd.RunE = a.importFrom(&f, func(_ context.Context, cmd *cobra.Command, args []string) (transfer.Source, error) {
		switch format {
		case "mboxrd":
			return transfer.OpenMbox(args[0], mbox.RD)
		case "mboxo":
			return transfer.OpenMbox(args[0], mbox.O)
		}
		return nil, usagef(cmd, "--format %q: must be mboxrd or mboxo", format)
	})
	f.declare(a, cmd)
	cmd.Flags().StringVar(&format, "format", "mboxrd", `how lines that begin with "From " are escaped: mboxrd or mboxo`)
	return cmd
}

func newImportMaildir(a *app) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "maildir DIR --to ADDRESS",
		Short: "Import a Maildir with its subfolders",
		Long:  importLong,
		Example: `  yubin import maildir ~/Maildir --to alice@example.com
  yubin import maildir old/Maildir --to alice@example.com --mailbox "Old mail"`,
		Args: f.args(),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.RunE = a.importFrom(&f, func(_ context.Context, _ *cobra.Command, args []string) (transfer.Source, error) {
		return transfer.OpenMaildir(args[0])
	})
	f.declare(a, cmd)
	return cmd
}

func newImportIMAP(a *app) *cobra.Command {
	var (
		f                               importFlags
		user                            string
		mailboxes                       []string
		stdin, starttls, implicit, weak bool
		noVerify                        bool
	)
	cmd := &cobra.Command{
		Use:   "imap HOST[:PORT] --user USER --to ADDRESS",
		Short: "Import from another IMAP server",
		Long: importLong + `

All mailboxes are imported with flags, dates and special uses, apart from those that only show other mailboxes' messages
(\All and \Flagged). The other server is only read. The connection is encrypted, unless --insecure says otherwise: port 993
by default, or 143 with --starttls.`,
		Example: `  yubin import imap imap.example.net --user alice --to alice@example.com
  yubin import imap mail.old.example:143 --starttls --user alice --from-mailbox INBOX --to alice@example.com --password-stdin < secret`,
		Args: checked(f.args(), func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return usagef(cmd, "say with --user who logs in")
			}
			return nil
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = a.importFrom(&f, func(ctx context.Context, cmd *cobra.Command, args []string) (transfer.Source, error) {
		security, port := transfer.ImplicitTLS, "993"
		switch {
		case starttls:
			security, port = transfer.StartTLS, "143"
		case weak:
			security, port = transfer.Plain, "143"
		}
		address := args[0]
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), port)
		}
		password, err := a.remotePassword(cmd, stdin, user, address)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: noVerify} //nolint:gosec // asked for with --no-verify
		return transfer.OpenIMAP(ctx, transfer.IMAPOptions{Address: address, User: user, Password: password, Security: security, TLS: config, Mailboxes: mailboxes})
	})
	f.declare(a, cmd)
	fs := cmd.Flags()
	fs.StringVar(&user, "user", "", "who logs in on the other server (required)")
	fs.BoolVar(&stdin, "password-stdin", false, "read that password from the first line of standard input")
	fs.StringSliceVar(&mailboxes, "from-mailbox", nil, "only these mailboxes of the other server")
	fs.BoolVar(&implicit, "tls", false, "TLS from the start (the default)")
	fs.BoolVar(&starttls, "starttls", false, "begin TLS with STARTTLS")
	fs.BoolVar(&weak, "insecure", false, "no encryption: the password can be read on the way")
	fs.BoolVar(&noVerify, "no-verify", false, "accept any certificate")
	cmd.MarkFlagsMutuallyExclusive("tls", "starttls", "insecure")
	cmd.MarkFlagsMutuallyExclusive("insecure", "no-verify")
	return cmd
}

func (a *app) remotePassword(cmd *cobra.Command, stdin bool, user, address string) (string, error) {
	switch {
	case stdin:
		return a.firstLine()
	case a.interactive():
		return a.hidden(cmd.Context(), "Password of "+user+" at "+address)
	}
	return "", usagef(cmd, "there is no terminal to ask for the password: give --password-stdin")
}

// importFrom runs an import from the source that open gives.
func (a *app) importFrom(f *importFlags, open func(context.Context, *cobra.Command, []string) (transfer.Source, error)) func(*cobra.Command, []string) error {
	return a.local(func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		acc, err := c.account(ctx, f.to)
		if err != nil {
			return err
		}
		source, err := open(ctx, cmd, args)
		if err != nil {
			return err
		}
		defer func() { _ = source.Close() }() // it is only read
		state, err := f.openState(source.ID(), acc.GetAccountId())
		if err != nil {
			return err
		}
		run := &transfer.Import{Storage: c.storage, AccountID: acc.GetAccountId(), Source: source, State: state, Mailbox: f.mailbox, Progress: a.newProgress("imported")}
		result, err := run.Run(ctx)
		err = errors.Join(err, state.Close())
		return a.imported(acc.GetAddress(), result, err)
	})
}

func (f *importFlags) openState(source, account string) (*transfer.State, error) {
	path, salt := f.state, ""
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil && os.Getenv("XDG_STATE_HOME") == "" {
			return nil, &hintError{err: fmt.Errorf("find a place for the record: %w", err), hint: "Name a file with --state."}
		}
		path = transfer.StatePath(home, os.Getenv("XDG_STATE_HOME"), source, account, f.mailbox)
	}
	if f.restart {
		if err := transfer.RemoveState(path); err != nil {
			return nil, err
		}
		salt = rand.Text()
	}
	return transfer.OpenState(path, source, account, salt)
}

// imported prints the summary of an import, also of one that failed.
func (a *app) imported(address string, result transfer.ImportResult, err error) error {
	for _, s := range result.Skipped {
		a.note("left out: %s: %s", s.Key, s.Reason)
	}
	summary := struct {
		Address string `json:"address"`
		transfer.ImportResult
		Complete bool `json:"complete"`
	}{address, result, err == nil && len(result.Skipped) == 0}
	before := ""
	if result.Before > 0 {
		before = fmt.Sprintf(", %d were there before", result.Before)
	}
	printErr := a.done(summary, "%s (%s) imported into %s%s", countMessages(uint64(result.Messages)), humanBytes(result.Bytes), address, before)
	switch {
	case errors.Is(err, transfer.ErrFull):
		return &hintError{err: err, hint: fmt.Sprintf("\"yubin quota set %s SIZE\" makes room. Run the same command again to go on.", address)}
	case err != nil:
		return &hintError{err: err, hint: "Run the same command again to go on."}
	case len(result.Skipped) > 0:
		return fmt.Errorf("%s left out", countMessages(uint64(len(result.Skipped))))
	}
	return printErr
}
