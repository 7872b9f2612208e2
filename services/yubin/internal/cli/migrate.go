package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	directory "github.com/yubin-mail/yubin/services/directory/server"
	quota "github.com/yubin-mail/yubin/services/quota/server"
	storage "github.com/yubin-mail/yubin/services/storage/server"
	"github.com/yubin-mail/yubin/services/yubin/internal/allinone"
)

const migrateLong = `Bring the schemas of the databases up to date, and do nothing else. Services do that themselves when they start; this tells
before an upgrade whether it will work, while the version before runs on. Settings are those of "yubin serve" and of the services,
by flag, environment or --config.`

func newMigrate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                "migrate [flags]",
		Short:              "Bring the schemas of the databases up to date before an upgrade",
		Long:               migrateLong,
		Example:            "  yubin migrate --config /etc/yubin/yubin.yaml",
		DisableFlagParsing: true, // settings are read by the rules of the services
		RunE: a.offline(allinone.LoadDatabases, func(own *pflag.FlagSet) {
			own.BoolVar(&a.json, "json", false, "print the services as JSON Lines")
		}, a.migrate),
	}
}

func (a *app) migrate(ctx context.Context, stores *allinone.Stores) error {
	for _, service := range []struct {
		name    string
		migrate func() error
	}{
		{"directory", func() error { return directory.Migrate(ctx, stores.Directory) }},
		{"quota", func() error { return quota.Migrate(ctx, stores.Quota) }},
		{"storage", func() error { return storage.Migrate(ctx, stores.Storage) }},
	} {
		if err := service.migrate(); err != nil {
			return fmt.Errorf("%s: %w", service.name, err)
		}
		if err := a.done(map[string]string{"service": service.name}, "%s: the schema is up to date", service.name); err != nil {
			return err
		}
	}
	return nil
}
