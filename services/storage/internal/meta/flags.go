package meta

import (
	"context"
	"iter"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// AllFlags are the bits of storagev1.Flag.
const AllFlags = uint32(storagev1.Flag_FLAG_SEEN | storagev1.Flag_FLAG_ANSWERED | storagev1.Flag_FLAG_FLAGGED |
	storagev1.Flag_FLAG_DELETED | storagev1.Flag_FLAG_DRAFT)

// FlagChange is an operation on the flags of messages.
type FlagChange struct {
	Operation storagev1.StoreFlagsRequest_Operation
	Flags     uint32
	Keywords  []string
	// UnchangedSince is the condition of RFC 7162 section 3.1.3; nil: none.
	UnchangedSince *uint64

	// keep are the flags that stay as they are, whatever the operation says; keepKeywords says so of all keywords.
	keep         uint32
	keepKeywords bool
}

// within gives what rights let of a change be done: what they do not stays as it is. It is an error if that is nothing of what was asked
// for (RFC 4314 section 4, STORE).
func (c FlagChange) within(has Rights) (FlagChange, error) {
	mask, keywords := has.flags()
	asked, permitted := c.Flags&AllFlags != 0 || len(c.Keywords) > 0, c.Flags&mask != 0 || keywords && len(c.Keywords) > 0
	if c.Operation == storagev1.StoreFlagsRequest_OPERATION_SET { // which is about those that are not named, too
		asked, permitted = true, mask != 0
	}
	if asked && !permitted {
		return c, has.refusal()
	}
	c.Flags &= mask
	c.keep, c.keepKeywords = AllFlags&^mask, !keywords
	if c.keepKeywords {
		c.Keywords = nil
	}
	return c, nil
}

// Flagged is the outcome of StoreFlags.
type Flagged struct {
	States   []*storagev1.MessageState // of all that the operation touched, in UID order
	Modified uidset.Set                // failed UnchangedSince
	Step
}

// Step is how a change took a mailbox's highest modseq on.
type Step struct {
	// PreviousModseq is that before the change; 0: changes of others may have come in between.
	PreviousModseq uint64
	HighestModseq  uint64
}

// then is a step and the next one of the same change.
func (s Step) then(next Step) Step {
	if s.HighestModseq == next.PreviousModseq {
		next.PreviousModseq = s.PreviousModseq
	} else {
		next.PreviousModseq = 0
	}
	return next
}

// maxFlagged bounds the messages of one change, so that their states fit into one answer.
const maxFlagged = 100_000

// StoreFlags changes the flags of the messages in a set. Those that change share one new modseq, the others keep theirs. An actor needs
// RightRead, as the states are answered; flags that it may not change stay as they are.
func (s *Store) StoreFlags(ctx context.Context, account string, mailbox uint64, set uidset.Set, change FlagChange) (*Flagged, error) {
	var out *Flagged
	err := s.change(ctx, "store_flags", account, func(t *tx) error {
		out = &Flagged{}
		known := vocabulary{}
		if len(change.Keywords) > 0 {
			known.learn(&t.queue, account)
		}
		m, states, err := t.mailboxStates(account, mailbox, set, maxFlagged+1)
		if err != nil {
			return err
		}
		has, err := t.rights(account, mailbox)
		if err != nil {
			return err
		}
		if err := has.permit(RightRead); err != nil {
			return err
		}
		change, err := change.within(has)
		if err != nil {
			return err
		}
		create := change.Operation != storagev1.StoreFlagsRequest_OPERATION_REMOVE
		keywords, err := t.canonicalKeywords(account, known, change.Keywords, create)
		if err != nil {
			return err
		}
		if len(states) > maxFlagged {
			return fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "more than %d messages at once", maxFlagged)
		}
		var modified uidset.Builder
		var changed []*storagev1.MessageState
		var c counters
		for _, state := range states {
			if change.UnchangedSince != nil && state.GetModseq() > *change.UnchangedSince {
				modified.Add(state.GetUid())
				continue
			}
			out.States = append(out.States, state)
			flags, words := change.apply(state, keywords)
			if flags == state.GetFlags() && slices.Equal(words, state.GetKeywords()) {
				continue
			}
			c.add(-1, state.GetFlags(), -int64(state.GetSize()))
			c.add(1, flags, int64(state.GetSize()))
			state.Flags, state.Keywords = flags, words
			changed = append(changed, state)
		}
		out.Modified = modified.Set()
		out.Step = Step{m.GetHighestModseq(), m.GetHighestModseq()}
		if len(changed) == 0 {
			return nil
		}
		if err := t.bump(account, m, c); err != nil {
			return err
		}
		out.HighestModseq = m.GetHighestModseq()
		for run := range change.runs(changed) {
			if err := t.setFlags(account, m, change, run); err != nil {
				return err
			}
			for _, state := range run {
				state.Modseq = m.GetHighestModseq()
			}
		}
		return nil
	})
	return out, err
}

