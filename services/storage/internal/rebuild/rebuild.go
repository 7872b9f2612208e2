// Package rebuild puts mailboxes back from the object store alone after the loss of the database: accounts as the catalog last saw them, and
// whatever was delivered since from the packs.
package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// Steps of a rebuild, in order.
const (
	StepCatalog  = "catalog"
	StepAccounts = "accounts"
	StepPacks    = "packs"
	StepFinish   = "finish"
)

// Progress is told how far a rebuild is. done is out of total objects or accounts; total is 0 where it is not known.
type Progress func(step string, done, total int)

// Options of Run.
type Options struct {
	Meta    *meta.Store
	Objects object.Store
	Spools  *body.Spools
	// Dir is for copies of the catalog's objects while it runs.
	Dir string
	// Parallel is how many packs are read at a time; 0 is 4.
	Parallel int
	Progress Progress // may be nil
	Log      *slog.Logger
}

// Account is one that came back.
type Account struct {
	AccountID string `json:"account_id"`
	// Address is what most of its messages were delivered to; empty if none tells.
	Address string `json:"address,omitempty"`
	// Snapshot is when the catalog last saw it; zero: never, so all its messages are in the mailboxes they were delivered to.
	Snapshot  time.Time `json:"snapshot,omitzero"`
	Mailboxes int       `json:"mailboxes"`
	Messages  int64     `json:"messages"`
	Bytes     int64     `json:"bytes"`
}

// Lost is a message that the catalog knows and no pack has.
type Lost struct {
	AccountID string `json:"account_id"`
	Mailbox   string `json:"mailbox"`
	UID       uint32 `json:"uid"`
	Bytes     int64  `json:"bytes"`
	// Deleted says that it was deleted, and could only have been restored.
	Deleted bool `json:"deleted,omitempty"`
}

// Damage is what could not be read.
type Damage struct {
	Object string `json:"object"`
	Error  string `json:"error"`
}

// Report is what a rebuild did.
type Report struct {
	// Resumed says that an earlier run was interrupted: counts of packs and messages are of this run.
	Resumed  bool      `json:"resumed"`
	Accounts []Account `json:"accounts"`
	Purged   int       `json:"purged_accounts"`
	Packs    int       `json:"packs"`
	// Located counts messages' bodies that the catalog told of, Delivered messages that came after it, Dead bodies that nobody had any more.
	Located   int      `json:"located_bodies"`
	Delivered int      `json:"delivered_since"`
	Dead      int      `json:"dead_bodies"`
	Lost      []Lost   `json:"lost"`
	Damaged   []Damage `json:"damaged"`
	Refused   []string `json:"refused,omitempty"`
}

// run is one rebuild.
type run struct {
	Options
	report Report
	gone   meta.Missing // packs that the database names and the object store lacks
}

// Run rebuilds into an empty database, or goes on where an earlier run was cut off. Nothing may use the stores meanwhile.
// Errors: meta.ErrNotEmpty; after others the same call goes on.
func Run(ctx context.Context, opts Options) (*Report, error) {
	opts.Parallel = cmp.Or(opts.Parallel, 4)
	if opts.Progress == nil {
		opts.Progress = func(string, int, int) {}
	}
	r := &run{Options: opts}
	var err error
	if r.report.Resumed, err = r.Meta.BeginRebuild(ctx); err != nil {
		return nil, fmt.Errorf("begin rebuild: %w", err)
	}
	snapshots, err := r.readCatalog(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	err = r.restoreAccounts(ctx, snapshots)
	if err = errors.Join(err, snapshots.close()); err != nil {
		return nil, fmt.Errorf("restore accounts: %w", err)
	}
	if err := r.readPacks(ctx); err != nil {
		return nil, fmt.Errorf("read packs: %w", err)
	}
	if err := r.finish(ctx); err != nil {
		return nil, fmt.Errorf("finish accounts: %w", err)
	}
	if err := r.Meta.EndRebuild(ctx); err != nil {
		return nil, fmt.Errorf("end rebuild: %w", err)
	}
	return &r.report, nil
}

// Merge takes up into a restored database what came into the object store after it was copied: mail that was delivered since, and where
// bodies were moved to. Nothing is given out twice: UIDs go on beyond those that clients may have seen. Nothing may use the stores meanwhile.
// After an error the same call goes on.
func Merge(ctx context.Context, opts Options) (*Report, error) {
	opts.Parallel = cmp.Or(opts.Parallel, 4)
	if opts.Progress == nil {
		opts.Progress = func(string, int, int) {}
	}
	r := &run{Options: opts}
	var err error
	if r.report.Resumed, err = r.Meta.BeginMerge(ctx); err != nil {
		return nil, fmt.Errorf("begin merge: %w", err)
	}
	for after, more := "", true; more; more = after != "" {
		if after, err = r.Meta.LeapAccounts(ctx, after); err != nil {
			return nil, fmt.Errorf("go on beyond what was given out: %w", err)
		}
	}
	if err := r.findGone(ctx); err != nil {
		return nil, fmt.Errorf("compare packs: %w", err)
	}
	if err := r.readPacks(ctx); err != nil {
		return nil, fmt.Errorf("read packs: %w", err)
	}
	if err := r.Meta.EndRebuild(ctx); err != nil {
		return nil, fmt.Errorf("end merge: %w", err)
	}
	return &r.report, nil
}

// findGone notes which packs are not there.
func (r *run) findGone(ctx context.Context) error {
	live, err := r.Meta.LivePacks(ctx)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, key := range live {
		gone[key] = true
	}
	for info, err := range r.Objects.List(ctx, body.KeyPrefix, "") {
		if err != nil {
			return err
		}
		delete(gone, info.Key)
	}
	r.gone, err = r.Meta.FindMissing(ctx, gone)
	return err
}

func (r *run) damaged(key string, err error) {
	r.Log.Warn("object is damaged", "object", key, "error", err)
	r.report.Damaged = append(r.report.Damaged, Damage{key, err.Error()})
}

// finish takes what has no body out of the accounts, and describes them.
func (r *run) finish(ctx context.Context) error {
	taken, err := r.Meta.CameBack(ctx)
	if err != nil {
		return err
	}
	for after := ""; ; {
		accounts, err := r.Meta.UnfinishedAccounts(ctx, after)
		if err != nil || len(accounts) == 0 {
			return err
		}
		for _, id := range accounts {
			after = id
			done, err := r.Meta.FinishAccount(ctx, id)
			if err != nil {
				return err
			}
			r.report.Accounts = append(r.report.Accounts, Account{
				AccountID: id, Address: addressOf(done.Prefixes), Snapshot: taken[id],
				Mailboxes: done.Mailboxes, Messages: done.Messages, Bytes: done.Bytes,
			})
			for _, l := range done.Lost {
				r.report.Lost = append(r.report.Lost, Lost{id, l.Mailbox, l.UID, l.Size, l.Deleted})
			}
			r.Progress(StepFinish, len(r.report.Accounts), 0)
		}
	}
}
