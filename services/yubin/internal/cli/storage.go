package cli

import "github.com/spf13/cobra"

func newStorage(a *app) *cobra.Command {
	return group("storage", "The stores: rebuild, repair", "The stores of mail: the object store with the bodies, and the database with all else.",
		newStorageRebuild(a), newStorageRepair(a))
}
