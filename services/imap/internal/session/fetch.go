package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/yubin-mail/yubin/pkg/rpc"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// need says what of a message storage must tell for a FETCH item.
type need struct {
	structure, envelope, preview, header bool
	// record: nothing but the message's record (EMAILID, THREADID).
	record bool
	// whole: all octets, which storage gives with the rest if they are few.
	whole bool
}

func (n need) or(o need) need {
	return need{
		n.structure || o.structure, n.envelope || o.envelope, n.preview || o.preview, n.header || o.header, n.record || o.record, n.whole || o.whole,
	}
}

// fetched is a message on its way to the client.
type fetched struct {
	seq   uint32
	state view.Message
	// of is its mailbox; nil: the selected one.
	of *held
	// info is nil if no item needs anything of storage.
	info *storagev1.Message

	// opened is closed when the first item that is streamed was opened: part is it, or err why it could not be.
	opened chan struct{}
	part   *part
	err    error
}

// fetchItem is a data item of FETCH (RFC 9051 section 6.4.5).
type fetchItem struct {
	name string
	// needs is nil if the view knows enough.
	needs func(item wire.Item) need
	// asked is called before a FETCH in which the item is; nil: nothing is to do.
	asked func(s *session)
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
	if p != nil && p.close != nil {
		p.close()
	}
}

// FETCH and UID FETCH: RFC 9051 section 6.4.5.
func init() {
	register(extension{commands: []command{
		{name: "FETCH", states: selectedState, numbered: true, read: func(s *session) (job, error) { return readFetch(s, false) }},
		{name: "UID FETCH", states: selectedState, read: func(s *session) (job, error) { return readFetch(s, true) }},
	}})
}

func readFetch(s *session, uid bool) (job, error) {
	args, err := s.dec.FetchArgs()
	if err != nil {
		return job{}, err
	}
	if wire.Has(args.Modifiers, "VANISHED") && (!uid || !s.qresync || !wire.Has(args.Modifiers, "CHANGEDSINCE")) {
		return job{}, bad("VANISHED is for UID FETCH with CHANGEDSINCE, after ENABLE QRESYNC") // RFC 7162 section 3.2.6
	}
	if wire.Has(args.Modifiers, "CHANGEDSINCE") && !wire.Has(args.Items, "MODSEQ") {
		args.Items = append(args.Items, wire.Item{Name: "MODSEQ"}) // RFC 7162 section 3.1.4.1
	}
	f := &fetching{FetchArgs: args, uid: uid}
	j := job{run: f.run, quick: !wire.Has(args.Modifiers, "VANISHED")}
	for _, item := range args.Items {
		kind, ok := registered.fetchItems[normalise(item).Name]
		if !ok {
			continue // the grammar has no others
		}
		j.quick = j.quick && kind.needs == nil
		j.alone = j.alone || kind.asked != nil && !s.condstore
		f.seen = f.seen || kind.seen != nil && kind.seen(item)
		f.looks = f.looks || item.Name == "FLAGS" || item.Name == "MODSEQ"
	}
	j.prepare = func(s *session) (claim, error) {
		err := f.prepare(s)
		return claim{messages: f.spans, looks: f.looks, changes: len(f.unseen) > 0}, err
	}
	if f.seen {
		j.change = f.markSeen
	}
	return j, nil
}

// fetching is a FETCH.
type fetching struct {
	wire.FetchArgs
	uid         bool
	seen, looks bool // an item sets \Seen; one tells of flags
	spans       []span
	unseen      []span // those whose \Seen this command sets
	// flagged are the UIDs of those whose \Seen it has set, ascending: their FLAGS are told with them.
	flagged []wire.Range
	code    string // of the tagged response
}

