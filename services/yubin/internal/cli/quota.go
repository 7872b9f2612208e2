package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/apply"
)

// usageView has limits of -1 for none.
type usageView struct {
	Address          string `json:"address"`
	AccountID        string `json:"account_id"`
	UsedBytes        int64  `json:"used_bytes"`
	UsedMessages     int64  `json:"used_messages"`
	LimitBytes       int64  `json:"limit_bytes"`
	LimitMessages    int64  `json:"limit_messages"`
	ReservedBytes    int64  `json:"reserved_bytes"`
	ReservedMessages int64  `json:"reserved_messages"`
}

func viewUsage(address string, u *quotav1.Usage) usageView {
	return usageView{
		Address: address, AccountID: u.GetAccountId(), UsedBytes: u.GetUsedBytes(), UsedMessages: u.GetUsedMessages(),
		LimitBytes: u.GetLimitBytes(), LimitMessages: u.GetLimitMessages(),
		ReservedBytes: u.GetReservedBytes(), ReservedMessages: u.GetReservedMessages(),
	}
}

// percent of the tighter of the two limits.
func (u usageView) percent() string {
	most := -1.0
	for _, l := range [][2]int64{{u.UsedBytes, u.LimitBytes}, {u.UsedMessages, u.LimitMessages}} {
		switch used, limit := l[0], l[1]; {
		case limit == 0:
			most = max(most, 100)
		case limit > 0:
			most = max(most, 100*float64(used)/float64(limit))
		}
	}
	if most < 0 {
		return "-"
	}
	return strconv.FormatFloat(most, 'f', 1, 64) + "%"
}

func limitText(n int64, size bool) string { return apply.FormatLimit(&n, size) }

func newQuota(a *app) *cobra.Command {
	return group("quota", "Capacity: limits and usage", "Capacity: what accounts may store, and what they do.",
		newQuotaShow(a), newQuotaSet(a), newQuotaLimits(a), newQuotaReconcile(a))
}

func newQuotaShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show [ADDRESS…]",
		Short: "Show the usage of accounts, or of all",
		Long:  "Show the usage of accounts, or of all. The percentage is that of the limit, octets or messages, that is nearer.",
		Example: `  yubin quota show
  yubin quota show alice@example.com --json`,
		Args:              positional(0, -1),
		ValidArgsFunction: a.completeAccounts(-1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			views, err := c.usages(ctx, args)
			if err != nil {
				return err
			}
			return list(a, views, []column{left("ADDRESS"), right("USED"), right("LIMIT"), right("%"), right("MESSAGES"), right("LIMIT")},
				func(u usageView) []string {
					return []string{u.Address, humanBytes(u.UsedBytes), limitText(u.LimitBytes, true), u.percent(),
						strconv.FormatInt(u.UsedMessages, 10), limitText(u.LimitMessages, false)}
				})
		}),
	}
}

