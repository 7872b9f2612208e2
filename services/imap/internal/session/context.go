package session

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// CONTEXT=SEARCH and CONTEXT=SORT: RFC 5267, with what RFC 5465 section 7 adds to UPDATE. A client hears how the results of a search change. Only
// messages that are new, or whose flags have changed, are looked at again. CONTEXT is a hint that is not needed.
func init() {
	register(extension{
		capabilities: []capability{{name: "CONTEXT=SEARCH", when: whenLoggedIn}, {name: "CONTEXT=SORT", when: whenLoggedIn}},
		commands:     []command{{name: "CANCELUPDATE", states: selectedState, run: runCancelUpdate}},
		grammar: func(g *wire.Grammar) {
			g.Register(wire.SearchReturns, "CONTEXT", nil)
			g.Register(wire.SearchReturns, "UPDATE", func(d *wire.Decoder) any {
				if !d.Ahead(" (") {
					return nil
				}
				d.SP()
				return d.ItemList(wire.FetchItems)
			})
		},
	})
}

const (
	// maxContexts is how many searches of a session are kept up to date.
	maxContexts = 8
	// maxContextRuns bounds the results of one, by the runs of UIDs, maxContextSorted those of one that sorts, by messages.
	maxContextRuns   = 20_000
	maxContextSorted = 10_000
)

// updating is a search whose results are kept up to date.
type updating struct {
	tag string
	in  *held // the mailbox, if it must be told
	uid bool
	// key has no sequence numbers: they were those of when the command came (RFC 5267 section 4.3).
	key wire.SearchKey
	// fetch is what new results come with.
	fetch []wire.Item
	// found are the UIDs of the results; with an order they are sorted.
	found  []wire.Range
	order  *ordering
	sorted []*sortable
}

// checkUpdate refuses the tag of a search that is kept up to date.
func (s *session) checkUpdate(options []wire.Item) error {
	if s.box != nil && wire.Has(options, "UPDATE") && slices.ContainsFunc(s.box.contexts, func(u *updating) bool { return u.tag == s.tag }) {
		return bad("tag reuse")
	}
	return nil
}

// keepUpdated keeps the results of a search up to date, if that is asked for and not too much.
func (s *session) keepUpdated(options []wire.Item, u updating) {
	if !wire.Has(options, "UPDATE") {
		return
	}
	if len(s.box.contexts) >= maxContexts || u.tooMuch() {
		s.refuseUpdate(s.tag)
		return
	}
	u.tag, u.key = s.tag, s.box.frozen(u.key)
	u.fetch, _ = wire.Arg[[]wire.Item](options, "UPDATE")
	s.box.contexts = append(s.box.contexts, &u)
}

func (u *updating) tooMuch() bool {
	return len(u.found) > maxContextRuns || len(u.sorted) > maxContextSorted
}

// refuseUpdate: RFC 5267 section 4.3.1.
func (s *session) refuseUpdate(tag string) {
	s.enc.Untagged(wire.StatusNO, `NOUPDATE "`+tag+`"`, "too many contexts, or results")
}

// frozen has UIDs instead of sequence numbers and of the search result variable.
func (b *mailbox) frozen(k wire.SearchKey) wire.SearchKey {
	if k.Op == wire.SearchSeq || k.Set.SearchRes {
		spans := b.resolveSearch(k.Set, k.Op == wire.SearchUID)
		k.Op, k.Set = wire.SearchUID, wire.NumSet{Ranges: wireRanges(b.uidRanges(spans))}
	}
	k.Keys = slices.Clone(k.Keys)
	for i := range k.Keys {
		k.Keys[i] = b.frozen(k.Keys[i])
	}
	return k
}

func runCancelUpdate(_ context.Context, s *session) (reply, error) {
	var tags []string
	for d := s.dec; len(tags) == 0 || d.Err() == nil && d.Ahead(" "); {
		d.SP()
		tags = append(tags, d.AString())
	}
	if err := s.dec.End(); err != nil {
		return reply{}, err
	}
	for _, tag := range tags {
		if !slices.ContainsFunc(s.box.contexts, func(u *updating) bool { return u.tag == tag }) {
			return reply{}, bad("no search of that tag is kept up to date")
		}
	}
	s.box.contexts = slices.DeleteFunc(s.box.contexts, func(u *updating) bool { return slices.Contains(tags, u.tag) })
	return reply{text: "no further updates"}, nil
}

