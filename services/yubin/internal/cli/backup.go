package cli

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/service"
	storage "github.com/yubin-mail/yubin/services/storage/server"
	"github.com/yubin-mail/yubin/services/yubin/internal/allinone"
	"github.com/yubin-mail/yubin/services/yubin/internal/backup"
)

const backupLong = `Copy the embedded stores of a data directory (--data-dir, ./data) into a folder, also while the system runs. What is in the
folder already from an earlier backup is not copied again. For PostgreSQL and S3 see docs/operations.md.`

func newBackup(a *app) *cobra.Command {
	var prune bool
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the embedded stores, also while the system runs",
		Long:  backupLong,
		Example: `  yubin backup /backup/yubin --data-dir /var/lib/yubin
  yubin backup /backup/yubin --prune`,
		Args: positional(1, 1),
		RunE: a.local(func(cmd *cobra.Command, args []string) error {
			o := backup.Options{Data: a.dataDir(), To: args[0], Prune: prune, Version: service.Version(), Progress: a.copyProgress()}
			r, err := backup.Run(cmd.Context(), o)
			if err != nil {
				return &hintError{err: err, hint: "The copy is not whole. Run the same command again to go on."}
			}
			missing, err := storage.MissingInCopy(cmd.Context(), filepath.Join(o.To, "storage"))
			if err != nil {
				return fmt.Errorf("check the copy: %w", err)
			}
			if len(missing) > 0 {
				return &hintError{
					err:  fmt.Errorf("the copy is not whole: %d objects that its database names were gone before they could be copied, such as %s", len(missing), missing[0]),
					hint: "Run the same command again: it has less to copy now. If that does not help, raise --storage-delete-grace; \"yubin storage verify\" tells whether they are missing in the original too.",
				}
			}
			if err := backup.Complete(o, r); err != nil {
				return err
			}
			return a.done(r, "backup of %s: %d objects (%s) copied, %d were there", humanTime(r.Taken.Unix()), r.Objects, humanBytes(r.Bytes), r.Kept)
		}),
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "remove bodies from the copy that are gone from the original")
	return cmd
}

const restoreLong = `Put a copy that "yubin backup" has made into a new data directory (--data-dir, ./data), while nothing runs on it.
Mail that came after the backup is lost. Unless --same-moment says that there was none, UIDs go on beyond those that mail
programs may have seen since, so that no message is taken for another one.`

func newRestore(a *app) *cobra.Command {
	var sameMoment bool
	cmd := &cobra.Command{
		Use:     "restore DIR",
		Short:   "Put a copy of the embedded stores back",
		Long:    restoreLong,
		Example: "  yubin restore /backup/yubin --data-dir /var/lib/yubin",
		Args:    positional(1, 1),
		RunE: a.local(func(cmd *cobra.Command, args []string) error {
			stores, err := allinone.EmbeddedStores(a.dataDir())
			if err != nil {
				return err
			}
			unlock, err := stores.Lock()
			if err != nil {
				return err
			}
			defer unlock()
			r, err := backup.Restore(cmd.Context(), args[0], stores.DataDir, a.copyProgress())
			if err != nil {
				return err
			}
			if !sameMoment {
				_, err := storage.AfterRestore(cmd.Context(), stores.Storage, storage.RebuildOptions{Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					return &hintError{err: err, hint: `Run "yubin storage after-restore" before you start the system.`}
				}
			}
			err = a.done(r, "restored what was there on %s: %d objects (%s)", humanTime(r.Taken.Unix()), r.Objects, humanBytes(r.Bytes))
			a.note(`Now start the system, then "yubin quota reconcile --repair" and "yubin storage verify".`)
			return err
		}),
	}
	cmd.Flags().BoolVar(&sameMoment, "same-moment", false, "the system was stopped before the backup and has not run since: leave the UIDs alone")
	return cmd
}

// dataDir is the data directory for work without a running system.
func (a *app) dataDir() string {
	if a.flags.dataDir != "" {
		return a.flags.dataDir
	}
	for _, entry := range a.environ {
		if name, value, _ := strings.Cut(entry, "="); name == config.EnvName("data-dir") && value != "" {
			return value
		}
	}
	return "data"
}

// copyProgress tells now and then how much was copied.
func (a *app) copyProgress() backup.Progress {
	last := time.Now()
	return func(objects int, bytes int64) {
		if now := time.Now(); now.Sub(last) >= lineInterval {
			last = now
			a.note("%d objects (%s) copied", objects, humanBytes(bytes))
		}
	}
}

const afterRestoreLong = `Make a restored database safe to use that is older than what mail programs have seen: UIDs go on beyond those that were
given out since, so that no message is taken for another one, and mail programs learn at their next look what is there;
nothing has to be fetched anew. What came into the object store since the database was copied is taken up: mail is in the mailbox
that it was delivered to, and bodies that were moved are found. Stop everything first, and run it before anything is started:
what no database knows is deleted when it is a day old. If it is interrupted, the same command goes on. Settings are those
of "yubin serve" and of the storage service.`

func newAfterRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                "after-restore [flags]",
		Short:              "Let UIDs go on beyond those that were given out, once an older database was restored",
		Long:               afterRestoreLong,
		Example:            "  yubin storage after-restore --config /etc/yubin/storage.yaml",
		DisableFlagParsing: true, // settings are read by the rules of the services
		RunE: a.offline(allinone.LoadStores, func(own *pflag.FlagSet) {
			own.BoolVar(&a.json, "json", false, "print the report as JSON")
		}, a.afterRestore),
	}
}

func (a *app) afterRestore(ctx context.Context, stores *allinone.Stores) error {
	r, err := storage.AfterRestore(ctx, stores.Storage, storage.RebuildOptions{Progress: a.rebuildProgress(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return &hintError{err: err, hint: "Run the same command again to go on."}
	}
	a.noteTrouble(r)
	return a.done(r, "UIDs go on beyond those that were given out; %s came after the database was copied, %d bodies had been moved",
		countMessages(uint64(r.Delivered)), r.Located)
}