// setFlags writes the flags of a run of messages.
func (t *tx) setFlags(account string, m *storagev1.Mailbox, change FlagChange, run []*storagev1.MessageState) error {
	first, last := run[0], run[len(run)-1]
	if set, clear, ok := change.bits(); ok {
		return t.later(`UPDATE messages SET modseq = ?, flags = (flags | ?) & ~CAST(? AS BIGINT) WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			m.GetHighestModseq(), set, clear, account, m.GetMailboxId(), first.GetUid(), last.GetUid())
	}
	return t.later(`UPDATE messages SET modseq = ?, flags = ?, keywords = ? WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
		m.GetHighestModseq(), first.GetFlags(), strings.Join(first.GetKeywords(), " "), account, m.GetMailboxId(), first.GetUid(), last.GetUid())
}

// bits gives what a change without keywords does, whatever the flags of a message are.
func (c FlagChange) bits() (set, clear uint32, ok bool) {
	switch {
	case len(c.Keywords) > 0:
	case c.Operation == storagev1.StoreFlagsRequest_OPERATION_ADD:
		return c.Flags & AllFlags, 0, true
	case c.Operation == storagev1.StoreFlagsRequest_OPERATION_REMOVE:
		return 0, c.Flags & AllFlags, true
	}
	return 0, 0, false
}

// runs yields messages with consecutive UIDs that one statement can change.
func (c FlagChange) runs(states []*storagev1.MessageState) iter.Seq[[]*storagev1.MessageState] {
	_, _, relative := c.bits()
	return func(yield func([]*storagev1.MessageState) bool) {
		for len(states) > 0 {
			n := 1
			for n < len(states) && states[n].GetUid() == states[n-1].GetUid()+1 && (relative || alike(states[n], states[0])) {
				n++
			}
			if !yield(states[:n]) {
				return
			}
			states = states[n:]
		}
	}
}

func alike(a, b *storagev1.MessageState) bool {
	return a.GetFlags() == b.GetFlags() && slices.Equal(a.GetKeywords(), b.GetKeywords())
}

// apply gives the flags and the sorted keywords of a message after the change.
func (c FlagChange) apply(state *storagev1.MessageState, keywords []string) (uint32, []string) {
	flags := c.Flags & AllFlags
	switch c.Operation {
	case storagev1.StoreFlagsRequest_OPERATION_ADD:
		words := slices.Concat(state.GetKeywords(), keywords)
		slices.Sort(words)
		return state.GetFlags() | flags, slices.Compact(words)
	case storagev1.StoreFlagsRequest_OPERATION_REMOVE:
		words := slices.DeleteFunc(slices.Clone(state.GetKeywords()), func(k string) bool { return slices.Contains(keywords, k) })
		return state.GetFlags() &^ flags, words
	default:
		if c.keepKeywords {
			keywords = state.GetKeywords()
		}
		return flags | state.GetFlags()&c.keep, keywords
	}
}
