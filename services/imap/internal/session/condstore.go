package session

import (
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// CONDSTORE: RFC 7162 section 3.1. Every mailbox has modification sequences, so NOMODSEQ is never said.
func init() {
	register(extension{
		capabilities: []capability{{name: "CONDSTORE", when: whenLoggedIn}},
		enables:      []enable{{name: "CONDSTORE", run: (*session).enableCondstore}},
		fetchItems: []fetchItem{{name: "MODSEQ", asked: (*session).enableCondstore, render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return appendModSeq(dst, m.state)
		}}},
		statusItems: []statusItem{{name: "HIGHESTMODSEQ", asked: (*session).enableCondstore, number: func(_ *session, m *storagev1.Mailbox) uint64 {
			return m.GetHighestModseq()
		}}},
		searchKeys: []searchKey{{name: "MODSEQ", criteria: func(_ *session, arg any) *storagev1.SearchCriteria {
			return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Modseq{Modseq: arg.(uint64)}}
		}}},
		grammar: func(g *wire.Grammar) {
			modseq := func(d *wire.Decoder) any {
				d.SP()
				return d.Number64()
			}
			g.Register(wire.FetchItems, "MODSEQ", nil)
			g.Register(wire.FetchModifiers, "CHANGEDSINCE", modseq)
			g.Register(wire.StoreModifiers, "UNCHANGEDSINCE", modseq)
			g.Register(wire.StatusItems, "HIGHESTMODSEQ", nil)
			g.Register(wire.SelectParams, "CONDSTORE", nil)
			g.Register(wire.SearchKeys, "MODSEQ", searchModSeq)
		},
	})
}

// searchModSeq reads the search key's number (RFC 7162 section 3.1.5). A metadata item may stand before it; flags have no
// modification sequences of their own here, and such a server takes the message's.
func searchModSeq(d *wire.Decoder) any {
	d.SP()
	if d.Peek() == '"' {
		_ = d.String()
		d.SP()
		switch d.Keyword() {
		case "PRIV", "SHARED", "ALL":
		default:
			d.Fail("unknown type of metadata item")
		}
		d.SP()
	}
	return d.Number64()
}

// enableCondstore is what the CONDSTORE enabling commands do (RFC 7162 section 3.1): from now on FETCH responses that tell of changes
// carry MODSEQ, and the client learns from which value on.
func (s *session) enableCondstore() {
	if s.condstore {
		return
	}
	s.condstore = true
	if s.box != nil {
		s.sendHighestModSeq()
	}
}

func (s *session) sendHighestModSeq() {
	s.enc.Untagged(wire.StatusOK, s.box.highestModSeq(), "modification sequence")
}

// highestModSeq is the response code of that name. It is of the last moment up to which the client was told everything: while
// expunges are held back, a client that resumes from a later one would never hear of them.
func (b *mailbox) highestModSeq() string { return "HIGHESTMODSEQ " + itoa(b.settled) }

// sendLag tells from where a client goes on that comes back later, while expunges are held back and it has heard of higher modification sequences, and
// once they are told (RFC 7162 sections 3.2 and 6). As tell it says nothing while other commands run, which may change what it would look at.
func (s *session) sendLag() {
	if s.lanes.busy() {
		return
	}
	b := s.box
	lagging := b.settled < max(b.told.ModSeq, b.own)
	if s.condstore && (lagging || b.lagging) {
		s.sendHighestModSeq()
	}
	b.lagging = lagging
}

func appendModSeq(dst []byte, m view.Message) []byte {
	return append(appendNumber(dst, "MODSEQ (", m.ModSeq), ')')
}

// changedSince leaves the messages whose modification sequence is higher.
func (b *mailbox) changedSince(spans []span, modseq uint64) []span {
	return b.choose(spans, func(m view.Message) bool { return m.ModSeq > modseq })
}

// foundModSeq is the highest modification sequence of what a search answers: with MIN or MAX alone, only of those messages
// (RFC 7162 section 3.1.10).
func (b *mailbox) foundModSeq(uids []wire.Range, options []wire.Item) uint64 {
	var highest uint64
	for _, sp := range b.uidSpans(b.savedResult(uids, options)) {
		for _, m := range b.told.Range(sp.from, sp.to) {
			highest = max(highest, m.ModSeq)
		}
	}
	return highest
}
