// Package cli is the operator's command line: one file for each noun.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/service"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the command line and gives the exit code: 0, 1 if it failed, 2 if it was called wrongly.
func Main(args []string) int {
	ctx, stop := lifecycle.SignalContext(context.Background())
	defer stop()
	a := &app{in: os.Stdin, out: os.Stdout, errOut: os.Stderr, environ: os.Environ()}
	return a.execute(ctx, args)
}

// app is what the commands share.
type app struct {
	in          io.Reader
	out, errOut io.Writer
	environ     []string

	flags   connectFlags
	json    bool
	timeout time.Duration

	dialled *clients // once connected, or from a test
	closers []io.Closer
	running bool // a command has been found and its arguments are right
}

func (a *app) execute(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	err := root.ExecuteContext(ctx)
	for _, c := range a.closers {
		_ = c.Close()
	}
	if err == nil {
		return exitOK
	}
	a.printError(ctx, err)
	if wrong := (*usageError)(nil); errors.As(err, &wrong) || !a.running {
		return exitUsage
	}
	return exitFailed
}

const rootLong = `Yubin is a mail system: SMTP, POP3 and IMAP over storage with quotas.

"yubin serve" runs all of it in one process. The other commands are for the operator, and work on a system that runs:
  * the all-in-one on this machine, found by its data directory: ./data, the folder data beside the program's folder,
    or what --data-dir says;
  * separate services, named by --directory-target, --quota-target and --storage-target, with a certificate of the
    service "admin" in --rpc-ca, --rpc-cert and --rpc-key.
These flags can also be set in the environment: YUBIN_DATA_DIR, YUBIN_DIRECTORY_TARGET, YUBIN_RPC_CA and so on.

Tables are for people. With --json a command that lists prints one JSON object a line (JSON Lines), and any other command
one JSON object; sizes are octets, times are RFC 3339. Errors go to standard error.
Exit status: 0 done, 1 failed, 2 called wrongly.`

const rootExample = `  yubin serve --demo
  yubin domain add example.com
  yubin account add alice@example.com --generate
  yubin quota set alice@example.com 5GB
  yubin quota show
  yubin apply -f accounts.yaml
  yubin import imap imap.example.net:993 --user alice --to alice@example.com`

// newRoot makes the command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "yubin",
		Short:         "A mail system, and its operator's command line",
		Long:          rootLong,
		Example:       rootExample,
		Version:       service.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("yubin {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd: cmd, err: err}
	})
	fs := root.PersistentFlags()
	fs.SortFlags = false
	a.flags.declare(fs)
	fs.BoolVar(&a.json, "json", false, "print JSON instead of tables")
	fs.DurationVar(&a.timeout, "timeout", rpc.DefaultTimeout, "longest wait for the answer to one call")
	root.AddCommand(
		newServe(),
		newDomain(a), newAccount(a), newPassword(a), newAlias(a), newQuota(a), newMailbox(a),
		newStorage(a), newBackup(a), newRestore(a), newApply(a), newImport(a), newExport(a), newCertificates(a), newCheck(a), newMigrate(a), newWait(a), newVersion(a),
	)
	return root
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  yubin version --json",
		Args:    positional(0, 0),
		RunE: a.local(func(*cobra.Command, []string) error {
			return a.done(map[string]string{"version": service.Version()}, "yubin %s", service.Version())
		}),
	}
}

// group makes a command that only has subcommands.
func group(use, short, long string, subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := fmt.Errorf("unknown command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err = fmt.Errorf("%w: did you mean %q?", err, near[0])
			}
			return &usageError{cmd: cmd, err: err}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(subcommands...)
	return cmd
}

// positional checks the number of arguments; most < 0 is any.
func positional(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef(cmd, "an argument is missing")
		case most >= 0 && len(args) > most:
			return usagef(cmd, "unexpected argument %q", args[most])
		}
		return nil
	}
}

// checked adds a check of flags and arguments to that of their number: it comes before anything else is looked at.
func checked(number cobra.PositionalArgs, check func(cmd *cobra.Command, args []string) error) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := number(cmd, args); err != nil {
			return err
		}
		return check(cmd, args)
	}
}

// local wraps what a command does without a running system.
func (a *app) local(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.running = true
		return run(cmd, args)
	}
}

// remote wraps what a command does with a running system.
func (a *app) remote(run func(ctx context.Context, c *clients, args []string) error) func(*cobra.Command, []string) error {
	return a.local(func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		return run(cmd.Context(), c, args)
	})
}
