package session

import (
	"context"
	"errors"
	"io"
	"slices"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// need says what of a message storage must tell for a FETCH item.
type need struct {
	structure, envelope, preview, header bool
	// record: nothing but the message's record (EMAILID, THREADID).
	record bool
}

func (n need) or(o need) need {
	return need{n.structure || o.structure, n.envelope || o.envelope, n.preview || o.preview, n.header || o.header, n.record || o.record}
}

// fetched is a message on its way to the client.
type fetched struct {
	seq   uint32
	state view.Message
	// info is nil if no item needs anything of storage.
	info *storagev1.Message
}

// fetchItem is a data item of FETCH (RFC 9051 section 6.4.5).
type fetchItem struct {
	name string
	// needs is nil if the view knows enough.
	needs func(item wire.Item) need
	// seen tells whether the item sets \Seen; nil: it does not.
	seen func(item wire.Item) bool
	// render appends the item's name and value. Exactly one of render and open is set.
	render func(s *session, m *fetched, item wire.Item, dst []byte) []byte
	// absent is the value if the part is gone; "" is NIL.
	absent string
	// open finds octets that are streamed.
	open func(ctx context.Context, s *session, m *fetched, item wire.Item) (*part, error)
}

// part is the value of an item that may be streamed.
type part struct {
	// label is the item's name in the response.
	label []byte
	// absent: the value is NIL.
	absent bool
	// number: the label has the value in it.
	number bool
	size   uint64
	binary bool // it holds NUL, and goes as a literal8
	body   io.Reader
	close  func()
}

func (p *part) free() {
	if p.close != nil {
		p.close()
	}
}

// FETCH and UID FETCH: RFC 9051 section 6.4.5.
func init() {
	register(extension{commands: []command{
		{name: "FETCH", states: selectedState, numbered: true, run: func(ctx context.Context, s *session) (reply, error) { return runFetch(ctx, s, false) }},
		{name: "UID FETCH", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runFetch(ctx, s, true) }},
	}})
}

func runFetch(ctx context.Context, s *session, uid bool) (reply, error) {
	args, err := s.dec.FetchArgs()
	if err != nil {
		return reply{}, err
	}
	if err := s.tell(uid, uid); err != nil {
		return reply{}, err
	}
	spans, err := s.box.resolve(args.Set, uid)
	if err != nil || len(spans) == 0 {
		return reply{}, err
	}
	f := newFetcher(s, args.Items, uid)
	if err := f.markSeen(ctx, spans); err != nil {
		return reply{}, err
	}
	if err := f.run(ctx, spans); err != nil {
		return reply{}, err
	}
	switch {
	case f.failure != nil:
		return reply{}, f.failure
	case f.missing && !uid:
		return reply{}, errExpungeIssued
	}
	return reply{}, nil
}

// fetcher is one FETCH in progress.
type fetcher struct {
	s     *session
	items []wire.Item
	kinds []*fetchItem
	needs need
	seen  bool
	// flagged are the UIDs whose \Seen this command has set, ascending: their FLAGS are told with them.
	flagged []wire.Range
	missing bool  // a message is gone
	failure error // a message could not be read; the others were sent
	buf     []byte
}

func newFetcher(s *session, items []wire.Item, uid bool) *fetcher {
	if uid && !wire.Has(items, "UID") {
		items = append([]wire.Item{{Name: "UID"}}, items...)
	}
	f := &fetcher{s: s}
	for _, item := range items {
		item = normalise(item)
		kind, ok := registered.fetchItems[item.Name]
		if !ok {
			continue // the grammar has no others
		}
		f.items, f.kinds = append(f.items, item), append(f.kinds, kind)
		if kind.needs != nil {
			f.needs = f.needs.or(kind.needs(item))
		}
		f.seen = f.seen || kind.seen != nil && kind.seen(item)
	}
	return f
}

// markSeen sets \Seen where the items ask for it, in one call, before anything is sent: the flags
// belong into the same responses (RFC 9051 section 6.4.5).
func (f *fetcher) markSeen(ctx context.Context, spans []span) error {
	b := f.s.box
	if !f.seen || b.readOnly {
		return nil
	}
	var unseen []wire.Range
	for _, sp := range spans {
		for _, m := range b.told.Range(sp.from, sp.to) {
			if !m.Has(storagev1.Flag_FLAG_SEEN) {
				unseen = wire.AppendNum(unseen, m.UID)
			}
		}
	}
	if len(unseen) == 0 {
		return nil
	}
	call, cancel := f.s.bulk(ctx)
	defer cancel()
	answer, err := f.s.Storage.StoreFlags(call, &storagev1.StoreFlagsRequest{
		AccountId: f.s.accountID(), MailboxId: b.id, Uids: protoRanges(unseen),
		Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_SEEN),
	})
	if err != nil {
		return err
	}
	f.s.await(ctx, answer.GetHighestModseq())
	b.told = b.told.Replace(answer.GetStates())
	for _, state := range answer.GetStates() {
		f.flagged = wire.AppendNum(f.flagged, state.GetUid())
	}
	return nil
}

// fetchBatch is how many messages one call to storage asks for.
const fetchBatch = 256

