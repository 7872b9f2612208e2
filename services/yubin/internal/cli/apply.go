package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/services/yubin/internal/apply"
)

const applyLong = `Bring the system to the state that a YAML file describes, and show what is changed. What the file does not name is left
alone, and so is a setting that it does not give; nothing is ever removed. To apply a file twice changes nothing the second time.

  limit:                          # default of all accounts
    size: 5GB                     # 500MB, 5GB, 5GiB; none; or default: leave it to the system's default
    messages: none                # a number, none or default
  domains:
    - name: example.com
      catch-all: [postmaster@example.com]   # where mail to unknown addresses goes; []: it is refused
      pop-delete: expunge         # what POP3 DELE does: expunge, trash, keep or default
      subaddress: true            # user+tag@ is user@
      disabled: false
      limit: {size: 10GB}         # default of the domain's accounts
  accounts:
    - address: alice@example.com
      display-name: Alice Example
      password: correct horse battery   # only used to create the account; see also "yubin password set"
      pop-delete: keep
      disabled: false
      limit: {size: 1GB, messages: 100000}
  aliases:
    - address: team@example.com
      targets: [alice@example.com, bob@example.com]

All mistakes are shown at once, each with its line, before anything is changed. In the plan + is created and ~ is changed.`

func newApply(a *app) *cobra.Command {
	var (
		file   string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make domains, accounts, aliases and limits as a file describes them",
		Long:  applyLong,
		Example: `  yubin apply -f accounts.yaml --dry-run
  yubin apply -f accounts.yaml
  generate-accounts | yubin apply -f -`,
		Args: positional(0, 0),
	}
	cmd.RunE = a.local(func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return usagef(cmd, "name the file with -f, or - for standard input")
		}
		desired, err := a.readDesired(file)
		if err != nil {
			return err
		}
		c, err := a.connect(cmd)
		if err != nil {
			return err
		}
		return a.apply(cmd.Context(), c, file, desired, dryRun)
	})
	cmd.Flags().StringVarP(&file, "file", "f", "", "the file, or - for standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be changed")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml") // fails only if there is no such flag
	return cmd
}

func (a *app) readDesired(file string) (*apply.File, error) {
	r := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	desired, err := apply.Parse(r)
	if err != nil {
		return nil, &fileError{file, err}
	}
	return desired, nil
}

// fileError is what is wrong in a file, a line for each mistake.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string {
	return e.file + ":\n  " + strings.ReplaceAll(e.err.Error(), "\n", "\n  ")
}
func (e *fileError) Unwrap() error { return e.err }

func (a *app) apply(ctx context.Context, c *clients, file string, desired *apply.File, dryRun bool) error {
	changes, err := apply.Plan(ctx, apply.Clients{Directory: c.directory, DirectoryAdmin: c.directoryAdmin, QuotaAdmin: c.quotaAdmin}, desired)
	if _, mistakes := err.(interface{ Unwrap() []error }); mistakes { // joined by Plan itself: nothing wraps them
		return &fileError{file, err}
	}
	if err != nil {
		return err
	}
	created := 0
	show := func(change apply.Change) error {
		if change.Action == "create" {
			created++
		}
		return a.done(change, "%s", change)
	}
	if dryRun {
		for _, change := range changes {
			if err := show(change); err != nil {
				return err
			}
		}
	} else if err := apply.Apply(ctx, changes, show); err != nil {
		return &hintError{err: err, hint: "What stands above is done. Run the same command again to go on."}
	}
	if a.json {
		return nil
	}
	text := fmt.Sprintf("%d created, %d changed", created, len(changes)-created)
	switch {
	case len(changes) == 0:
		text = "nothing to change"
	case dryRun:
		text = fmt.Sprintf("%d to create, %d to change; nothing was changed", created, len(changes)-created)
	}
	_, err = fmt.Fprintln(a.out, text)
	return err
}
