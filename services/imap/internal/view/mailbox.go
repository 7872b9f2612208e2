package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// ErrDead means that the mailbox was deleted, or is no longer the one that was opened.
var ErrDead = errors.New("the mailbox was deleted")

// syncAttempts bounds how often a sync is begun whose replica of storage was lost on the way.
const syncAttempts = 3

// errPast means that storage has lost what it had told before.
var errPast = errors.New("the mailbox's modseq has fallen")

// errOrder means that storage told of a message between UIDs that were known before.
var errOrder = errors.New("a message appeared between known UIDs")

// Key names a mailbox. Mailbox ids are never reused in an account.
type Key struct {
	Account string
	Mailbox uint64
}

func (k Key) proto() *storagev1.WatchRequest_Key {
	return &storagev1.WatchRequest_Key{AccountId: k.Account, MailboxId: k.Mailbox}
}

// mailbox is what the handles on one mailbox share.
type mailbox struct {
	key     Key
	manager *Manager
	refs    int  // guarded by manager.mu
	kept    bool // begun from a snapshot of earlier sessions

	current atomic.Pointer[Snapshot] // nil until the first sync
	dead    atomic.Bool

	mu      sync.Mutex
	handles map[*Handle]struct{}
	// changing counts changes that sessions are making; changed is closed when one of them ends.
	changing int
	changed  chan struct{}
	// Syncs are numbered; one runs at a time, and one that started after a question was asked answers it.
	started, finished uint64
	result            error         // of the sync that finished last
	done              chan struct{} // closed when the running sync ends; nil if none runs
}

// refresh waits until the view has modseq target, or for target 0, until a sync that started after the call has ended.
func (b *mailbox) refresh(ctx context.Context, target uint64) error {
	b.mu.Lock()
	want := b.started + 1
	for {
		if b.dead.Load() {
			b.mu.Unlock()
			return ErrDead
		}
		if s := b.current.Load(); target > 0 && s != nil && s.ModSeq >= target {
			b.mu.Unlock()
			return nil
		}
		if b.finished >= want {
			err := b.result
			b.mu.Unlock()
			return err
		}
		err := ctx.Err()
		if err == nil && b.done == nil && !b.startLocked() {
			err = context.Canceled
		}
		if err != nil {
			b.mu.Unlock()
			return err
		}
		done := b.done
		b.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.mu.Lock()
	}
}

// startLocked starts a sync; false if the manager stops.
func (b *mailbox) startLocked() bool {
	done := make(chan struct{})
	run := func() {
		err := b.sync()
		b.mu.Lock()
		b.finished, b.result, b.done = b.started, err, nil
		b.mu.Unlock()
		close(done)
	}
	if !b.manager.spawn(run) {
		return false
	}
	b.started++
	b.done = done
	return true
}

// sync brings the view up to date. Only one runs at a time.
func (b *mailbox) sync() error {
	ctx, cancel := context.WithTimeout(b.manager.ctx, b.manager.opts.SyncTimeout)
	defer cancel()
	next, begun, err := b.pull(ctx)
	for range syncAttempts - 1 {
		if !begun || !rpc.Lost(err) { // before it has begun, gRPC itself has tried other replicas
			break
		}
		next, begun, err = b.pull(ctx)
	}
	switch {
	case fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND), fault.Is(err, rpcv1.Reason_REASON_UID_VALIDITY_CHANGED):
		b.kill()
		return ErrDead
	case errors.Is(err, errOrder), errors.Is(err, errPast):
		b.manager.opts.Log.Error("view is not what storage has, its sessions must select again", "error", err)
		b.kill()
		return ErrDead
	case err != nil:
		b.manager.metrics.syncs.WithLabelValues("error").Inc()
		return fmt.Errorf("sync mailbox: %w", err)
	}
	b.manager.metrics.syncs.WithLabelValues("ok").Inc()
	b.manager.publish(b, next)
	return nil
}

// pull asks storage what changed since the current snapshot. begun says that an answer had begun to come.
func (b *mailbox) pull(ctx context.Context) (next *Snapshot, begun bool, err error) {
	from := b.current.Load()
	request := &storagev1.SyncRequest{AccountId: b.key.Account, MailboxId: b.key.Mailbox}
	if from == nil {
		from = newSnapshot(nil)
	} else {
		request.SinceModseq, request.UidValidity = from.ModSeq, from.UIDValidity
	}
	stream, err := b.manager.storage.Sync(ctx, request)
	if err != nil {
		return nil, false, err
	}
	build := newBuilder(from)
	var end *storagev1.Mailbox
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, begun, err
		}
		begun = true
		for _, r := range answer.GetVanished() {
			build.drop(r.GetStart(), r.GetStop())
		}
		for _, state := range answer.GetChanged() {
			if !build.put(messageOf(state)) {
				return nil, begun, errOrder
			}
		}
		if answer.GetMailbox() != nil {
			end = answer.GetMailbox()
		}
	}
	if end == nil {
		return nil, begun, io.ErrUnexpectedEOF
	}
	if end.GetHighestModseq() < from.ModSeq {
		return nil, begun, errPast
	}
	next = build.snapshot()
	next.UIDValidity, next.UIDNext, next.ModSeq = end.GetUidValidity(), end.GetUidNext(), end.GetHighestModseq()
	next.AccessModSeq = end.GetAccessModseq()
	return next, begun, nil
}

// kill marks the view dead for good: its handles learn of it, and the next Open makes a new one.
func (b *mailbox) kill() {
	b.dead.Store(true)
	b.manager.forget(b)
	b.notify()
}

func (b *mailbox) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.handles {
		h.signal()
	}
}

func lenOf(s *Snapshot) int {
	if s == nil {
		return 0
	}
	return s.Len()
}

// Handle is one session's hold on a view. Its signal says that Snapshot or Dead has changed.
type Handle struct {
	*Signal
	box  *mailbox
	once sync.Once
}

// Snapshot gives the mailbox as it is known now.
func (h *Handle) Snapshot() *Snapshot { return h.box.current.Load() }

// Dead tells whether the mailbox is gone.
func (h *Handle) Dead() bool { return h.box.dead.Load() }

// Refresh asks storage for changes and waits for them. Errors: ErrDead, those of storage, those of ctx.
func (h *Handle) Refresh(ctx context.Context) error { return h.box.refresh(ctx, 0) }

// Await waits until the view has a modseq, typically that of one's own change. Errors as Refresh.
func (h *Handle) Await(ctx context.Context, modseq uint64) error { return h.box.refresh(ctx, modseq) }

// Change runs a call to storage that changes the mailbox, and gives its error. The view takes over the outcome unless it lacks changes of others,
// too; to be sure, call Await.
func (h *Handle) Change(call func() (Outcome, error)) error {
	h.box.beginChange()
	defer h.box.endChange()
	outcome, err := call()
	if err == nil {
		h.box.learn(outcome)
	}
	return err
}

// Close gives the hold back. Snapshots taken before stay good.
func (h *Handle) Close() {
	h.once.Do(func() { h.box.manager.release(h) })
}
