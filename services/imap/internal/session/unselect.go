package session

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// CLOSE, UNSELECT, EXPUNGE, UID EXPUNGE: RFC 9051 section 6.4.1 to 6.4.3 and 6.4.9. CHECK: RFC 3501 section 6.4.1.
func init() {
	register(extension{
		capabilities: []capability{{name: "UNSELECT"}, {name: "UIDPLUS"}},
		commands: []command{
			{name: "CHECK", states: selectedState, run: runNoop},
			{name: "CLOSE", states: selectedState, run: runClose},
			{name: "UNSELECT", states: selectedState, run: runUnselect},
			{name: "EXPUNGE", states: selectedState, run: runExpunge},
			{name: "UID EXPUNGE", states: selectedState, run: runUIDExpunge},
		},
	})
}

func runClose(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	// RFC 4314 section 4: who may not expunge closes without.
	if !s.box.readOnly && s.box.may(rightErase) {
		ctx, cancel := s.bulk(ctx)
		defer cancel()
		if _, err := s.Storage.Expunge(ctx, &storagev1.ExpungeRequest{AccountId: s.box.asked(), MailboxId: s.box.id, Actor: s.box.actor}); err != nil {
			return reply{}, err
		}
		s.Views.Touch(s.box.account, s.box.id)
	}
	s.unselect()
	return reply{}, nil
}

func runUnselect(_ context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	s.unselect()
	return reply{}, nil
}

func runExpunge(ctx context.Context, s *session) (reply, error) {
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	return s.expunge(ctx, nil)
}

func runUIDExpunge(ctx context.Context, s *session) (reply, error) {
	set, err := s.dec.SetArg()
	if err != nil {
		return reply{}, err
	}
	spans, err := s.box.resolve(set, true)
	if err != nil || len(spans) == 0 {
		return reply{}, err
	}
	if s.allowed(count(spans)) != nil {
		spans = s.box.having(spans, storagev1.Flag_FLAG_DELETED) // only they count (RFC 9738 section 3.1)
	}
	if len(spans) == 0 {
		return reply{}, nil
	}
	spans, limit := s.limited(spans)
	r, err := s.expunge(ctx, s.box.uidRanges(spans))
	return s.within(limit, r, err)
}

var errReadOnly = no("CANNOT", "the mailbox is selected read-only")

// expunge removes messages with \Deleted; no uids: all of them.
func (s *session) expunge(ctx context.Context, uids []*storagev1.UidRange) (reply, error) {
	if s.box.readOnly {
		return reply{}, errReadOnly
	}
	call, cancel := s.bulk(ctx)
	defer cancel()
	var answer *storagev1.ExpungeResponse
	err := s.box.view.Change(func() (outcome view.Outcome, err error) {
		err = s.working(func() (err error) {
			answer, err = s.Storage.Expunge(call, &storagev1.ExpungeRequest{AccountId: s.box.asked(), MailboxId: s.box.id, Uids: uids, Actor: s.box.actor})
			return err
		})
		return view.Outcome{Previous: answer.GetPreviousModseq(), ModSeq: answer.GetHighestModseq(), Vanished: answer.GetExpunged()}, err
	})
	if err != nil {
		return reply{}, err
	}
	s.await(ctx, answer.GetHighestModseq())
	return s.settle(len(answer.GetExpunged()) > 0, uids != nil)
}
