package meta

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Faults of leases.
var (
	ErrMaildropInUse = fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_MAILDROP_IN_USE, "another session has the maildrop")
	ErrLeaseLost     = fault.New(codes.Aborted, rpcv1.Reason_REASON_LEASE_LOST, "the maildrop lease was lost; nothing was changed")
)

// Lease is an exclusive POP3 session on an account's INBOX. Leases need not outlive a loss of power, as no session does.
type Lease struct{ AccountID, ID string }

// AcquireLease takes the maildrop for ttl unless another lease is alive (REASON_MAILDROP_IN_USE).
func (s *Store) AcquireLease(ctx context.Context, lease Lease, ttl time.Duration) error {
	return s.SucceedLease(ctx, lease, "", ttl)
}

// SucceedLease is AcquireLease for a session that gives up its previous lease for the new one: who still holds that, on a replica that
// the session has lost, can neither renew nor release the new one.
func (s *Store) SucceedLease(ctx context.Context, lease Lease, previous string, ttl time.Duration) error {
	return s.writeRelaxed(ctx, "acquire_lease", func(t *tx) error {
		n, err := t.exec(`INSERT INTO leases (account_id, lease_id, expires_unix) VALUES (?, ?, ?)
			ON CONFLICT (account_id) DO UPDATE SET lease_id = excluded.lease_id, expires_unix = excluded.expires_unix
			WHERE leases.expires_unix <= ? OR leases.lease_id = ?`, lease.AccountID, lease.ID, t.now+int64(ttl.Seconds()), t.now, previous)
		if err == nil && n == 0 {
			return ErrMaildropInUse
		}
		return err
	})
}

// RenewLeases makes leases last for another ttl and gives those that were lost.
func (s *Store) RenewLeases(ctx context.Context, leases []Lease, ttl time.Duration) (lost []Lease, err error) {
	err = s.writeRelaxed(ctx, "renew_leases", func(t *tx) error {
		lost = nil
		// In order, as another replica may renew or take some of them.
		leases := slices.SortedFunc(slices.Values(leases), func(a, b Lease) int {
			return cmp.Or(strings.Compare(a.AccountID, b.AccountID), strings.Compare(a.ID, b.ID))
		})
		renewed := make([]int64, len(leases))
		for i, lease := range leases {
			t.queue.ExecCount(&renewed[i], `UPDATE leases SET expires_unix = ? WHERE account_id = ? AND lease_id = ?`,
				t.now+int64(ttl.Seconds()), lease.AccountID, lease.ID)
		}
		if err := t.flush(); err != nil {
			return err
		}
		for i, lease := range leases {
			if renewed[i] == 0 {
				lost = append(lost, lease)
			}
		}
		return nil
	})
	return lost, err
}

// ReleaseLease gives the maildrop back.
func (s *Store) ReleaseLease(ctx context.Context, lease Lease) error {
	return s.writeRelaxed(ctx, "release_lease", func(t *tx) error {
		return t.later(`DELETE FROM leases WHERE account_id = ? AND lease_id = ?`, lease.AccountID, lease.ID)
	})
}

// ForgetLeases ends all leases: for the start of the only process on a database, whose predecessor left them.
func (s *Store) ForgetLeases(ctx context.Context) error {
	return s.write(ctx, "forget_leases", func(t *tx) error {
		return t.later(`DELETE FROM leases`)
	})
}

// CommitMaildrop does with messages of the INBOX what the account's policy says, if the lease still holds.
func (s *Store) CommitMaildrop(ctx context.Context, lease Lease, uids uidset.Set, action storagev1.CommitMaildropRequest_Action) error {
	return s.change(ctx, "commit_maildrop", lease.AccountID, func(t *tx) error {
		// An update, so that no other transaction can take the lease before this one ends.
		n, err := t.exec(`UPDATE leases SET expires_unix = expires_unix WHERE account_id = ? AND lease_id = ? AND expires_unix > ?`,
			lease.AccountID, lease.ID, t.now)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrLeaseLost
		}
		inbox, err := t.mailboxNamed(lease.AccountID, names.Inbox)
		if err != nil {
			return err
		}
		chosen, err := t.choose(lease.AccountID, inbox, uids, false, 0)
		if err != nil || len(chosen.list) == 0 {
			return err
		}
		switch action {
		case storagev1.CommitMaildropRequest_ACTION_EXPUNGE:
			_, err = t.expunge(lease.AccountID, inbox, chosen)
		case storagev1.CommitMaildropRequest_ACTION_TRASH:
			err = t.trash(lease.AccountID, inbox, chosen)
		case storagev1.CommitMaildropRequest_ACTION_KEEP:
			err = t.pop(lease.AccountID, inbox, chosen.uids)
		default:
			err = fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "no action for the maildrop's messages")
		}
		return err
	})
}

// trash moves messages to the mailbox of special use Trash, or the one of that name, made if need be.
func (t *tx) trash(account string, inbox *storagev1.Mailbox, chosen *selection) error {
	const use = storagev1.SpecialUse_SPECIAL_USE_TRASH
	target, err := t.specialUse(account, use)
	if err == nil && target == nil {
		if target, err = t.mailboxNamed(account, "Trash"); isFault(err) {
			target, err = t.createMailbox(account, "Trash", use, nil)
		}
	}
	if err != nil {
		return err
	}
	if target.GetMailboxId() == inbox.GetMailboxId() {
		target = inbox
	}
	_, err = t.move(account, inbox, target, chosen, allRights)
	return err
}

// pop marks messages as gone from the maildrop.
func (t *tx) pop(account string, inbox *storagev1.Mailbox, uids uidset.Set) error {
	if err := t.bump(account, inbox, counters{}); err != nil {
		return err
	}
	for _, r := range uids {
		err := t.later(`UPDATE messages SET popped = 1, modseq = ? WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			inbox.GetHighestModseq(), account, inbox.GetMailboxId(), r.Start, r.Stop)
		if err != nil {
			return err
		}
	}
	return nil
}
