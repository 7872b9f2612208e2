package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

type reindexView struct {
	Mailboxes int64 `json:"mailboxes"`
	Messages  int64 `json:"messages"`
}

func newStorageReindex(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Make the index for searches anew",
		Long: `Make the index by which searches find texts anew, of all accounts or of one: after a restore, or when the log says that it is damaged. Mail
comes and goes meanwhile; a search that needs what is not indexed yet reads the messages, which takes longer. All replicas of the service share the work. If the
command is interrupted, the work goes on.`,
		Example: `  yubin storage reindex
  yubin storage reindex --account alice@example.com`,
		Args: positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			req := &storagev1.ReindexRequest{}
			if account != "" {
				acc, err := c.account(ctx, account)
				if err != nil {
					return err
				}
				req.AccountId = acc.GetAccountId()
			}
			stream, err := c.storageAdmin.Reindex(ctx, req)
			if err != nil {
				return err
			}
			last, err := a.reindexed(stream.Recv)
			if err != nil {
				return &hintError{err: err, hint: "What is in the queue by now is indexed all the same; the command may be repeated."}
			}
			v := reindexView{Mailboxes: last.GetMailboxes(), Messages: last.GetMessages()}
			return a.done(v, "Indexed %d messages in %d mailboxes.", v.Messages, v.Mailboxes)
		}),
	}
	cmd.Flags().StringVar(&account, "account", "", "only the mail of this address's account")
	_ = cmd.RegisterFlagCompletionFunc("account", a.completeAccounts(-1))
	return cmd
}

// reindexed shows how it goes and gives the last answer.
func (a *app) reindexed(recv func() (*storagev1.ReindexResponse, error)) (*storagev1.ReindexResponse, error) {
	bar := a.newCounter("Indexed", "messages")
	defer bar.clear()
	var last *storagev1.ReindexResponse
	for {
		r, err := recv()
		if errors.Is(err, io.EOF) {
			if !last.GetFinished() {
				return nil, fmt.Errorf("the service ended after %d of %d messages", last.GetMessagesDone(), last.GetMessages())
			}
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = r
		bar.show(r.GetMessagesDone(), r.GetMessages(), 0, 0)
	}
}
