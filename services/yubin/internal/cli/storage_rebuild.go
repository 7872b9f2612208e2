package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	storage "github.com/yubin-mail/yubin/services/storage/server"
	"github.com/yubin-mail/yubin/services/yubin/internal/allinone"
)

const rebuildLong = `Put mailboxes back from the object store alone, into an empty database, after the old one was lost.
Stop everything first. Settings are those of "yubin serve" and of the storage service, by flag, environment or --config.
What the catalog has seen comes back as it was then (--storage-catalog-interval): folders, UIDs, flags. Mail that came later
is in the mailbox it was delivered to, unread; what was deleted or moved later is where it was before.
If it is interrupted, the same command goes on.`

type rebuildFlags struct {
	dryRun   bool
	parallel int
}

func newStorageRebuild(a *app) *cobra.Command {
	var f rebuildFlags
	return &cobra.Command{
		Use:   "rebuild [flags]",
		Short: "Put mailboxes back from the object store after the loss of the database",
		Long:  rebuildLong,
		Example: `  yubin storage rebuild --data-dir /var/lib/yubin --dry-run
  yubin storage rebuild --config /etc/yubin/storage.yaml`,
		DisableFlagParsing: true, // settings are read by the rules of the services
		RunE: a.offline(allinone.LoadStores, func(own *pflag.FlagSet) {
			own.BoolVar(&f.dryRun, "dry-run", false, "change nothing: tell what would come back")
			own.BoolVar(&a.json, "json", false, "print the report as JSON")
			own.IntVar(&f.parallel, "parallel", 4, "how many packs to read at a time")
		}, func(ctx context.Context, stores *allinone.Stores) error { return a.rebuild(ctx, stores, f) }),
	}
}

func (a *app) rebuild(ctx context.Context, stores *allinone.Stores, f rebuildFlags) error {
	report, err := storage.Rebuild(ctx, stores.Storage, storage.RebuildOptions{
		DryRun: f.dryRun, Parallel: f.parallel, Progress: a.rebuildProgress(),
		Log: slog.New(slog.DiscardHandler), // the report says what is damaged
	})
	if errors.Is(err, storage.ErrNotEmpty) {
		return &hintError{err: err, hint: "A rebuild makes a new one: move the old one away, or name an empty one with --storage-database-url."}
	}
	if err != nil {
		return &hintError{err: err, hint: "Run the same command again to go on."}
	}
	return a.printRebuilt(report, f.dryRun)
}

// rebuildProgress tells on standard error how far a rebuild is, now and then.
func (a *app) rebuildProgress() func(step string, done, total int) {
	texts := map[string]string{
		"catalog": "objects of the catalog read", "accounts": "accounts restored", "packs": "packs gone through", "finish": "accounts finished",
	}
	last := time.Now()
	return func(step string, done, total int) {
		if now := time.Now(); now.Sub(last) >= lineInterval {
			last = now
			of := ""
			if total > 0 {
				of = fmt.Sprintf(" of %d", total)
			}
			a.note("%d%s %s", done, of, texts[step])
		}
	}
}

func (a *app) printRebuilt(r *storage.RebuildReport, dryRun bool) error {
	if a.json {
		return a.printJSON(r)
	}
	var messages, bytes int64
	for _, acc := range r.Accounts {
		messages += acc.Messages
		bytes += acc.Bytes
	}
	err := list(a, r.Accounts, []column{left("ACCOUNT ID"), left("ADDRESS"), left("AS OF"), right("MAILBOXES"), right("MESSAGES"), right("SIZE")},
		func(v storage.RebuiltAccount) []string {
			asOf := "-"
			if !v.Snapshot.IsZero() {
				asOf = humanTime(v.Snapshot.Unix())
			}
			return []string{v.AccountID, orDash(v.Address), asOf, fmt.Sprint(v.Mailboxes), fmt.Sprint(v.Messages), humanBytes(v.Bytes)}
		})
	if err != nil {
		return err
	}
	for _, l := range r.Lost {
		a.note("lost: message %d (%s) of account %s in %s: no pack has its body", l.UID, humanBytes(l.Bytes), l.AccountID, l.Mailbox)
	}
	a.noteTrouble(r)
	verb := "rebuilt"
	if dryRun {
		verb = "can be rebuilt"
	}
	err = a.done(nil, "%d accounts with %s (%s) %s; %s came after the catalog, %s lost; %d purged accounts stay away",
		len(r.Accounts), countMessages(uint64(messages)), humanBytes(bytes), verb, countMessages(uint64(r.Delivered)), countMessages(uint64(len(r.Lost))), r.Purged)
	if err != nil || dryRun {
		return err
	}
	a.note(`Now start the system and run "yubin quota reconcile --repair".`)
	a.note(`If the directory was lost too, give each account its id again: yubin account add ADDRESS --id "ACCOUNT ID".`)
	return nil
}

// noteTrouble tells what could not be read or put back.
func (a *app) noteTrouble(r *storage.RebuildReport) {
	for _, d := range r.Damaged {
		a.note("damaged: %s: %s", d.Object, d.Error)
	}
	for _, text := range r.Refused {
		a.note("not restored: %s", text)
	}
}
