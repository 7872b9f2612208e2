package session

import (
	"context"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
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

// flagChange is what STORE does to each message.
type flagChange struct {
	op       wire.StoreOp
	bits     uint32
	keywords []string
	// unchangedSince is the condition of RFC 7162 section 3.1.3; nil: none.
	unchangedSince *uint64
}

func runStore(ctx context.Context, s *session, uid bool) (reply, error) {
	args, err := s.dec.StoreArgs()
	if err != nil {
		return reply{}, err
	}
	if s.box.readOnly {
		return reply{}, errReadOnly
	}
	change := flagChange{op: args.Op}
	if since, ok := wire.Arg[uint64](args.Modifiers, "UNCHANGEDSINCE"); ok {
		s.enableCondstore()
		change.unchangedSince = &since
	}
	if change.bits, change.keywords, err = splitFlags(args.Flags); err != nil {
		return reply{}, err
	}
	spans, err := s.box.resolve(args.Set, uid)
	if err != nil {
		return reply{}, err
	}
	spans, limit := s.limited(spans)
	there := 0
	var modified []*storagev1.UidRange
	err = s.storeFlags(ctx, spans, change, func(before *view.Snapshot, answer *storagev1.StoreFlagsResponse) {
		modified = append(modified, answer.GetModified()...)
		there += len(answer.GetStates())
		for _, r := range answer.GetModified() {
			there += int(r.GetStop()-r.GetStart()) + 1
		}
		for _, state := range answer.GetStates() {
			m, i, ok := s.box.told.Find(state.GetUid())
			if !ok {
				continue
			}
			seq := uint32(i + 1)
			switch old := before.At(i); {
			// RFC 9051 section 6.4.6: what another session changed is told even if .SILENT was asked for.
			case !args.Silent, !change.explains(old, m):
				s.sendFlags(seq, m, uid)
			// RFC 7162 section 3.1.3: the modification sequence is told in any case.
			case s.condstore && (change.unchangedSince != nil || m.ModSeq != old.ModSeq):
				s.sendChange(seq, m, uid, appendModSeq(nil, m))
			}
		}
	})
	if fault.Is(err, rpcv1.Reason_REASON_LIMIT) && !s.box.full {
		s.box.full = true // RFC 9051 section 7.1, PERMANENTFLAGS
		s.enc.Untagged(wire.StatusOK, "PERMANENTFLAGS "+s.box.permanentFlags(), "no more keywords")
	}
	if err != nil {
		return reply{}, err
	}
	r, err := s.stored(modified, uid, !uid && there < count(spans))
	return s.within(limit, r, err)
}

// stored ends a STORE. modified has failed UNCHANGEDSINCE; missing: some messages are gone.
func (s *session) stored(modified []*storagev1.UidRange, uid, missing bool) (reply, error) {
	failed := s.box.numbers(modified, uid)
	code := ""
	if len(failed) > 0 {
		code = string(wire.AppendRanges([]byte("MODIFIED "), failed))
	}
	switch {
	case missing && code != "": // RFC 7162 section 3.1.3, example 11
		return reply{}, no(code, errExpungeIssued.Error())
	case missing:
		return reply{}, errExpungeIssued // RFC 2180 section 4.2
	case code != "":
		return reply{code: code, text: "some messages were changed by others"}, nil
	}
	return reply{}, nil
}

// storeBatch is how many messages one call to storage changes.
const storeBatch = 20_000

// storeFlags changes messages and calls done after each batch, with what the client was told before. What the client
// is told by done, or silently knows, the update after the command does not tell again.
func (s *session) storeFlags(ctx context.Context, spans []span, change flagChange, done func(before *view.Snapshot, answer *storagev1.StoreFlagsResponse)) error {
	for batch := range batches(spans, storeBatch) {
		var answer *storagev1.StoreFlagsResponse
		err := s.box.view.Change(func() (outcome view.Outcome, err error) {
			answer, err = s.storeBatch(ctx, batch, change)
			return view.Outcome{Previous: answer.GetPreviousModseq(), ModSeq: answer.GetHighestModseq(), States: answer.GetStates()}, err
		})
		if err != nil {
			return err
		}
		s.await(ctx, answer.GetHighestModseq())
		before := s.box.told
		s.box.replace(answer)
		done(before, answer)
	}
	return nil
}

// replace notes what the client is told of its own change.
func (b *mailbox) replace(answer *storagev1.StoreFlagsResponse) {
	before := b.told.ModSeq
	b.told = b.told.Replace(answer.GetStates())
	b.own = answer.GetHighestModseq()
	b.noteStates(answer.GetStates())
	if answer.GetPreviousModseq() != before {
		return // others have changed something, too, which is to be told
	}
	b.told.ModSeq = answer.GetHighestModseq()
	if b.settled == before {
		b.settled = b.told.ModSeq
	}
}

func (s *session) storeBatch(ctx context.Context, spans []span, change flagChange) (*storagev1.StoreFlagsResponse, error) {
	ctx, cancel := s.bulk(ctx)
	defer cancel()
	request := &storagev1.StoreFlagsRequest{
		AccountId: s.box.asked(), MailboxId: s.box.id, Uids: s.box.uidRanges(spans), Actor: s.box.actor,
		Operation: storeOps[change.op], Flags: change.bits, Keywords: change.keywords, UnchangedSince: change.unchangedSince,
	}
	answer, err := s.Storage.StoreFlags(ctx, request)
	if rpc.Lost(err) && change.unchangedSince == nil { // without a condition, made twice is made once
		answer, err = s.Storage.StoreFlags(ctx, request)
	}
	return answer, err
}

// explains tells whether a message is as a client expects that knew it as before and made the change.
func (c flagChange) explains(before, after view.Message) bool {
	bits, keywords := uint32(before.Flags), before.Keywords()
	switch c.op {
	case wire.StoreAdd:
		bits |= c.bits
		keywords = append(keywords, c.keywords...)
	case wire.StoreRemove:
		bits &^= c.bits
		keywords = slices.DeleteFunc(keywords, func(k string) bool { return hasFold(c.keywords, k) })
	default:
		bits, keywords = c.bits, c.keywords
	}
	now := after.Keywords()
	return bits == uint32(after.Flags) &&
		!slices.ContainsFunc(keywords, func(k string) bool { return !hasFold(now, k) }) &&
		!slices.ContainsFunc(now, func(k string) bool { return !hasFold(keywords, k) })
}

// hasFold tells whether a keyword is among others, whatever its case.
func hasFold(keywords []string, keyword string) bool {
	return slices.ContainsFunc(keywords, func(k string) bool { return strings.EqualFold(k, keyword) })
}
