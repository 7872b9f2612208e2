// Package reconcile compares the ledger with what storage holds, and repairs what differs.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// maxAttempts bounds how often an account is compared that changes meanwhile.
const maxAttempts = 10

// page is how many accounts are listed at a time.
const page = 500

// Report is the comparison of one account.
type Report struct {
	AccountID    string
	Used, Stored ledger.Amount
	Drift        ledger.Amount // used + pending - stored
	Repaired     bool
}

// Reconciler compares accounts.
type Reconciler struct {
	Ledger  *ledger.Ledger
	Storage storagev1.StorageAdminServiceClient
	// Directory lists the accounts that the ledger may not know.
	Directory directoryv1.DirectoryAdminServiceClient
	Log       *slog.Logger
	Metrics   *Metrics
}

// Account compares one account that has a ledger row, and repairs a drift if asked.
//
// Usage is a function of the last event applied, so a sum from storage with the events after that one as pending is comparable
// whenever it was taken, unless more was applied meanwhile: then it is taken again. A repair sets the ledger to what storage held
// with all of its events, whose later settlement will be recognised as done.
func (r *Reconciler) Account(ctx context.Context, id string, repair bool) (Report, error) {
	return r.compare(ctx, id, repair, false)
}

// compare with resync also repairs an account without drift whose last sequences differ.
func (r *Reconciler) compare(ctx context.Context, id string, repair, resync bool) (Report, error) {
	for range maxAttempts {
		before, err := r.Ledger.Position(ctx, id)
		if err != nil {
			return Report{}, err
		}
		sum, err := r.Storage.SumUsage(ctx, &storagev1.SumUsageRequest{AccountId: id, AppliedSequence: before.Sequence})
		if err != nil {
			return Report{}, fmt.Errorf("sum usage: %w", err)
		}
		after, err := r.Ledger.Position(ctx, id)
		if err != nil {
			return Report{}, err
		}
		if after.Sequence != before.Sequence || after.Used != before.Used {
			continue
		}
		report := Report{
			AccountID: id,
			Used:      after.Used,
			Stored:    ledger.Amount{Bytes: sum.GetBytes(), Messages: sum.GetMessages()},
			Drift: ledger.Amount{
				Bytes:    after.Used.Bytes + sum.GetPendingBytes() - sum.GetBytes(),
				Messages: after.Used.Messages + sum.GetPendingMessages() - sum.GetMessages(),
			},
		}
		// A ledger ahead of storage would take storage's next events for duplicates.
		ahead := after.Sequence > sum.GetLastSequence()
		if report.Drift == (ledger.Amount{}) && !ahead && (!resync || after.Sequence == sum.GetLastSequence()) {
			return report, nil
		}
		r.Log.WarnContext(ctx, "ledger differs from storage", "account_id", id, "drift_bytes", report.Drift.Bytes, "drift_messages", report.Drift.Messages,
			"ledger_sequence", after.Sequence, "storage_sequence", sum.GetLastSequence())
		if !repair {
			return report, nil
		}
		report.Repaired, err = r.Ledger.Repair(ctx, after, report.Stored, sum.GetLastSequence())
		if err != nil || report.Repaired {
			return report, err
		}
	}
	return Report{}, fault.New(codes.Aborted, rpcv1.Reason_REASON_UNAVAILABLE, "the account changes too fast to be compared, try again")
}

// show sets the metrics to what the last reconciliation found.
func (r *Reconciler) show(ctx context.Context) error {
	last, err := r.Ledger.LastReconciliation(ctx)
	if err == nil {
		r.Metrics.set(last)
	}
	return err
}

// All compares the accounts of the ledger and then those of the directory that the ledger does not know, and records the
// drift. visit sees each report; pause is called before each account.
func (r *Reconciler) All(ctx context.Context, repair bool, pause func(context.Context) error, visit func(Report) error) error {
	var drift ledger.Amount
	var failed int
	one := func(id string) error {
		if err := pause(ctx); err != nil {
			return err
		}
		report, err := r.Account(ctx, id, repair)
		if _, gone := errors.AsType[*ledger.MissingError](err); gone || fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
			return nil // deleted while we were on the way
		}
		if err != nil && (fault.Code(err) == codes.Unavailable || ctx.Err() != nil) {
			return err // so it would be for the others
		}
		if err != nil {
			failed++
			r.Log.WarnContext(ctx, "account not reconciled", "account_id", id, "error", err)
			return nil
		}
		drift.Bytes += max(report.Drift.Bytes, -report.Drift.Bytes)
		drift.Messages += max(report.Drift.Messages, -report.Drift.Messages)
		return visit(report)
	}
	if err := r.eachInLedger(ctx, one); err != nil {
		return err
	}
	if err := r.eachNew(ctx, one); err != nil {
		return err
	}
	if err := r.Ledger.FinishReconciliation(ctx, drift); err != nil {
		return err
	}
	if err := r.show(ctx); err != nil {
		return err
	}
	if failed > 0 {
		return fault.Newf(codes.Aborted, rpcv1.Reason_REASON_UNAVAILABLE, "%d accounts could not be reconciled, the log says why", failed)
	}
	return nil
}

func (r *Reconciler) eachInLedger(ctx context.Context, one func(id string) error) error {
	for after := ""; ; {
		usages, err := r.Ledger.ListUsage(ctx, after, page)
		if err != nil || len(usages) == 0 {
			return err
		}
		for _, u := range usages {
			if err := one(u.AccountID); err != nil {
				return err
			}
		}
		after = usages[len(usages)-1].AccountID
	}
}

// eachNew finds accounts without a ledger row: none of their mail was ever settled, or the ledger was lost.
func (r *Reconciler) eachNew(ctx context.Context, one func(id string) error) error {
	for token := ""; ; {
		list, err := r.Directory.ListAccounts(ctx, &directoryv1.ListAccountsRequest{PageSize: page, PageToken: token})
		if err != nil {
			return fmt.Errorf("list accounts: %w", err)
		}
		for _, a := range list.GetAccounts() {
			_, err := r.Ledger.Usage(ctx, a.GetAccountId())
			if err == nil {
				continue
			}
			if _, missing := errors.AsType[*ledger.MissingError](err); !missing {
				return err
			}
			if err := r.Ledger.Open(ctx, ledger.Account{ID: a.GetAccountId(), Domain: a.GetDomain()}); err != nil {
				return err
			}
			if err := one(a.GetAccountId()); err != nil {
				return err
			}
		}
		if token = list.GetNextPageToken(); token == "" {
			return nil
		}
	}
}
