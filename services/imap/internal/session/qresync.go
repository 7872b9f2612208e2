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

// QRESYNC: RFC 7162 section 3.2.
func init() {
	register(extension{
		capabilities: []capability{{name: "QRESYNC", when: whenLoggedIn}},
		enables: []enable{{name: "QRESYNC", run: func(s *session) {
			s.enableCondstore()
			s.qresync = true
		}}},
		grammar: func(g *wire.Grammar) {
			g.Register(wire.FetchModifiers, "VANISHED", nil)
			g.Register(wire.SelectParams, "QRESYNC", func(d *wire.Decoder) any { return parseResync(d) })
		},
	})
}

// resyncParam is the QRESYNC parameter of SELECT (RFC 7162 section 3.2.5).
type resyncParam struct {
	uidValidity uint32
	modseq      uint64
	// uids are those that the client knows, resolved; nil: all.
	uids []wire.Range
	// numbered: sequence numbers were given.
	numbered bool
}

// parseResync reads the parameter. The pairs of sequence numbers and UIDs at its end help servers that forget which messages have
// vanished; here they are read and not needed.
func parseResync(d *wire.Decoder) resyncParam {
	var p resyncParam
	d.SP()
	d.Special('(')
	p.uidValidity = d.NzNumber()
	d.SP()
	p.modseq = d.Number64()
	if d.TrySP() {
		if d.Peek() != '(' {
			p.uids = plainSet(d)
		}
		if p.uids == nil || d.TrySP() {
			d.Special('(')
			plainSet(d)
			d.SP()
			plainSet(d)
			d.Special(')')
			p.numbered = true
		}
	}
	d.Special(')')
	return p
}

// plainSet reads a set without "*" and "$".
func plainSet(d *wire.Decoder) []wire.Range {
	set := d.NumSet()
	if set.SearchRes || slices.ContainsFunc(set.Ranges, func(r wire.Range) bool { return r.Start == 0 || r.Stop == 0 }) {
		d.Fail("only numbers are possible in this set")
		return nil
	}
	return set.Resolve(0)
}

// known are the UIDs of which the client wants to hear; without a list, all that there ever were.
func (p resyncParam) known(told *view.Snapshot) []wire.Range {
	if p.uids == nil && told.UIDNext > 1 {
		return []wire.Range{{Start: 1, Stop: told.UIDNext - 1}}
	}
	return p.uids
}

// vanishedSince gives the UIDs among those known that are gone since a modification sequence. What the client is still told is
// there, or is not told yet, is left out, though storage may know more already: VANISHED (EARLIER) moves no sequence numbers.
func (s *session) vanishedSince(ctx context.Context, b *mailbox, modseq uint64, known []wire.Range) ([]wire.Range, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.Bulk)
	defer cancel()
	stream, err := s.Storage.Sync(ctx, &storagev1.SyncRequest{
		AccountId: b.account, MailboxId: b.id, SinceModseq: max(modseq, 1), UidValidity: b.told.UIDValidity,
	})
	if err != nil {
		return nil, err
	}
	var gone []wire.Range
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, r := range answer.GetVanished() {
			gone = append(gone, wire.Range{Start: r.GetStart(), Stop: min(r.GetStop(), b.told.UIDNext-1)})
		}
	}
	gone = slices.DeleteFunc(gone, func(r wire.Range) bool { return r.Start > r.Stop })
	gone = wire.Intersect(wire.NumSet{Ranges: gone}.Resolve(0), known)
	return b.without(gone), nil
}

// without takes the UIDs of messages that the client knows out of resolved ranges.
func (b *mailbox) without(ranges []wire.Range) []wire.Range {
	var out []wire.Range
	for _, r := range ranges {
		next := r.Start
		for _, sp := range b.uidSpans([]wire.Range{r}) {
			for _, m := range b.told.Range(sp.from, sp.to) {
				if m.UID > next {
					out = append(out, wire.Range{Start: next, Stop: m.UID - 1})
				}
				next = m.UID + 1
			}
		}
		if next <= r.Stop && next != 0 {
			out = append(out, wire.Range{Start: next, Stop: r.Stop})
		}
	}
	return out
}

// resync tells a client what changed since it was here last.
func (s *session) resync(p resyncParam, vanished []wire.Range) {
	s.sendEarlier(vanished)
	known := s.box.uidSpans(p.known(s.box.told))
	for _, sp := range s.box.changedSince(known, p.modseq) {
		for i, m := range s.box.told.Range(sp.from, sp.to) {
			s.sendFlags(uint32(i+1), m, true)
		}
	}
}

// fetchVanished answers the VANISHED modifier of UID FETCH (RFC 7162 section 3.2.6).
func (s *session) fetchVanished(ctx context.Context, set wire.NumSet, modseq uint64) error {
	if set.SearchRes {
		return nil // what has vanished has left the variable (RFC 9051 section 6.4.4.1)
	}
	known := set.Resolve(s.box.told.UIDNext - 1) // "*" may itself have vanished
	vanished, err := s.vanishedSince(ctx, s.box, modseq, known)
	if err != nil {
		return err
	}
	s.sendEarlier(vanished)
	return nil
}

func (s *session) sendEarlier(vanished []wire.Range) {
	if len(vanished) > 0 {
		s.enc.Star().Raw("VANISHED (EARLIER) ").Ranges(vanished).CRLF()
	}
}

// sendVanished tells of expunges now (RFC 7162 section 3.2.10). The UIDs are in descending order.
func (s *session) sendVanished(uids []uint32) {
	var gone []wire.Range
	for _, uid := range slices.Backward(uids) {
		gone = wire.AppendNum(gone, uid)
	}
	s.enc.Star().Raw("VANISHED ").Ranges(gone).CRLF()
}

// settle ends a command that may have expunged messages: with QRESYNC its tagged OK says up to where the client knows everything
// (RFC 7162 section 3.2.7).
func (s *session) settle(expunged, uid bool) (reply, error) {
	if !expunged || !s.qresync {
		return reply{}, nil
	}
	if err := s.tell(true, uid); err != nil {
		return reply{}, err
	}
	s.box.lagging = false // which the code says
	return reply{code: s.box.highestModSeq()}, nil
}
