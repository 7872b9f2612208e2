package session

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// STORE and UID STORE: RFC 9051 section 6.4.6.
func init() {
	register(extension{commands: []command{
		{name: "STORE", states: selectedState, numbered: true, run: func(ctx context.Context, s *session) (reply, error) { return runStore(ctx, s, false) }},
		{name: "UID STORE", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runStore(ctx, s, true) }},
	}})
}

var storeOps = map[wire.StoreOp]storagev1.StoreFlagsRequest_Operation{
	wire.StoreSet:    storagev1.StoreFlagsRequest_OPERATION_SET,
	wire.StoreAdd:    storagev1.StoreFlagsRequest_OPERATION_ADD,
	wire.StoreRemove: storagev1.StoreFlagsRequest_OPERATION_REMOVE,
}

func runStore(ctx context.Context, s *session, uid bool) (reply, error) {
	args, err := s.dec.StoreArgs()
	if err != nil {
		return reply{}, err
	}
	if s.box.readOnly {
		return reply{}, errReadOnly
	}
	bits, keywords, err := splitFlags(args.Flags)
	if err != nil {
		return reply{}, err
	}
	spans, err := s.box.resolve(args.Set, uid)
	if err != nil || len(spans) == 0 {
		return reply{}, err
	}
	call, cancel := s.bulk(ctx)
	defer cancel()
	answer, err := s.Storage.StoreFlags(call, &storagev1.StoreFlagsRequest{
		AccountId: s.accountID(), MailboxId: s.box.id, Uids: s.box.uidRanges(spans),
		Operation: storeOps[args.Op], Flags: bits, Keywords: keywords,
	})
	if err != nil {
		return reply{}, err
	}
	s.await(ctx, answer.GetHighestModseq())
	// What the client is told here, or silently knows, the update after the command need not tell again.
	s.box.told = s.box.told.Replace(answer.GetStates())
	for _, state := range answer.GetStates() {
		if m, i, ok := s.box.told.Find(state.GetUid()); ok && !args.Silent {
			s.sendFlags(uint32(i+1), m, uid)
		}
	}
	if !uid && len(answer.GetStates()) < count(spans) {
		return reply{}, errExpungeIssued // RFC 2180 section 4.2
	}
	return reply{}, nil
}