// prepare does what a FETCH asks for by being sent, tells of changes, and finds the messages.
func (f *fetching) prepare(s *session) error {
	for _, item := range f.Items {
		if kind, ok := registered.fetchItems[item.Name]; ok && kind.asked != nil {
			kind.asked(s)
		}
	}
	err := s.tell(f.uid, f.uid)
	if err != nil {
		return err
	}
	if f.spans, err = s.box.resolve(f.Set, f.uid); err != nil {
		return err
	}
	if partial, ok := wire.Arg[partialRange](f.Modifiers, "PARTIAL"); ok {
		f.spans = partial.part(f.spans)
		if err := s.allowed(count(f.spans)); err != nil { // RFC 9738 section 3.1
			return err
		}
	}
	if since, ok := wire.Arg[uint64](f.Modifiers, "CHANGEDSINCE"); ok { // of the part, RFC 9394 section 3.4
		f.spans = s.box.changedSince(f.spans, since)
	}
	if len(f.spans) > 0 {
		f.spans, f.code = s.limited(f.spans)
	}
	f.unseen = nil
	if f.seen && !s.box.readOnly && s.box.may(rightSeen) {
		f.unseen = s.box.lacking(f.spans, storagev1.Flag_FLAG_SEEN)
	}
	return nil
}

// lacking leaves the messages without a flag, having those with it.
func (b *mailbox) lacking(spans []span, flag storagev1.Flag) []span {
	return b.choose(spans, func(m view.Message) bool { return !m.Has(flag) })
}

func (b *mailbox) having(spans []span, flag storagev1.Flag) []span {
	return b.choose(spans, func(m view.Message) bool { return m.Has(flag) })
}

// choose leaves some of the messages.
func (b *mailbox) choose(spans []span, wanted func(view.Message) bool) (out []span) {
	for _, sp := range spans {
		for i, m := range b.told.Range(sp.from, sp.to) {
			switch last := len(out) - 1; {
			case !wanted(m):
			case last >= 0 && out[last].to == i:
				out[last].to++
			default:
				out = append(out, span{i, i + 1})
			}
		}
	}
	return out
}

// markSeen sets \Seen where the items ask for it, in one call, before anything is sent: the flags
// belong into the same responses (RFC 9051 section 6.4.5).
func (f *fetching) markSeen(ctx context.Context, s *session) error {
	add := flagChange{op: wire.StoreAdd, bits: uint32(storagev1.Flag_FLAG_SEEN)}
	return s.storeFlags(ctx, f.unseen, add, func(_ *view.Snapshot, answer *storagev1.StoreFlagsResponse) {
		for _, state := range answer.GetStates() {
			f.flagged = wire.AppendNum(f.flagged, state.GetUid())
		}
	})
}

func (f *fetching) run(ctx context.Context, s *session) (reply, error) {
	if wire.Has(f.Modifiers, "VANISHED") {
		since, _ := wire.Arg[uint64](f.Modifiers, "CHANGEDSINCE")
		if err := s.fetchVanished(ctx, f.Set, since); err != nil {
			return reply{}, err
		}
	}
	if len(f.spans) == 0 {
		return reply{}, nil
	}
	out := newFetcher(s, f.Items, f.uid)
	out.flagged = f.flagged
	if err := out.run(ctx, f.spans); err != nil {
		return reply{}, err
	}
	switch {
	case out.failure != nil:
		return reply{}, out.failure
	case out.missing && !f.uid:
		return s.within(f.code, reply{}, errExpungeIssued)
	}
	return reply{code: f.code}, nil
}

// fetcher is one FETCH in progress.
type fetcher struct {
	s     *session
	items []wire.Item
	kinds []*fetchItem
	needs need
	// first is the index of the first item that is streamed, -1 if there is none.
	first int
	// uid, flags and modseq: UID, FLAGS and MODSEQ are items.
	uid, flags, modseq bool
	// flagged are the UIDs of messages whose FLAGS are told though they are no item, ascending.
	flagged []wire.Range
	missing bool  // a message is gone
	failure error // a message could not be read; the others were sent
	queue   []*fetched
	buf     []byte
}

