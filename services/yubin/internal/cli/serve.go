package cli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/services/yubin/internal/allinone"
)

// newServe hands its arguments on as they are: settings are read from flags, environment and file by the same rules as in the single services.
func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Run all services in this process, on the embedded stores",
		Example: `  yubin serve --demo
  yubin serve --data-dir /var/lib/yubin --hostname mail.example.com --tls-cert cert.pem --tls-key key.pem
  yubin serve --help`,
		DisableFlagParsing: true,
		Run:                func(_ *cobra.Command, args []string) { os.Exit(allinone.Main(args)) },
		ValidArgsFunction: func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, name := range allinone.FlagNames() {
				if strings.HasPrefix(name, prefix) {
					names = append(names, name)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.SetHelpFunc(func(*cobra.Command, []string) { allinone.Main([]string{"--help"}) }) // the settings' own, also for "yubin help serve"
	return cmd
}
