package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/services/yubin/internal/allinone"
)

// loader is allinone.LoadStores or allinone.LoadDatabases.
type loader func(name string, own *pflag.FlagSet, args, environ []string) (s *allinone.Stores, usage *pflag.FlagSet, err error)

// offline is for a command that works on the stores themselves, which it locks meanwhile. It reads all flags, those that declare adds among them, so the
// command needs DisableFlagParsing.
func (a *app) offline(load loader, declare func(own *pflag.FlagSet), work func(context.Context, *allinone.Stores) error) func(*cobra.Command, []string) error {
	return a.local(func(cmd *cobra.Command, args []string) error {
		own := pflag.NewFlagSet(cmd.CommandPath(), pflag.ContinueOnError)
		own.SortFlags = false
		declare(own)
		stores, usage, err := load(cmd.CommandPath(), own, args, a.environ)
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintf(a.out, "%s\n\n", cmd.Long)
			config.PrintUsage(a.out, cmd.CommandPath(), usage)
			return nil
		}
		if err != nil {
			return &usageError{cmd: cmd, err: err}
		}
		unlock, err := stores.Lock()
		if err != nil {
			return err
		}
		defer unlock()
		return work(cmd.Context(), stores)
	})
}
