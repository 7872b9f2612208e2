package view

import (
	"context"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Outcome is what storage answers to a change of a mailbox.
type Outcome struct {
	// Previous is the mailbox's modseq before the change, 0 if storage cannot tell; ModSeq that after it.
	Previous, ModSeq uint64
	// States are new ones of messages that were there, Vanished the UIDs of those that went.
	States   []*storagev1.MessageState
	Vanished []*storagev1.UidRange
}

// yieldTime is how long a notice waits for the end of changes that sessions of this gateway are making: mostly it is about one of them, and
// the call's answer, which comes at the same time, says all.
const yieldTime = 100 * time.Millisecond

func (b *mailbox) beginChange() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changing++
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
}

func (b *mailbox) endChange() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = nil
	if b.changing--; b.changing > 0 {
		b.changed = make(chan struct{})
	}
}

// yield waits for changes in progress, until the view has a modseq or for a short time.
func (b *mailbox) yield(ctx context.Context, modseq uint64) {
	var timeout <-chan time.Time
	for b.behind(modseq) {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if changed == nil {
			return
		}
		if timeout == nil {
			timer := time.NewTimer(yieldTime)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return
		case <-ctx.Done():
			return
		}
	}
}

// learn takes over an outcome, if the view lacks nothing else.
func (b *mailbox) learn(o Outcome) {
	for {
		from := b.current.Load()
		if from == nil || o.Previous != from.ModSeq || o.ModSeq == from.ModSeq {
			return
		}
		build := newBuilder(from)
		for _, r := range o.Vanished {
			build.drop(r.GetStart(), r.GetStop())
		}
		for _, state := range o.States {
			if _, _, ok := from.Find(state.GetUid()); !ok {
				return // storage knows more than the view
			}
			build.put(messageOf(state))
		}
		if b.manager.replace(b, from, build.snapshot().as(from, o.ModSeq)) {
			return
		}
	}
}
