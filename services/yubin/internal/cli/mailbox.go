package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func newMailbox(a *app) *cobra.Command {
	return group("mailbox", "Mailboxes, and deleted messages", "Mailboxes of an account, who shares them, and its deleted messages that can still be restored.",
		newMailboxList(a), newMailboxDeleted(a), newMailboxRestore(a), newMailboxShare(a), newMailboxRenew(a))
}

type mailboxView struct {
	Name        string `json:"name"`
	MailboxID   uint64 `json:"mailbox_id"`
	SpecialUse  string `json:"special_use,omitempty"`
	Messages    uint32 `json:"messages"`
	Unseen      uint32 `json:"unseen"`
	Bytes       uint64 `json:"bytes"`
	UIDValidity uint32 `json:"uid_validity"`
	UIDNext     uint32 `json:"uid_next"`
	Subscribed  bool   `json:"subscribed"`
}

func specialUseName(use storagev1.SpecialUse) string {
	if use == storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(use.String(), "SPECIAL_USE_"))
}

func newMailboxList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list ADDRESS",
		Aliases:           []string{"ls"},
		Short:             "List an account's mailboxes",
		Example:           "  yubin mailbox list alice@example.com",
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			acc, err := c.account(ctx, args[0])
			if err != nil {
				return err
			}
			resp, err := c.storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: acc.GetAccountId()})
			if err != nil {
				return err
			}
			var views []mailboxView
			for _, m := range resp.GetMailboxes() {
				views = append(views, mailboxView{
					Name: m.GetName(), MailboxID: m.GetMailboxId(), SpecialUse: specialUseName(m.GetSpecialUse()), Messages: m.GetMessages(),
					Unseen: m.GetUnseen(), Bytes: m.GetBytes(), UIDValidity: m.GetUidValidity(), UIDNext: m.GetUidNext(), Subscribed: m.GetSubscribed(),
				})
			}
			return list(a, views, []column{left("MAILBOX"), left("USE"), right("MESSAGES"), right("UNSEEN"), right("SIZE"), left("SUBSCRIBED")},
				func(v mailboxView) []string {
					subscribed := "no"
					if v.Subscribed {
						subscribed = "yes"
					}
					return []string{v.Name, orDash(v.SpecialUse), strconv.FormatUint(uint64(v.Messages), 10), strconv.FormatUint(uint64(v.Unseen), 10),
						humanBytes(int64(v.Bytes)), subscribed}
				})
		}),
	}
}

type deletedView struct {
	ID      string `json:"id"`
	Mailbox string `json:"mailbox"`
	From    string `json:"from"`
	Subject string `json:"subject"`
	Bytes   uint64 `json:"bytes"`
	Deleted string `json:"deleted"`
	Expires string `json:"expires"`
}

func newMailboxDeleted(a *app) *cobra.Command {
	var (
		mailbox string
		since   sinceFlag
	)
	cmd := &cobra.Command{
		Use:   "deleted ADDRESS",
		Short: "List deleted messages that can still be restored",
		Example: `  yubin mailbox deleted alice@example.com
  yubin mailbox deleted alice@example.com --mailbox INBOX --since 2h`,
		Args:              positional(1, 1),
		ValidArgsFunction: a.completeAccounts(1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			acc, err := c.account(ctx, args[0])
			if err != nil {
				return err
			}
			stream, err := c.storageAdmin.ListDeleted(ctx, &storagev1.ListDeletedRequest{AccountId: acc.GetAccountId()})
			if err != nil {
				return err
			}
			var views []deletedView
			for {
				resp, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				for _, d := range resp.GetDeleted() {
					if mailbox != "" && !sameMailbox(d.GetMailbox(), mailbox) || d.GetDeletedUnix() < since.unix() {
						continue
					}
					views = append(views, deletedView{
						ID: d.GetDeletedId(), Mailbox: d.GetMailbox(), From: d.GetFrom(), Subject: d.GetSubject(), Bytes: d.GetState().GetSize(),
						Deleted: timestamp(d.GetDeletedUnix()), Expires: timestamp(d.GetExpiresUnix()),
					})
				}
			}
			return list(a, views, []column{left("ID"), left("DELETED"), left("MAILBOX"), right("SIZE"), left("FROM"), left("SUBJECT")},
				func(v deletedView) []string {
					return []string{v.ID, v.Deleted, v.Mailbox, humanBytes(int64(v.Bytes)), clip(v.From, 30), clip(v.Subject, 50)}
				})
		}),
	}
	cmd.Flags().StringVar(&mailbox, "mailbox", "", "only from this mailbox")
	cmd.Flags().Var(&since, "since", sinceUsage)
	return cmd
}

