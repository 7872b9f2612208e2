package session

import (
	"context"
	"fmt"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// commitAttempts bounds how often a commit is sent whose answer was lost. It is idempotent under its lease.
const commitAttempts = 3

// cmdQuit is RFC 1939 sections 4 and 6. +OK is said after the deletions are durable; with -ERR all of them did not happen.
func (s *Session) cmdQuit(ctx context.Context, _ []string) error {
	if s.state == transaction {
		if err := s.update(ctx); err != nil {
			return quitFailure(err)
		}
		s.closeMaildrop()
	}
	s.say(textBye)
	return errClose
}

func quitFailure(err error) failure {
	if fault.Is(err, rpcv1.Reason_REASON_LEASE_LOST) {
		return failure{code: codeTemporary, text: textLeaseLost, cause: err, closes: true}
	}
	return failure{code: codeTemporary, text: textCommitFailed, cause: err, closes: true}
}

// update is the UPDATE state.
func (s *Session) update(ctx context.Context) error {
	uids := s.drop.marked()
	if len(uids) == 0 {
		return nil
	}
	action, label := deletion(s.account.GetEffectivePopDelete())
	ctx, cancel := s.server.call(ctx)
	defer cancel()
	var err error
	for range commitAttempts {
		err = s.drop.withLease(func(lease string) error {
			_, err := s.server.clients.Storage.CommitMaildrop(ctx, &storagev1.CommitMaildropRequest{
				AccountId: s.drop.accountID, LeaseId: lease, Uids: uids, Action: action,
			})
			return err
		})
		if err == nil {
			s.server.metrics.deleted.WithLabelValues(label).Add(float64(len(s.drop.messages) - s.drop.count))
			return nil
		}
		if !rpc.Transient(err) || fault.Is(err, rpcv1.Reason_REASON_LEASE_LOST) {
			break
		}
	}
	return fmt.Errorf("commit maildrop: %w", err)
}

// deletion says what becomes of deleted messages by the account's policy, with its metric label.
func deletion(policy directoryv1.PopDelete) (storagev1.CommitMaildropRequest_Action, string) {
	switch policy {
	case directoryv1.PopDelete_POP_DELETE_TRASH:
		return storagev1.CommitMaildropRequest_ACTION_TRASH, "trash"
	case directoryv1.PopDelete_POP_DELETE_KEEP:
		return storagev1.CommitMaildropRequest_ACTION_KEEP, "keep"
	}
	return storagev1.CommitMaildropRequest_ACTION_EXPUNGE, "expunge"
}
