package cli

import "github.com/spf13/cobra"

func newStorage(a *app) *cobra.Command {
	return group("storage", "The stores: verify, scrub, compact, reindex, rebuild, repair",
		"The stores of mail: the object store with the bodies, and the database with all else.",
		newStorageVerify(a), newStorageScrub(a), newStorageCompact(a), newStorageReindex(a), newStorageRebuild(a), newStorageRepair(a), newAfterRestore(a))
}