func newMailboxRestore(a *app) *cobra.Command {
	var (
		all, ignoreQuota bool
		mailbox, to      string
		since            sinceFlag
	)
	cmd := &cobra.Command{
		Use:   "restore ADDRESS [ID…]",
		Short: "Put deleted messages back",
		Long: `Put deleted messages back where they were, or into the mailbox that --to names. Choose them by ID, as "yubin mailbox deleted"
lists them, or with --mailbox and --since, or take --all. They count towards the quota again.`,
		Example: `  yubin mailbox restore alice@example.com --since 2h
  yubin mailbox restore alice@example.com --mailbox INBOX --to Recovered
  yubin mailbox restore alice@example.com --all --ignore-quota`,
		Args: checked(positional(1, -1), func(cmd *cobra.Command, args []string) error {
			filtered := mailbox != "" || since.set()
			switch ids := args[1:]; {
			case len(ids) == 0 && !all && !filtered:
				return usagef(cmd, "choose the messages: by ID, --mailbox, --since, or --all")
			case len(ids) > 0 && (all || filtered):
				return usagef(cmd, "choose the messages by ID, or by --mailbox, --since and --all, not both")
			}
			return nil
		}),
		ValidArgsFunction: a.completeAccounts(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, args []string) error {
		acc, err := c.account(ctx, args[0])
		if err != nil {
			return err
		}
		long, cancel := a.patient(ctx)
		defer cancel()
		resp, err := c.storageAdmin.Restore(long, &storagev1.RestoreRequest{
			AccountId: acc.GetAccountId(), DeletedIds: args[1:], Mailbox: mailbox, DeletedSinceUnix: since.unix(), ToMailbox: to, IgnoreQuota: ignoreQuota,
		})
		if err != nil {
			return err
		}
		return a.done(map[string]any{"address": acc.GetAddress(), "restored": resp.GetRestored()},
			"%s restored", countMessages(uint64(resp.GetRestored())))
	})
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVar(&all, "all", false, "all that can be restored")
	fs.StringVar(&mailbox, "mailbox", "", "only those from this mailbox")
	fs.Var(&since, "since", sinceUsage)
	fs.StringVar(&to, "to", "", "put them all into this mailbox")
	fs.BoolVar(&ignoreQuota, "ignore-quota", false, "even if the mailbox gets fuller than its limit")
	return cmd
}

// sameMailbox compares names; INBOX is the same in any case (RFC 9051 section 5.1).
func sameMailbox(a, b string) bool {
	return a == b || strings.EqualFold(a, "INBOX") && strings.EqualFold(b, "INBOX")
}

const sinceUsage = "only those deleted since: a duration such as 2h or 3d, a date, or an RFC 3339 time"

// sinceFlag is a time in the past.
type sinceFlag struct {
	text string
	at   time.Time
}

// String implements pflag.Value.
func (f *sinceFlag) String() string { return f.text }

// Type implements pflag.Value.
func (*sinceFlag) Type() string { return "time" }

// Set implements pflag.Value.
func (f *sinceFlag) Set(s string) error {
	at, err := parseSince(s, time.Now())
	f.text, f.at = s, at
	return err
}

func (f *sinceFlag) set() bool { return !f.at.IsZero() }

func (f *sinceFlag) unix() int64 {
	if !f.set() {
		return 0
	}
	return f.at.Unix()
}

// parseSince reads 90m, 2h, 3d, 2026-01-31 (local time) or 2026-01-31T12:00:00Z.
func parseSince(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04", time.DateTime} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write for example 2h, 3d, 2026-01-31 or 2026-01-31T12:00:00Z", s)
}
