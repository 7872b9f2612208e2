package view

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// maxKeys is how many keys one request carries.
const maxKeys = 1000

type watchStream = grpc.BidiStreamingClient[storagev1.WatchRequest, storagev1.WatchResponse]

// Run follows storage's change notices until ctx ends, over one stream for all views, and opens it again when it breaks.
func (m *Manager) Run(ctx context.Context) {
	backoff := m.opts.MaxBackoff / 50
	for ctx.Err() == nil {
		begun := time.Now()
		err := m.watch(ctx)
		m.metrics.watching.Set(0)
		if ctx.Err() != nil {
			break
		}
		m.opts.Log.Warn("change notices stopped, mailboxes are polled until they come again", "error", err, "retry_in", backoff)
		if time.Since(begun) > m.opts.MaxBackoff {
			backoff = m.opts.MaxBackoff / 50
		}
		m.pollFor(ctx, backoff)
		backoff = min(2*backoff, m.opts.MaxBackoff)
	}
}

// pollFor syncs all views each poll interval for a while. A pause is mostly shorter than the interval: what
// was missed during an outage is fetched when the stream is open again.
func (m *Manager) pollFor(ctx context.Context, pause time.Duration) {
	m.mu.Lock()
	due := m.polled.Add(m.opts.PollInterval)
	m.mu.Unlock()
	if !time.Now().Before(due) {
		m.poll()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (m *Manager) poll() {
	m.mu.Lock()
	m.polled = time.Now()
	m.mu.Unlock()
	m.syncAll()
}

var errWatchEnded = errors.New("storage ended the stream")

// watch runs one stream.
func (m *Manager) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.storage.Watch(ctx)
	if err != nil {
		return err
	}
	m.subscribeAll()
	received := make(chan error, 1)
	go func() { received <- m.receive(stream) }()
	poll := time.NewTicker(10 * m.opts.PollInterval)
	defer poll.Stop()
	names := time.NewTicker(m.opts.PollInterval)
	defer names.Stop()
	for {
		select {
		case <-m.wake:
			if err := m.sendPending(stream); err != nil {
				cancel()
				return errors.Join(err, <-received)
			}
		case <-poll.C:
			m.poll()
		case <-names.C:
			m.signalFollows(true)
		case err := <-received:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), <-received)
		}
	}
}

// subscribeAll has all views subscribed on a new stream.
func (m *Manager) subscribeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.pending)
	for k := range m.boxes {
		m.pending[k] = true
	}
	for _, some := range m.follows {
		for f := range some {
			for k := range f.known {
				m.pending[k] = true
			}
		}
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// sendPending sends the waiting (un)subscriptions. Storage answers each subscription by the mailbox's present
// modseq, so that a change between the view's last sync and the subscription is not missed.
func (m *Manager) sendPending(stream watchStream) error {
	m.mu.Lock()
	pending := m.pending
	m.pending = map[Key]bool{}
	m.mu.Unlock()
	request, n := &storagev1.WatchRequest{}, 0
	for k, on := range pending {
		if on {
			request.Subscribe = append(request.Subscribe, k.proto())
		} else {
			request.Unsubscribe = append(request.Unsubscribe, k.proto())
		}
		if n++; n%maxKeys == 0 {
			if err := stream.Send(request); err != nil {
				return err
			}
			request = &storagev1.WatchRequest{}
		}
	}
	if n%maxKeys == 0 {
		return nil
	}
	return stream.Send(request)
}

// receive acts on notices until the stream ends.
func (m *Manager) receive(stream watchStream) error {
	for {
		notice, err := stream.Recv()
		if err != nil {
			return errors.Join(errWatchEnded, err)
		}
		m.metrics.watching.Set(1)
		if notice.GetResync() {
			m.syncAll()
		}
		for _, change := range notice.GetChanges() {
			k := Key{change.GetAccountId(), change.GetMailboxId()}
			m.noticed(k, change.GetModseq(), change.GetDeleted())
			m.mu.Lock()
			b := m.boxes[k]
			m.mu.Unlock()
			switch {
			case b == nil: // released meanwhile
			case change.GetDeleted():
				b.kill()
			case b.behind(change.GetModseq()):
				m.syncSoon(b, change.GetModseq())
			}
		}
	}
}

// behind tells whether the view lacks a change.
func (b *mailbox) behind(modseq uint64) bool {
	s := b.current.Load()
	return s == nil || s.ModSeq < modseq
}