func newFetcher(s *session, items []wire.Item, uid bool) *fetcher {
	if uid && !s.uidOnly && !wire.Has(items, "UID") {
		items = append([]wire.Item{{Name: "UID"}}, items...)
	}
	f := &fetcher{s: s, first: -1}
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
		f.uid = f.uid || item.Name == "UID"
		f.flags = f.flags || item.Name == "FLAGS"
		f.modseq = f.modseq || item.Name == "MODSEQ"
		if f.first < 0 && kind.open != nil {
			f.first = len(f.items) - 1
		}
	}
	return f
}

// fetchBatch is how many messages one call to storage asks for: several answers' worth, so that storage prepares the next while one is sent.
const fetchBatch = 2048

func (f *fetcher) run(ctx context.Context, spans []span) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.drop()
	defer cancel()
	if f.needs == (need{}) {
		if err := f.known(ctx, spans); err != nil {
			return err
		}
		return f.flush(ctx)
	}
	for batch := range batches(spans, fetchBatch) {
		send := f.batch
		if f.needs == (need{whole: true}) && !f.anySmall(batch) {
			send = f.known
		}
		if err := send(ctx, batch); err != nil {
			return err
		}
	}
	return f.flush(ctx)
}

// known sends messages of which storage need tell nothing beforehand.
func (f *fetcher) known(ctx context.Context, spans []span) error {
	for _, sp := range spans {
		for i, m := range f.s.box.told.Range(sp.from, sp.to) {
			if err := f.message(ctx, i, m, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxWhole is the size in octets of a message that is small: storage gives it with many others, rather than as a stream of its own.
const maxWhole = 128 << 10

// anySmall tells whether a message is small.
func (f *fetcher) anySmall(spans []span) bool {
	for _, sp := range spans {
		for _, m := range f.s.box.told.Range(sp.from, sp.to) {
			if m.Size <= maxWhole {
				return true
			}
		}
	}
	return false
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
	wanted, missing := f.s.box.uidRanges(spans), count(spans)
	for {
		told, err := f.ask(ctx, wanted)
		missing -= told.known
		if told.lost {
			wanted = after(wanted, told.last)
			continue
		}
		if err == nil && missing > 0 {
			f.missing = true
		}
		return err
	}
}

// answered is what came of a call to storage.
type answered struct {
	last  uint32 // the highest UID that it told of, 0 if none
	known int    // messages of those that the client knows
	lost  bool   // the replica of storage was lost when it had begun to answer; before that, gRPC itself has tried others
}

// ask is one call to storage.
func (f *fetcher) ask(ctx context.Context, wanted []*storagev1.UidRange) (told answered, err error) {
	if len(wanted) == 0 {
		return told, nil
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	b := f.s.box
	request := &storagev1.FetchRequest{
		AccountId: b.asked(), MailboxId: b.id, Uids: wanted, Actor: b.actor,
		Structure: f.needs.structure, Envelope: f.needs.envelope, Preview: f.needs.preview, Header: f.needs.header,
	}
	if f.needs.whole {
		request.WholeBytes = maxWhole
	}
	stream, err := f.s.Storage.Fetch(call, request)
	if err != nil {
		return told, err
	}
	for {
		answer, err := recv(stream, f.s.Limits.RPC, cancel)
		if errors.Is(err, io.EOF) {
			return told, nil
		}
		if err != nil {
			told.lost = rpc.Lost(err) && told.last > 0
			return told, err
		}
		for _, info := range answer.GetMessages() {
			told.last = info.GetState().GetUid()
			m, i, ok := b.told.Find(told.last)
			if !ok {
				continue // the client does not know it yet
			}
			told.known++
			if err := f.message(ctx, i, m, info); err != nil {
				return told, err
			}
		}
	}
}

// after gives what of the ranges lies behind a UID.
func after(ranges []*storagev1.UidRange, uid uint32) (rest []*storagev1.UidRange) {
	for _, r := range ranges {
		if r.GetStop() > uid {
			rest = append(rest, &storagev1.UidRange{Start: max(r.GetStart(), uid+1), Stop: r.GetStop()})
		}
	}
	return rest
}

// readAhead is how many messages are opened beyond the one that is sent, so that storage works while the client reads.
const readAhead = 3

// message sends one FETCH response, or lets it wait in the queue until it is opened and its turn comes. The error is of the
// connection, or of a storage that cannot answer.
func (f *fetcher) message(ctx context.Context, index int, state view.Message, info *storagev1.Message) error {
	m := &fetched{seq: uint32(index + 1), state: state, info: info}
	if f.first < 0 {
		return f.send(ctx, m)
	}
	m.opened = make(chan struct{})
	f.queue = append(f.queue, m)
	if len(info.GetWhole()) > 0 {
		f.open(ctx, m) // it need not wait for storage
	} else {
		go f.open(ctx, m)
	}
	if len(f.queue) <= readAhead {
		return nil
	}
	return f.pop(ctx)
}

// open opens the first item that is streamed before anything of the message is sent, so that one that cannot be read is left out whole.
func (f *fetcher) open(ctx context.Context, m *fetched) {
	defer close(m.opened)
	defer func() {
		if p := recover(); p != nil { // as in guarded
			m.err = fmt.Errorf("panic: %v", p)
			f.s.Log.Error("fetch panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	m.part, m.err = f.kinds[f.first].open(ctx, f.s, m, f.items[f.first])
}

// pop sends the message that waits longest. Nothing is sent of one that is gone.
func (f *fetcher) pop(ctx context.Context) error {
	m := f.queue[0]
	f.queue = f.queue[1:]
	<-m.opened
	if m.err != nil {
		return f.leaveOut(m)
	}
	return f.send(ctx, m)
}

// flush sends what waits.
func (f *fetcher) flush(ctx context.Context) error {
	for len(f.queue) > 0 {
		if err := f.pop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets what waits.
func (f *fetcher) drop() {
	for _, m := range f.queue {
		<-m.opened
		m.part.free()
	}
	f.queue = nil
}

// leaveOut passes over a message that cannot be read. That its \Seen was set is told nevertheless.
func (f *fetcher) leaveOut(m *fetched) error {
	err := f.unreadable(m.err)
	if err == nil && f.failure != nil && wire.Contains(f.flagged, m.state.UID) {
		f.s.sendFlags(m.seq, m.state, true)
	}
	return err
}

func (f *fetcher) send(ctx context.Context, m *fetched) error {
	defer func() { m.part.free() }()
	enc := f.s.enc
	f.s.beginFetch(m.seq, m.state.UID)
	for i, kind := range f.kinds {
		if i > 0 {
			enc.SP()
		}
		if kind.render != nil {
			f.buf = kind.render(f.s, m, f.items[i], f.buf[:0])
			enc.RawBytes(f.buf)
			continue
		}
		if i != f.first {
			p, err := kind.open(ctx, f.s, m, f.items[i])
			if err != nil {
				if err := f.unreadable(err); err != nil {
					// The response has begun: only closing the connection keeps the client from taking half for whole.
					return &brokenError{err}
				}
				p = kind.absentPart(f.items[i])
			}
			m.part = p
		}
		err := sendPart(enc, m.part)
		m.part.free()
		if err != nil {
			return err
		}
	}
	if wire.Contains(f.flagged, m.state.UID) {
		if !f.flags {
			enc.RawBytes(appendFlags(append(f.buf[:0], " FLAGS "...), m.state))
		}
		if f.s.condstore && !f.uid && !f.s.uidOnly { // RFC 7162 section 3.2.4
			enc.RawBytes(appendNumber(f.buf[:0], " UID ", uint64(m.state.UID)))
		}
		if f.s.condstore && !f.modseq {
			enc.RawBytes(appendModSeq(append(f.buf[:0], ' '), m.state))
		}
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