func (f *fetcher) run(ctx context.Context, spans []span) error {
	for _, sp := range spans {
		if f.needs == (need{}) {
			for i, m := range f.s.box.told.Range(sp.from, sp.to) {
				if err := f.message(ctx, &fetched{seq: uint32(i + 1), state: m}); err != nil {
					return err
				}
			}
		}
	}
	if f.needs == (need{}) {
		return nil
	}
	for batch := range batches(spans, fetchBatch) {
		if err := f.batch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// batches cuts spans into groups of at most n messages.
func batches(spans []span, n int) func(yield func([]span) bool) {
	return func(yield func([]span) bool) {
		var group []span
		room := n
		for _, sp := range spans {
			for sp.from < sp.to {
				take := min(room, sp.to-sp.from)
				group = append(group, span{sp.from, sp.from + take})
				sp.from += take
				if room -= take; room == 0 {
					if !yield(group) {
						return
					}
					group, room = nil, n
				}
			}
		}
		if len(group) > 0 {
			yield(group)
		}
	}
}

// batch asks storage about some messages and sends them as they come.
func (f *fetcher) batch(ctx context.Context, spans []span) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := f.s.box
	stream, err := f.s.Storage.Fetch(ctx, &storagev1.FetchRequest{
		AccountId: f.s.accountID(), MailboxId: b.id, Uids: b.uidRanges(spans),
		Structure: f.needs.structure, Envelope: f.needs.envelope, Preview: f.needs.preview, Header: f.needs.header,
	})
	if err != nil {
		return err
	}
	want := count(spans)
	for {
		answer, err := recv(stream, f.s.Limits.RPC, cancel)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, info := range answer.GetMessages() {
			m, i, ok := b.told.Find(info.GetState().GetUid())
			if !ok {
				continue // the client does not know it yet
			}
			want--
			if err := f.message(ctx, &fetched{seq: uint32(i + 1), state: m, info: info}); err != nil {
				return err
			}
		}
	}
	f.missing = f.missing || want > 0
	return nil
}

// message sends one FETCH response. Nothing is sent of a message that is gone. The error is
// of the connection, or of a storage that cannot answer.
func (f *fetcher) message(ctx context.Context, m *fetched) error {
	parts := make([]*part, len(f.items))
	defer func() {
		for _, p := range parts {
			if p != nil {
				p.free()
			}
		}
	}()
	first := slices.IndexFunc(f.kinds, func(k *fetchItem) bool { return k.open != nil })
	if first >= 0 {
		// The first one is opened before anything is sent, so that a message that cannot be read is left out whole.
		p, err := f.kinds[first].open(ctx, f.s, m, f.items[first])
		if err != nil {
			return f.unreadable(err)
		}
		parts[first] = p
	}
	return f.send(ctx, m, parts)
}

func (f *fetcher) send(ctx context.Context, m *fetched, parts []*part) error {
	enc := f.s.enc
	enc.Star().Num(uint64(m.seq)).Raw(" FETCH (")
	for i, kind := range f.kinds {
		if i > 0 {
			enc.SP()
		}
		if kind.render != nil {
			f.buf = kind.render(f.s, m, f.items[i], f.buf[:0])
			enc.RawBytes(f.buf)
			continue
		}
		if parts[i] == nil {
			p, err := kind.open(ctx, f.s, m, f.items[i])
			if err != nil {
				if err := f.unreadable(err); err != nil {
					// The response has begun: only closing the connection keeps the client from taking half for whole.
					return &brokenError{err}
				}
				p = kind.absentPart(f.items[i])
			}
			parts[i] = p
		}
		if err := sendPart(enc, parts[i]); err != nil {
			return err
		}
		parts[i].free()
		parts[i] = nil
	}
	if wire.Contains(f.flagged, m.state.UID) && !slices.ContainsFunc(f.items, func(i wire.Item) bool { return i.Name == "FLAGS" }) {
		enc.Raw(" FLAGS ").Flags(flagNames(m.state))
	}
	enc.Close().CRLF()
	if err := enc.Err(); err != nil {
		return &brokenError{err}
	}
	return nil
}

// absentPart is the value of an item that cannot be had.
func (k *fetchItem) absentPart(item wire.Item) *part {
	if k.absent == "" {
		return &part{label: sectionLabel(item), absent: true}
	}
	return &part{label: append(sectionLabel(item), " "+k.absent...), number: true}
}

func sendPart(enc *wire.Encoder, p *part) error {
	enc.RawBytes(p.label)
	if p.number {
		return nil
	}
	enc.SP()
	if p.absent {
		enc.Nil()
		return nil
	}
	literal := enc.Literal
	if p.binary {
		literal = enc.Literal8
	}
	if err := literal(int64(p.size), p.body); err != nil {
		return &brokenError{err}
	}
	return nil
}

// unreadable notes why a message, or a part of it, was left out. It returns an error that ends the command.
func (f *fetcher) unreadable(err error) error {
	switch {
	case isGone(err):
		f.missing = true
	case isPartFailure(err):
		f.failure = err
	default:
		return err
	}
	return nil
}
