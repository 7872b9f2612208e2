package cli

import "github.com/spf13/cobra"

func newWait(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "wait",
		Short:   "Do nothing until stopped, to keep a container in which other commands are run",
		Example: "  kubectl exec deploy/yubin-admin -- yubin account list",
		Args:    positional(0, 0),
		RunE: a.local(func(cmd *cobra.Command, _ []string) error {
			<-cmd.Context().Done()
			return nil
		}),
	}
}
