package session

import (
	"context"
	"sort"
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// mailbox is the selected one.
type mailbox struct {
	holder
	id uint64
	// rights of the session, and the modification sequence of the access control list by which it has them; only of others' mailboxes.
	rights   string
	access   uint64
	readOnly bool
	view     *view.Handle
	// told is what the client was told last: its map of sequence numbers.
	told *view.Snapshot
	// settled is the modification sequence up to which the client was told everything, expunges too. own is that of its last own change; lagging: the
	// client was told that it must not go on from the highest one that it knows.
	settled, own uint64
	lagging      bool
	// flags are those that the client was told of, keywords at the end; full: no keyword more can be made.
	flags []string
	full  bool
	// saved are the UIDs of the search result variable $ (RFC 9051 section 6.4.4.1).
	saved []wire.Range
	// contexts are searches that are kept up to date. Of the messages of the stale UIDs it is not known yet whether they are found; those from
	// fresh on, if it is not 0, are new.
	contexts []*updating
	stale    []uint32
	fresh    uint32
	// met is the highest UID of which the client has also heard what NOTIFY asks for of new messages. added are UIDs above of what the client itself has
	// added.
	met   uint32
	added []uint32
}

// unselect leaves the selected mailbox, if there is one.
func (s *session) unselect() {
	if s.box == nil {
		return
	}
	s.box.view.Close()
	s.box = nil
	s.to(authenticated)
}

// isSelected tells whether a mailbox is the selected one.
func (s *session) isSelected(k view.Key) bool { return s.box != nil && s.box.key(s.box.id) == k }

// tell sends what changed in the mailbox since the client was told last: nothing while other commands run. Expunges only where they are
// allowed. In answers to UID commands each FETCH carries the UID (RFC 9051 section 7.5.2).
func (s *session) tell(expunge, uid bool) error {
	b := s.box
	if s.lanes.busy() {
		return nil
	}
	if b.view.Dead() {
		// RFC 2180 section 3.3: the sessions of a deleted mailbox are disconnected.
		return &byeError{"", "selected mailbox was deleted"}
	}
	now := b.view.Snapshot()
	u := view.Diff(b.told, now, expunge)
	s.noteChanges(now, u, expunge)
	known := b.told.Len() - len(u.ExpungedUIDs)
	b.told = u.Told
	if u.Told == now { // no expunge is held back
		b.settled = now.ModSeq
	}
	s.sendExpunged(u)
	if u.Exists > 0 {
		s.enc.Star().Num(uint64(u.Exists)).Raw(" EXISTS").CRLF()
		s.announceNew(b.told, known)
	}
	for _, c := range u.Changed {
		if s.quiet() {
			break
		}
		s.sendFlags(c.Seq, c.Message, uid || s.notify != nil) // RFC 5465 section 5.1
	}
	return nil
}

// sendExpunged tells which messages are gone.
func (s *session) sendExpunged(u view.Update) {
	if (s.qresync || s.uidOnly) && len(u.ExpungedUIDs) > 0 {
		s.sendVanished(u.ExpungedUIDs)
		return
	}
	for _, seq := range u.Expunged {
		s.enc.Star().Num(uint64(seq)).Raw(" EXPUNGE").CRLF()
	}
}

// sendFlags sends a FETCH response with the flags.
func (s *session) sendFlags(seq uint32, m view.Message, uid bool) {
	s.announce(m.Keywords())
	value := appendFlags([]byte("FLAGS "), m)
	if s.condstore {
		value = appendModSeq(append(value, ' '), m)
	}
	s.sendChange(seq, m, uid, value)
}

// sendChange sends a FETCH response of a change. In IMAP4rev2 it always has the UID (RFC 9051 section 7.5.2), and a server with QRESYNC gives it as soon
// as CONDSTORE is on (RFC 7162 section 3.2.4).
func (s *session) sendChange(seq uint32, m view.Message, uid bool, value []byte) {
	s.beginFetch(seq, m.UID)
	if (uid || s.rev2 || s.condstore) && !s.uidOnly {
		s.enc.Raw("UID ").Num(uint64(m.UID)).SP()
	}
	s.enc.RawBytes(value).Close().CRLF()
}

// await waits until the view has a change that this session made. That fails only with the storage; then the
// client hears of the change later, as of any other.
func (s *session) await(ctx context.Context, modseq uint64) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	if err := s.box.view.Await(ctx, modseq); err != nil {
		s.Log.Warn("view is behind", "error", err)
	}
}

// refresh asks storage for changes of the selected mailbox.
func (s *session) refresh(ctx context.Context) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	if err := s.box.view.Refresh(ctx); err != nil {
		s.Log.Warn("view is behind", "error", err)
	}
}

func isUID(name string) bool { return strings.HasPrefix(name, "UID ") }

// span is a run of messages: from <= index < to, in the snapshot that the client was told.
type span struct{ from, to int }

// count is how many messages the spans have.
func count(spans []span) int {
	n := 0
	for _, sp := range spans {
		n += sp.to - sp.from
	}
	return n
}

