// Package meta is the metadata of the message store: mailboxes, message rows, what was parsed of the messages, and the
// usage events, in SQL that SQLite, PostgreSQL and its distributed kin speak. Every change is one transaction that keeps
// the counters, takes the mailboxes' next modseq and leaves the settlement event of the account.
//
// Errors are faults with a reason; what the database itself reports becomes REASON_UNAVAILABLE.
package meta

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

//go:embed migrations
var migrations embed.FS

// Limits of an account. Zero values take the defaults.
type Limits struct {
	Mailboxes int // 10,000
	Keywords  int // 256
}

// Options of a store.
type Options struct {
	Limits    Limits
	Retention time.Duration // how long deleted messages can be restored
	Now       func() time.Time
	// Committed is called after each commit that changed a mailbox or left an event. It must not block.
	Committed func(Commit)
}

// Commit tells what a transaction made visible.
type Commit struct {
	Changes []Change
	// Events are the accounts for which usage events were left.
	Events []string
}

// Change is a mailbox that changed.
type Change struct {
	AccountID string
	MailboxID uint64
	// Modseq is the highest of the mailbox after the commit.
	Modseq uint64
	// Deleted says that the mailbox is gone.
	Deleted bool
}

// Store is the metadata store.
type Store struct {
	db    *sqldb.DB
	opts  Options
	actor Actor // who asks
}

// New brings the schema of db up to date. The caller closes db.
func New(ctx context.Context, db *sqldb.DB, opts Options) (*Store, error) {
	scripts, err := fs.Sub(migrations, "migrations/"+db.Dialect().Name)
	if err != nil {
		return nil, fmt.Errorf("find migrations: %w", err)
	}
	if err := db.Migrate(ctx, scripts); err != nil {
		return nil, err
	}
	if opts.Limits.Mailboxes <= 0 {
		opts.Limits.Mailboxes = 10_000
	}
	if opts.Limits.Keywords <= 0 {
		opts.Limits.Keywords = 256
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Committed == nil {
		opts.Committed = func(Commit) {}
	}
	return &Store{db: db, opts: opts}, nil
}

// tx is a transaction with what its commit will tell.
type tx struct {
	raw     *sqldb.Tx
	ctx     context.Context
	store   *Store
	actor   Actor
	now     int64 // Unix seconds
	changes map[mailboxKey]Change
	usage   map[string]*delta
	// queue holds statements that run in front of the next query or at the end, with it in one round trip. checks look at their outcomes.
	queue  queue
	checks []func() error
}

type mailboxKey struct {
	account string
	id      uint64
}

// delta is the change of an account's usage in one transaction.
type delta struct {
	bytes, messages int64
	reservations    []string
}

func (s *Store) begin(ctx context.Context, raw *sqldb.Tx) *tx {
	return &tx{
		raw: raw, ctx: ctx, store: s, actor: s.actor, now: s.opts.Now().Unix(),
		changes: map[mailboxKey]Change{}, usage: map[string]*delta{},
	}
}

// change runs fn in a transaction that changes an account, adds the usage event, and tells of the commit.
func (s *Store) change(ctx context.Context, class, account string, fn func(*tx) error) error {
	return s.write(ctx, class, func(t *tx) error {
		if err := t.lockAccounts([]string{account}); err != nil {
			return err
		}
		return fn(t)
	})
}

// write is change for transactions that lock what they need by themselves.
func (s *Store) write(ctx context.Context, class string, fn func(*tx) error) error {
	return s.writeBy(ctx, s.db.Write, class, fn)
}

// writeRelaxed is write that does not wait for the disk: for what may come undone by a loss of power, and then is done again.
func (s *Store) writeRelaxed(ctx context.Context, class string, fn func(*tx) error) error {
	return s.writeBy(ctx, s.db.WriteRelaxed, class, fn)
}

func (s *Store) writeBy(
	ctx context.Context, write func(context.Context, string, func(*sqldb.Tx) error) error, class string, fn func(*tx) error,
) error {
	var t *tx
	err := write(ctx, class, func(raw *sqldb.Tx) error {
		t = s.begin(ctx, raw)
		if err := fn(t); err != nil {
			return err
		}
		if err := t.leaveEvents(); err != nil {
			return err
		}
		return t.flush()
	})
	if err == nil || errors.Is(err, sqldb.ErrUnknownOutcome) { // which may have been committed: a notice too many costs a look
		s.committed(t)
	}
	if err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// committed tells what a transaction has changed.
func (s *Store) committed(t *tx) {
	commit := Commit{
		Changes: slices.Collect(maps.Values(t.changes)),
		Events:  slices.Collect(maps.Keys(t.usage)),
	}
	if len(commit.Events) > 0 || len(commit.Changes) > 0 {
		s.opts.Committed(commit)
	}
}

// read runs fn on a consistent snapshot.
func (s *Store) read(ctx context.Context, class string, fn func(*tx) error) error {
	err := s.db.Read(ctx, class, func(raw *sqldb.Tx) error { return fn(s.begin(ctx, raw)) })
	if err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// unavailable gives errors of the database their reason; faults and the end of the caller's context stay what they are.
func unavailable(ctx context.Context, err error) error {
	if isFault(err) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the message store is not available, try again later")
}

func isFault(err error) bool {
	_, ok := errors.AsType[*fault.Error](err)
	return ok
}

// changed notes a mailbox's modseq for the commit.
func (t *tx) changed(account string, id, modseq uint64) {
	t.changes[mailboxKey{account, id}] = Change{AccountID: account, MailboxID: id, Modseq: modseq}
}

// removed notes that a mailbox is gone.
func (t *tx) removed(account string, id uint64) {
	t.changes[mailboxKey{account, id}] = Change{AccountID: account, MailboxID: id, Deleted: true}
}

// used notes a change of usage for the account's event, and the reservation that it settles, if any.
func (t *tx) used(account string, bytes, messages int64, reservation string) {
	d := t.usage[account]
	if d == nil {
		d = &delta{}
		t.usage[account] = d
	}
	d.bytes += bytes
	d.messages += messages
	if reservation != "" {
		d.reservations = append(d.reservations, reservation)
	}
}