// usages gives the usage of the accounts of these addresses, or of all.
func (c *clients) usages(ctx context.Context, addresses []string) (views []usageView, err error) {
	for _, addr := range addresses {
		acc, err := c.account(ctx, addr)
		if err != nil {
			return nil, err
		}
		resp, err := c.quota.GetUsage(ctx, &quotav1.GetUsageRequest{AccountId: acc.GetAccountId()})
		if err != nil {
			return nil, err
		}
		views = append(views, viewUsage(acc.GetAddress(), resp.GetUsage()))
	}
	if len(addresses) > 0 {
		return views, nil
	}
	ledger := map[string]*quotav1.Usage{}
	for req := (&quotav1.ListUsageRequest{}); ; {
		resp, err := c.quotaAdmin.ListUsage(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, u := range resp.GetUsages() {
			ledger[u.GetAccountId()] = u
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	for acc, err := range c.accounts(ctx, "") {
		if err != nil {
			return nil, err
		}
		usage := ledger[acc.GetAccountId()]
		if usage == nil { // never used
			resp, err := c.quota.GetUsage(ctx, &quotav1.GetUsageRequest{AccountId: acc.GetAccountId()})
			if err != nil {
				return nil, err
			}
			usage = resp.GetUsage()
		}
		views = append(views, viewUsage(acc.GetAddress(), usage))
	}
	return views, nil
}

const quotaSetLong = `Set the limit of an account, the default of a domain's accounts, or the default of all accounts. It takes effect at once.

SIZE is octets with a unit, such as 500MB, 5GB (5×10⁹) or 5GiB; "none" for no limit; "default" to take the limit away, so
that the next scope decides: account, then domain, then global, then the system's built-in default of 5GB.
--messages limits the number of messages in the same way. What is not given stays as it is.`

func newQuotaSet(a *app) *cobra.Command {
	var (
		global               bool
		name, size, messages string
	)
	cmd := &cobra.Command{
		Use:   "set ADDRESS|DOMAIN|--global [SIZE]",
		Short: "Set a limit of an account, a domain or all",
		Long:  quotaSetLong,
		Example: `  yubin quota set alice@example.com 1MB
  yubin quota set example.com 10GB --messages 100000
  yubin quota set --global 5GiB
  yubin quota set alice@example.com default`,
		Args: checked(positional(0, 2), func(cmd *cobra.Command, args []string) error {
			if !global {
				if len(args) == 0 {
					return usagef(cmd, "name an ADDRESS, a DOMAIN or --global")
				}
				name, args = args[0], args[1:]
			}
			switch {
			case len(args) > 1:
				return usagef(cmd, "unexpected argument %q", args[1])
			case len(args) == 1:
				size = args[0]
			case messages == "":
				return usagef(cmd, "give a SIZE or --messages")
			}
			for _, v := range []struct {
				text string
				size bool
			}{{size, true}, {messages, false}} {
				if _, err := apply.ParseLimit(v.text, v.size); v.text != "" && err != nil {
					return &usageError{cmd: cmd, err: err}
				}
			}
			return nil
		}),
		ValidArgsFunction: a.completeScope,
	}
	cmd.RunE = a.remote(func(ctx context.Context, c *clients, _ []string) error {
		scope, label, err := c.scope(ctx, name)
		if err != nil {
			return err
		}
		limit, err := c.limit(ctx, scope)
		if err != nil {
			return err
		}
		if size != "" {
			limit.Bytes, _ = apply.ParseLimit(size, true) // Args has parsed them
		}
		if messages != "" {
			limit.Messages, _ = apply.ParseLimit(messages, false)
		}
		if _, err := c.quotaAdmin.SetLimit(ctx, &quotav1.SetLimitRequest{Scope: scope, Limit: limit}); err != nil {
			return err
		}
		return a.done(viewLimit(scope, label, limit), "limit of %s: %s, messages: %s", label,
			apply.FormatLimit(limit.Bytes, true), apply.FormatLimit(limit.Messages, false))
	})
	cmd.Flags().BoolVar(&global, "global", false, "the default of all accounts")
	cmd.Flags().StringVar(&messages, "messages", "", `most messages: a number, "none" or "default"`)
	return cmd
}

// scope finds what a limit is for: "" is all, a name with @ is an account, any other a domain.
func (c *clients) scope(ctx context.Context, name string) (scope *quotav1.Scope, label string, err error) {
	switch {
	case name == "":
		return &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}, "all accounts", nil
	case strings.Contains(name, "@"):
		acc, err := c.account(ctx, name)
		if err != nil {
			return nil, "", err
		}
		return &quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: acc.GetAccountId()}}, acc.GetAddress(), nil
	}
	d, err := c.domain(ctx, name)
	if err != nil {
		return nil, "", err
	}
	return &quotav1.Scope{Scope: &quotav1.Scope_Domain{Domain: d.GetName()}}, d.GetName(), nil
}

// limit gives the limit that is set for a scope, empty if none is.
func (c *clients) limit(ctx context.Context, scope *quotav1.Scope) (*quotav1.Limit, error) {
	resp, err := c.quotaAdmin.ListLimits(ctx, &quotav1.ListLimitsRequest{})
	if err != nil {
		return nil, err
	}
	for _, e := range resp.GetEntries() {
		if apply.ScopeKey(e.GetScope()) == apply.ScopeKey(scope) {
			return e.GetLimit(), nil
		}
	}
	return &quotav1.Limit{}, nil
}

// limitView lacks a limit that is not set, and has -1 for none.
type limitView struct {
	Scope     string `json:"scope"`
	Name      string `json:"name,omitempty"`
	AccountID string `json:"account_id,omitempty"`
	Bytes     *int64 `json:"bytes,omitempty"`
	Messages  *int64 `json:"messages,omitempty"`
}

func viewLimit(scope *quotav1.Scope, name string, l *quotav1.Limit) limitView {
	v := limitView{Name: name, Bytes: l.Bytes, Messages: l.Messages}
	switch s := scope.GetScope().(type) {
	case *quotav1.Scope_Domain:
		v.Scope, v.Name = "domain", s.Domain
	case *quotav1.Scope_AccountId:
		v.Scope, v.AccountID = "account", s.AccountId
	default:
		v.Scope, v.Name = "global", ""
	}
	return v
}

func newQuotaLimits(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "limits",
		Short:   "List the limits that are set",
		Long:    `List the limits that are set. "default" leaves it to the next scope: account, domain, global, the built-in default.`,
		Example: "  yubin quota limits",
		Args:    positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			resp, err := c.quotaAdmin.ListLimits(ctx, &quotav1.ListLimitsRequest{})
			if err != nil {
				return err
			}
			var views []limitView
			for _, e := range resp.GetEntries() {
				id, name := e.GetScope().GetAccountId(), ""
				if id != "" {
					if name, err = c.addressOf(ctx, id); err != nil {
						return err
					}
				}
				views = append(views, viewLimit(e.GetScope(), name, e.GetLimit()))
			}
			return list(a, views, []column{left("SCOPE"), left("NAME"), right("SIZE"), right("MESSAGES")}, func(v limitView) []string {
				return []string{v.Scope, orDash(v.Name), apply.FormatLimit(v.Bytes, true), apply.FormatLimit(v.Messages, false)}
			})
		}),
	}
}