// errExpungeIssued answers a command with sequence numbers of messages that another session expunged (RFC 5530).
var errExpungeIssued = no("EXPUNGEISSUED", "some of the messages no longer exist")

var errSequence = bad("no such message sequence number")

// resolve finds the messages of a set, ascending and without overlap. UIDs without a message are no
// error, sequence numbers are (RFC 9051 section 6.4.9 and section 2.3.1.2).
func (b *mailbox) resolve(set wire.NumSet, uid bool) ([]span, error) {
	told := b.told
	if set.SearchRes {
		return b.uidSpans(b.saved), nil
	}
	if uid {
		return b.uidSpans(set.Resolve(told.LastUID())), nil
	}
	total := uint32(told.Len())
	for _, r := range set.Ranges {
		// This includes "*" of an empty mailbox (RFC 9051 section 9, "seq-number").
		if total == 0 || max(r.Start, r.Stop) > total {
			return nil, errSequence
		}
	}
	return b.sequenceSpans(set), nil
}

// resolveSearch is resolve for a search, where numbers beyond the last message are no error, and simply do not match (RFC 7377 section 2).
func (b *mailbox) resolveSearch(set wire.NumSet, uid bool) []span {
	switch {
	case set.SearchRes:
		return b.uidSpans(b.saved)
	case uid:
		return b.uidSpans(set.Resolve(b.told.LastUID()))
	}
	return b.sequenceSpans(set)
}

func (b *mailbox) sequenceSpans(set wire.NumSet) []span {
	total := b.told.Len()
	var out []span
	for _, r := range set.Resolve(uint32(total)) {
		if sp := (span{int(r.Start) - 1, min(int(r.Stop), total)}); sp.from < sp.to {
			out = append(out, sp)
		}
	}
	return out
}

func (b *mailbox) uidSpans(ranges []wire.Range) []span {
	var out []span
	for _, r := range ranges {
		from, to := b.told.Seek(r.Start), b.told.Len()
		if r.Stop < ^uint32(0) {
			to = b.told.Seek(r.Stop + 1)
		}
		switch last := len(out) - 1; {
		case from >= to:
		case last >= 0 && out[last].to == from: // nothing is between them any more
			out[last].to = to
		default:
			out = append(out, span{from, to})
		}
	}
	return out
}

// uidRanges gives the UIDs of the messages. UIDs inside a range that are no longer there do no harm.
func (b *mailbox) uidRanges(spans []span) []*storagev1.UidRange {
	out := make([]*storagev1.UidRange, len(spans))
	for i, sp := range spans {
		out[i] = &storagev1.UidRange{Start: b.told.At(sp.from).UID, Stop: b.told.At(sp.to - 1).UID}
	}
	return out
}

// numbers turns UIDs into ranges of what a response counts in: UIDs, or sequence numbers. UIDs that the client does not know are left out.
func (b *mailbox) numbers(uids []*storagev1.UidRange, uid bool) []wire.Range {
	var out []wire.Range
	for _, r := range uids {
		for _, sp := range b.uidSpans([]wire.Range{{Start: r.GetStart(), Stop: r.GetStop()}}) {
			for i, m := range b.told.Range(sp.from, sp.to) {
				n := m.UID
				if !uid {
					n = uint32(i + 1)
				}
				out = wire.AppendNum(out, n)
			}
		}
	}
	return out
}

// flagBits are the system flags in the order in which they are shown.
var flagBits = []struct {
	bit  storagev1.Flag
	name string
}{
	{storagev1.Flag_FLAG_ANSWERED, `\Answered`},
	{storagev1.Flag_FLAG_FLAGGED, `\Flagged`},
	{storagev1.Flag_FLAG_DELETED, `\Deleted`},
	{storagev1.Flag_FLAG_SEEN, `\Seen`},
	{storagev1.Flag_FLAG_DRAFT, `\Draft`},
}

// appendFlags appends a message's flags in parentheses.
func appendFlags(dst []byte, m view.Message) []byte {
	dst = append(dst, '(')
	start := len(dst)
	for _, f := range flagBits {
		if m.Has(f.bit) {
			dst = append(append(dst, f.name...), ' ')
		}
	}
	dst = append(dst, m.KeywordSet()...) // which has spaces between them
	if last := len(dst) - 1; last >= start && dst[last] == ' ' {
		dst = dst[:last]
	}
	return append(dst, ')')
}

func flagBit(name string) (storagev1.Flag, bool) {
	for _, f := range flagBits {
		if strings.EqualFold(f.name, name) {
			return f.bit, true
		}
	}
	return 0, false
}

// splitFlags separates system flags from keywords. \Recent is the server's and is ignored (RFC 3501 section 2.3.2).
func splitFlags(names []string) (bits uint32, keywords []string, err error) {
	for _, name := range names {
		bit, ok := flagBit(name)
		switch {
		case ok:
			bits |= uint32(bit)
		case strings.EqualFold(name, `\Recent`):
		case strings.HasPrefix(name, `\`):
			return 0, nil, bad("unknown system flag")
		default:
			keywords = append(keywords, name)
		}
	}
	sort.Strings(keywords)
	return bits, keywords, nil
}
