package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

type compactView struct {
	Packs       int64 `json:"packs"`
	NewPacks    int64 `json:"new_packs"`
	Frames      int64 `json:"frames"`
	CopiedBytes int64 `json:"copied_bytes"`
	FreedBytes  int64 `json:"freed_bytes"`
	Damaged     int64 `json:"damaged"`
	TotalBytes  int64 `json:"total_bytes"`
	LiveBytes   int64 `json:"live_bytes"`
	Objects     int64 `json:"objects"`
}

func newStorageCompact(a *app) *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Rewrite objects that are mostly dead, and small ones, now",
		Long: `Rewrite objects of which less than 70 % is alive, and small ones into few large ones, as the service does by itself, until nothing
is left to rewrite. The old objects are deleted when --storage-delete-grace is over. With --now it goes at full speed, takes small objects
whatever their age, and deletes old objects at once: not while a backup runs.
The exit status is 1 if a body cannot be read; nothing of it is dropped.`,
		Example: `  yubin storage compact
  yubin storage compact --now`,
		Args: positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			stream, err := c.storageAdmin.CompactStorage(ctx, &storagev1.CompactStorageRequest{Now: now})
			if err != nil {
				return err
			}
			last, err := a.compacted(stream.Recv)
			if err != nil {
				return &hintError{err: err, hint: "Nothing is lost; it may be repeated."}
			}
			v := compactView{
				Packs: last.GetPacks(), NewPacks: last.GetNewPacks(), Frames: last.GetFrames(), CopiedBytes: last.GetCopiedBytes(),
				FreedBytes: last.GetFreedBytes(), Damaged: last.GetDamaged(), TotalBytes: last.GetTotalBytes(), LiveBytes: last.GetLiveBytes(), Objects: last.GetObjects(),
			}
			err = a.details(v,
				[2]string{"Objects rewritten", fmt.Sprintf("%d, into %d", v.Packs, v.NewPacks)},
				[2]string{"Bodies copied", counted(v.Frames, v.CopiedBytes)},
				[2]string{"Freed", humanBytes(v.FreedBytes - v.CopiedBytes)},
				[2]string{"Objects now", counted(v.Objects, v.TotalBytes)},
				[2]string{"Held per live octet", ratio(v.TotalBytes, v.LiveBytes)},
				[2]string{"Bodies that cannot be read", strconv.FormatInt(v.Damaged, 10)})
			if err == nil && v.Damaged > 0 {
				err = &hintError{err: fmt.Errorf("%d bodies cannot be read; they stay where they are", v.Damaged), hint: `"yubin storage scrub" names them.`}
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&now, "now", false, "at full speed, and delete what is dead at once")
	return cmd
}

// compacted shows how it goes and gives the last answer.
func (a *app) compacted(recv func() (*storagev1.CompactStorageResponse, error)) (*storagev1.CompactStorageResponse, error) {
	bar := a.newCounter("Rewrote", "objects")
	defer bar.clear()
	var last *storagev1.CompactStorageResponse
	for {
		r, err := recv()
		if errors.Is(err, io.EOF) {
			if !last.GetFinished() {
				return nil, errors.New("the service ended without a summary")
			}
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = r
		bar.show(r.GetPacks(), 0, r.GetCopiedBytes(), 0)
	}
}