// addressOf gives the address of an account, or its id if the account is gone.
func (c *clients) addressOf(ctx context.Context, id string) (string, error) {
	resp, err := c.directory.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_AccountId{AccountId: id}})
	if isNotFound(err) {
		return id + " (removed)", nil
	}
	if err != nil {
		return "", err
	}
	return resp.GetAccount().GetAddress(), nil
}

type reconcileView struct {
	Address        string `json:"address"`
	AccountID      string `json:"account_id"`
	UsedBytes      int64  `json:"used_bytes"`
	UsedMessages   int64  `json:"used_messages"`
	StoredBytes    int64  `json:"stored_bytes"`
	StoredMessages int64  `json:"stored_messages"`
	DriftBytes     int64  `json:"drift_bytes"`
	DriftMessages  int64  `json:"drift_messages"`
	Repaired       bool   `json:"repaired"`
}

func newQuotaReconcile(a *app) *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "reconcile [ADDRESS]",
		Short: "Compare the ledger with what is stored",
		Long: `Compare the ledger with the sum of the sizes of the stored messages, for an account or for all, and with --repair
correct the ledger. A drift of anything but 0 is a defect. The exit status is 1 if there is a drift that was not repaired.`,
		Example: `  yubin quota reconcile
  yubin quota reconcile alice@example.com --repair`,
		Args:              positional(0, 1),
		ValidArgsFunction: a.completeAccounts(1),
		RunE: a.remote(func(ctx context.Context, c *clients, args []string) error {
			req := &quotav1.ReconcileRequest{Repair: repair}
			addresses := map[string]string{}
			if len(args) == 1 {
				acc, err := c.account(ctx, args[0])
				if err != nil {
					return err
				}
				req.AccountId = acc.GetAccountId()
				addresses[acc.GetAccountId()] = acc.GetAddress()
			} else {
				for acc, err := range c.accounts(ctx, "") {
					if err != nil {
						return err
					}
					addresses[acc.GetAccountId()] = acc.GetAddress()
				}
			}
			views, err := c.reconcile(ctx, req, addresses)
			if err != nil {
				return err
			}
			drifted := 0
			for _, v := range views {
				if (v.DriftBytes != 0 || v.DriftMessages != 0) && !v.Repaired {
					drifted++
				}
			}
			err = list(a, views, []column{left("ADDRESS"), right("LEDGER"), right("STORED"), right("DRIFT"), right("MESSAGES"), right("DRIFT"), left("")},
				func(v reconcileView) []string {
					repaired := ""
					if v.Repaired {
						repaired = "repaired"
					}
					return []string{v.Address, strconv.FormatInt(v.UsedBytes, 10), strconv.FormatInt(v.StoredBytes, 10), strconv.FormatInt(v.DriftBytes, 10),
						strconv.FormatInt(v.StoredMessages, 10), strconv.FormatInt(v.DriftMessages, 10), repaired}
				})
			if err == nil && drifted > 0 {
				err = &hintError{err: fmt.Errorf("the ledger differs from what is stored in %d of %d accounts", drifted, len(views)), hint: "--repair corrects it."}
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "correct the ledger where it differs")
	return cmd
}

func (c *clients) reconcile(ctx context.Context, req *quotav1.ReconcileRequest, addresses map[string]string) (views []reconcileView, err error) {
	stream, err := c.quotaAdmin.Reconcile(ctx, req)
	if err != nil {
		return nil, err
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return views, nil
		}
		if err != nil {
			return nil, err
		}
		address := addresses[r.GetAccountId()]
		if address == "" {
			address = r.GetAccountId() + " (removed)"
		}
		views = append(views, reconcileView{
			Address: address, AccountID: r.GetAccountId(), UsedBytes: r.GetUsedBytes(), UsedMessages: r.GetUsedMessages(),
			StoredBytes: r.GetStoredBytes(), StoredMessages: r.GetStoredMessages(),
			DriftBytes: r.GetDriftBytes(), DriftMessages: r.GetDriftMessages(), Repaired: r.GetRepaired(),
		})
	}
}

// completeScope offers accounts and domains.
func (a *app) completeScope(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.complete(1, func(ctx context.Context, c *clients, prefix string) []string {
		return append(offerDomains(ctx, c, prefix), offerAccounts(ctx, c, prefix)...)
	})(cmd, args, prefix)
}
