package session

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// COPY and UID COPY: RFC 9051 section 6.4.7; MOVE and UID MOVE: section 6.4.8, RFC 6851.
func init() {
	register(extension{
		capabilities: []capability{{name: "MOVE", when: whenLoggedIn}},
		commands: []command{
			{name: "COPY", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runCopy(ctx, s, false) }},
			{name: "UID COPY", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runCopy(ctx, s, true) }},
			{name: "MOVE", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runMove(ctx, s, false) }},
			{name: "UID MOVE", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runMove(ctx, s, true) }},
		},
	})
}

// copyArgs reads the arguments and finds the messages. The target must be there also if they are not (RFC 9051 section 6.4.7).
func (s *session) copyArgs(ctx context.Context, uid bool) (spans []span, target place, err error) {
	args, err := s.dec.CopyArgs()
	if err != nil {
		return nil, place{}, err
	}
	if spans, err = s.box.resolve(args.Set, uid); err != nil {
		return nil, place{}, err
	}
	target, err = s.locate(ctx, args.Mailbox)
	if err == nil && (len(spans) == 0 || target.actor != nil) {
		target, err = s.asTarget(ctx, target)
	}
	return spans, target, tryCreate(err)
}

// intoAccount is what COPY, MOVE and REPLACE say of the account that messages go to: nothing if they stay in theirs.
func (b *mailbox) intoAccount(target place) string {
	if target.account == b.account {
		return ""
	}
	return target.account
}

const (
	// maxCopy is how many messages one COPY takes: all or none are copied, so that it cannot be cut into calls, and
	// their UIDs must fit into one answer.
	maxCopy = 500_000
	// moveBatch is how many messages one call moves. A MOVE may end part of the way (RFC 6851 section 3.3).
	moveBatch = 100_000
)

func runCopy(ctx context.Context, s *session, uid bool) (reply, error) {
	spans, target, err := s.copyArgs(ctx, uid)
	if err != nil || len(spans) == 0 {
		return reply{}, err
	}
	if err := s.allowed(count(spans)); err != nil {
		return reply{}, err
	}
	if count(spans) > maxCopy {
		return reply{}, no("LIMIT", "at most "+itoa(maxCopy)+" messages are copied at once")
	}
	call, cancel := s.bulk(ctx)
	defer cancel()
	from := s.reaching(s.box.holder, target.holder)
	var answer *storagev1.CopyResponse
	err = s.working(func() (err error) {
		answer, err = s.Storage.Copy(call, &storagev1.CopyRequest{
			AccountId: from.asked(), MailboxId: s.box.id, Uids: s.box.uidRanges(spans),
			ToMailbox: target.name, ToAccountId: s.box.intoAccount(target), Actor: from.actor,
		})
		return err
	})
	if err != nil {
		return reply{}, tryCreate(err)
	}
	s.seeTarget(ctx, target, answer.GetMapping())
	return reply{code: copyUID(target, answer.GetMapping())}, nil
}

func runMove(ctx context.Context, s *session, uid bool) (reply, error) {
	spans, target, err := s.copyArgs(ctx, uid)
	if err != nil || len(spans) == 0 {
		return reply{}, err
	}
	if s.box.readOnly {
		return reply{}, errReadOnly
	}
	spans, limit := s.limited(spans)
	for batch := range batches(spans, moveBatch) {
		if err := s.move(ctx, batch, target); err != nil {
			return reply{}, err
		}
	}
	r, err := s.settle(true, uid)
	return s.within(limit, r, err)
}

func (s *session) move(ctx context.Context, spans []span, target place) error {
	call, cancel := s.bulk(ctx)
	defer cancel()
	from := s.reaching(s.box.holder, target.holder)
	var answer *storagev1.MoveResponse
	err := s.box.view.Change(func() (outcome view.Outcome, err error) {
		err = s.working(func() (err error) {
			answer, err = s.Storage.Move(call, &storagev1.MoveRequest{
				AccountId: from.asked(), MailboxId: s.box.id, Uids: s.box.uidRanges(spans),
				ToMailbox: target.name, ToAccountId: s.box.intoAccount(target), Actor: from.actor,
			})
			return err
		})
		outcome = view.Outcome{Previous: answer.GetPreviousModseq(), ModSeq: answer.GetHighestModseq()}
		for _, r := range rangesOf(answer.GetMapping().GetSource()) {
			outcome.Vanished = append(outcome.Vanished, &storagev1.UidRange{Start: r.Start, Stop: r.Stop})
		}
		return outcome, err
	})
	if err != nil {
		return tryCreate(err)
	}
	// RFC 6851 section 4.3: COPYUID comes before the EXPUNGE responses.
	if code := copyUID(target, answer.GetMapping()); code != "" {
		s.enc.Untagged(wire.StatusOK, code, "moved")
	}
	s.await(ctx, answer.GetHighestModseq())
	s.seeTarget(ctx, target, answer.GetMapping())
	return nil
}

// seeTarget has the copies seen where a session of this gateway has the target selected.
func (s *session) seeTarget(ctx context.Context, target place, m *storagev1.UidMapping) {
	if s.isSelected(target.key(m.GetMailboxId())) {
		s.noteAdded(m.GetDestination())
		s.refresh(ctx)
		return
	}
	s.Views.Touch(target.account, m.GetMailboxId())
}

// copyUID gives the COPYUID code (RFC 4315 section 3), "" if nothing was copied, or it is not to be told.
func copyUID(target place, m *storagev1.UidMapping) string {
	if len(m.GetSource()) == 0 || target.blind {
		return ""
	}
	code := []byte("COPYUID " + itoa(uint64(m.GetUidValidity())) + " ")
	code = wire.AppendRanges(code, rangesOf(m.GetSource()))
	code = append(code, ' ')
	return string(wire.AppendRanges(code, rangesOf(m.GetDestination())))
}

// rangesOf keeps the order of the numbers: the two sets of COPYUID correspond.
func rangesOf(numbers []uint32) []wire.Range {
	var out []wire.Range
	for _, n := range numbers {
		out = wire.AppendNum(out, n)
	}
	return out
}