// noteChanges is called before the client is told of changes: what is gone leaves the results at once, while it still has its sequence number; what has
// changed is looked at by tellContexts.
func (s *session) noteChanges(now *view.Snapshot, update view.Update, expunge bool) {
	b := s.box
	if len(b.contexts) == 0 {
		b.stale, b.fresh = nil, 0
		return
	}
	gone := update.ExpungedUIDs
	if !expunge {
		gone = view.Diff(b.told, now, true).ExpungedUIDs
	}
	gone = slices.Sorted(slices.Values(gone))
	for _, u := range b.contexts {
		if removed := u.among(gone); len(removed) > 0 {
			s.beginESearch(u.tag, u.in, u.uid)
			s.sendRemoved(u, removed)
			s.enc.CRLF()
		}
	}
	for _, c := range update.Changed {
		b.stale = append(b.stale, c.Message.UID)
	}
	for _, m := range update.Told.Range(update.Told.Seek(b.told.LastUID()+1), update.Told.Len()) {
		b.stale = append(b.stale, m.UID)
		b.fresh = cmp.Or(b.fresh, m.UID)
	}
}

// noteStates notes what the client itself has changed.
func (b *mailbox) noteStates(states []*storagev1.MessageState) {
	if len(b.contexts) == 0 {
		return
	}
	for _, m := range states {
		b.stale = append(b.stale, m.GetUid())
	}
}

// tellContexts tells how results have changed.
func (s *session) tellContexts(ctx context.Context) error {
	b := s.box
	if len(b.stale) == 0 {
		return nil
	}
	stale, fresh := b.stale, b.fresh
	b.stale, b.fresh = nil, 0
	slices.Sort(stale)
	stale = slices.Compact(stale)
	now := b.view.Snapshot()
	there := slices.DeleteFunc(slices.Clone(stale), func(uid uint32) bool {
		_, _, told := b.told.Find(uid)
		_, _, still := now.Find(uid)
		return !told || !still
	})
	for _, u := range slices.Clone(b.contexts) {
		err := s.tellContext(ctx, u, there, fresh)
		if err != nil && !fatal(err) {
			s.Log.Warn("results are brought up to date later", "session", s.id, "error", err)
			b.stale, b.fresh = append(stale, b.stale...), fresh
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellContext tells how the results of a search have changed by messages, of which those from fresh on are new.
func (s *session) tellContext(ctx context.Context, u *updating, uids []uint32, fresh uint32) error {
	match, err := s.matchesNow(ctx, u.key, uids)
	if err != nil {
		return err
	}
	had := u.among(uids)
	removed := slices.DeleteFunc(slices.Clone(had), func(uid uint32) bool { return slices.Contains(match, uid) })
	added := slices.DeleteFunc(match, func(uid uint32) bool {
		_, found := slices.BinarySearch(had, uid)
		return found
	})
	if len(removed)+len(added) == 0 {
		return nil
	}
	var sorted []*sortable
	if u.order != nil && len(added) > 0 {
		if sorted, err = s.learn(ctx, protoRanges(rangesOf(added)), u.order.facts, nil); err != nil {
			return err
		}
	}
	if arrived := since(added, fresh); len(u.fetch) > 0 && len(arrived) > 0 { // and not what only its flags have made a result (RFC 5465 section 7)
		f := newFetcher(s, u.fetch, false) // which sets no \Seen: nobody has read it
		if err := f.run(ctx, s.box.uidSpans(rangesOf(arrived))); err != nil {
			return err
		}
	}
	s.beginESearch(u.tag, u.in, u.uid)
	if len(removed) > 0 {
		s.sendRemoved(u, removed)
	}
	if len(added) > 0 {
		s.sendAdded(u, added, sorted)
	}
	s.enc.CRLF()
	if u.tooMuch() {
		s.box.contexts = slices.DeleteFunc(s.box.contexts, func(o *updating) bool { return o == u })
		s.refuseUpdate(u.tag)
	}
	return nil
}

// since gives those of some UIDs in ascending order that are not below first; 0: none.
func since(uids []uint32, first uint32) []uint32 {
	if first == 0 {
		return nil
	}
	i, _ := slices.BinarySearch(uids, first)
	return uids[i:]
}

// matchesNow gives those of some messages that a search finds.
func (s *session) matchesNow(ctx context.Context, key wire.SearchKey, uids []uint32) (found []uint32, err error) {
	if len(uids) == 0 {
		return nil, nil
	}
	b := s.box
	criteria, err := s.criteria(b, key)
	if err != nil {
		return nil, err
	}
	if match := stateMatcher(criteria); match != nil {
		for _, uid := range uids {
			if m, _, ok := b.told.Find(uid); ok && match(m) {
				found = append(found, uid)
			}
		}
		return found, nil
	}
	some := &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{Uids: protoRanges(rangesOf(uids))}}}
	both := &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AllOf{AllOf: &storagev1.SearchCriteria_List{
		Criteria: []*storagev1.SearchCriteria{some, criteria},
	}}}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	answer, err := s.searchOnce(ctx, &storagev1.SearchRequest{AccountId: b.asked(), MailboxId: b.id, Criteria: both, Actor: b.actor},
		new(atomic.Pointer[storagev1.SearchStreamResponse_Progress]))
	return slices.Collect(numbersIn(b.numbers(answer.GetUids(), true))), err
}
