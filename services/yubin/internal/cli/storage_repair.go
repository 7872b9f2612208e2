package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

type missingView struct {
	AccountID string `json:"account_id"`
	Mailbox   string `json:"mailbox"`
	UID       uint32 `json:"uid"`
	Bytes     uint64 `json:"bytes"`
	From      string `json:"from"`
	Subject   string `json:"subject"`
	Object    string `json:"object"`
	Deleted   bool   `json:"deleted,omitempty"`
}

func newStorageRepair(a *app) *cobra.Command {
	var drop bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Find messages whose body the object store lacks, and take them out of the mailboxes",
		Long: `Find messages whose body the object store lacks: after a bucket was restored that is older than the database, or the other way
round too late. With --drop-missing they are taken out of their mailboxes, so that mail programs do not show what cannot be
read. Until --storage-retention is over "yubin mailbox restore" puts them back, should their bodies come back.`,
		Example: `  yubin storage repair
  yubin storage repair --drop-missing`,
		Args: positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			stream, err := c.storageAdmin.RepairMissing(ctx, &storagev1.RepairMissingRequest{DryRun: !drop})
			if err != nil {
				return err
			}
			var views []missingView
			for {
				resp, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return &hintError{err: err, hint: "It may be repeated."}
				}
				for _, m := range resp.GetMissing() {
					views = append(views, missingView{
						AccountID: m.GetAccountId(), Mailbox: m.GetMailbox(), UID: m.GetUid(), Bytes: m.GetSize(), From: m.GetFrom(),
						Subject: m.GetSubject(), Object: m.GetObjectKey(), Deleted: m.GetDeleted(),
					})
				}
			}
			err = list(a, views, []column{left("ACCOUNT ID"), left("MAILBOX"), right("UID"), right("SIZE"), left("FROM"), left("SUBJECT")},
				func(v missingView) []string {
					return []string{v.AccountID, v.Mailbox, fmt.Sprint(v.UID), humanBytes(int64(v.Bytes)), clip(v.From, 30), clip(v.Subject, 40)}
				})
			switch {
			case err != nil:
				return err
			case len(views) == 0:
				a.note("Every message has its body.")
			case drop:
				a.note("%s taken out of the mailboxes.", countMessages(uint64(len(views))))
			default:
				a.note("The bodies of %s are missing. --drop-missing takes them out of the mailboxes.", countMessages(uint64(len(views))))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&drop, "drop-missing", false, "take them out of the mailboxes")
	return cmd
}
