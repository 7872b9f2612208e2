package view

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Storage is the part of storage that views need.
type Storage interface {
	Sync(ctx context.Context, in *storagev1.SyncRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[storagev1.SyncResponse], error)
	Watch(ctx context.Context, opts ...grpc.CallOption) (grpc.BidiStreamingClient[storagev1.WatchRequest, storagev1.WatchResponse], error)
}

// Options of a Manager. Zero durations take the defaults.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	// SyncTimeout bounds one sync; default 1 minute.
	SyncTimeout time.Duration
	// PollInterval is how often views are synced while the notices do not come; default 30 s.
	// While they do come, it is ten times that: a notice that got lost costs latency only.
	PollInterval time.Duration
	// MaxBackoff bounds the pause before the stream of notices is opened again; default 5 s.
	MaxBackoff time.Duration
	// Syncs is how many run at once because of notices; default 16.
	Syncs int
	// Keep is how many messages' worth of snapshots stay in memory for sessions to come; default 250,000, which take about 12 MB.
	Keep int
}

func (o *Options) setDefaults() {
	setDefault(&o.SyncTimeout, time.Minute)
	setDefault(&o.PollInterval, 30*time.Second)
	setDefault(&o.MaxBackoff, 5*time.Second)
	if o.Syncs <= 0 {
		o.Syncs = 16
	}
	if o.Keep <= 0 {
		o.Keep = 250_000
	}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Manager has the views of one gateway.
type Manager struct {
	storage Storage
	opts    Options
	metrics metrics
	ctx     context.Context // ends with Close; syncs are shared, so they have no caller's context
	cancel  context.CancelFunc
	slots   chan struct{} // bounds the syncs that notices start
	wake    chan struct{} // the watch has (un)subscriptions to send

	mu      sync.Mutex
	closed  bool
	work    sync.WaitGroup
	boxes   map[Key]*mailbox
	shelf   shelf // snapshots of mailboxes that are not in boxes
	follows map[string]map[*Follow]struct{}
	pending map[Key]bool // true: subscribe, false: unsubscribe
	polled  time.Time    // when all views were synced last
}

type metrics struct {
	views    prometheus.Gauge
	messages prometheus.Gauge
	kept     prometheus.Gauge
	syncs    *prometheus.CounterVec
	watching prometheus.Gauge
}

// NewManager makes a Manager. Run must run for views to follow changes that others make.
func NewManager(storage Storage, opts Options) *Manager {
	opts.setDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{
		storage: storage,
		opts:    opts,
		ctx:     ctx,
		cancel:  cancel,
		slots:   make(chan struct{}, opts.Syncs),
		wake:    make(chan struct{}, 1),
		boxes:   map[Key]*mailbox{},
		shelf:   newShelf(opts.Keep),
		follows: map[string]map[*Follow]struct{}{},
		pending: map[Key]bool{},
		metrics: metrics{
			views: telemetry.Register(opts.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "yubin_imap_views", Help: "Mailboxes that are selected by at least one session.",
			})),
			messages: telemetry.Register(opts.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "yubin_imap_view_messages", Help: "Messages in all views; each costs about 48 bytes.",
			})),
			kept: telemetry.Register(opts.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "yubin_imap_kept_messages", Help: "Messages in snapshots of mailboxes that no session has selected any more.",
			})),
			syncs: telemetry.Register(opts.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "yubin_imap_view_syncs_total", Help: "Syncs of views with storage, by result.",
			}, []string{"result"})),
			watching: telemetry.Register(opts.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "yubin_imap_watch_connected", Help: "1 while change notices come from storage.",
			})),
		},
	}
}

// Open gives a hold on the view of a mailbox, up to date. Errors: ErrDead if there is no such mailbox, those of
// storage, those of ctx.
func (m *Manager) Open(ctx context.Context, accountID string, mailboxID uint64) (*Handle, error) {
	for {
		h := m.hold(Key{accountID, mailboxID})
		err := h.Refresh(ctx)
		if err == nil {
			return h, nil
		}
		h.Close()
		if !h.box.kept || !errors.Is(err, ErrDead) {
			return nil, err
		}
		// What was kept is of another UIDVALIDITY. It is forgotten now.
	}
}

// Touch has the view of a mailbox synced soon, if there is one: the caller knows that it changed.
func (m *Manager) Touch(accountID string, mailboxID uint64) {
	m.mu.Lock()
	b := m.boxes[Key{accountID, mailboxID}]
	m.mu.Unlock()
	if b != nil {
		m.syncSoon(b, 0)
	}
}

// Close stops all syncs and waits for them.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.work.Wait()
}

func (m *Manager) hold(k Key) *Handle {
	b := m.refer(k)
	h := &Handle{Signal: newSignal(), box: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handles[h] = struct{}{}
	return h
}

// refer counts a reference to a view. It must not take the view's lock: a refresh that holds it takes the manager's.
func (m *Manager) refer(k Key) *mailbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[k]
	if b == nil {
		b = &mailbox{key: k, manager: m, handles: map[*Handle]struct{}{}}
		if s := m.shelf.take(k); s != nil {
			b.kept = true
			b.current.Store(s)
			m.metrics.messages.Add(float64(s.Len()))
			m.metrics.kept.Set(float64(m.shelf.messages))
		}
		m.boxes[k] = b
		m.metrics.views.Inc()
		m.subscribeLocked(k, true)
	}
	b.refs++
	return b
}

func (m *Manager) release(h *Handle) {
	b := h.box
	b.mu.Lock()
	delete(b.handles, h)
	b.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.refs--; b.refs == 0 {
		last := b.current.Load()
		m.metrics.messages.Sub(float64(lenOf(last)))
		m.forgetLocked(b)
		if last != nil && !b.dead.Load() {
			m.shelf.put(b.key, last)
			m.metrics.kept.Set(float64(m.shelf.messages))
		}
	}
}

// publish makes a snapshot the current one, unless that is as new: while a sync ran, a session's own change may have come in.
func (m *Manager) publish(b *mailbox, next *Snapshot) {
	for {
		from := b.current.Load()
		if from != nil && next.ModSeq <= from.ModSeq || m.replace(b, from, next) {
			return
		}
	}
}

// replace makes next the current snapshot if from is that now. Nothing is left to do if nobody holds the view any more.
func (m *Manager) replace(b *mailbox, from, next *Snapshot) bool {
	m.mu.Lock()
	held := b.refs > 0
	replaced := held && b.current.CompareAndSwap(from, next)
	if replaced {
		m.metrics.messages.Add(float64(next.Len() - lenOf(from)))
	}
	m.mu.Unlock()
	if replaced {
		b.notify()
	}
	return replaced || !held
}

func (m *Manager) forget(b *mailbox) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(b)
}

func (m *Manager) forgetLocked(b *mailbox) {
	if m.boxes[b.key] == b {
		delete(m.boxes, b.key)
		m.metrics.views.Dec()
		m.unsubscribeLocked(b.key)
	}
}

func (m *Manager) subscribeLocked(k Key, on bool) {
	m.pending[k] = on
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// spawn runs fn; false if the manager is closed.
func (m *Manager) spawn(fn func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.work.Go(fn)
	return true
}

// syncSoon syncs a view in the background until it has modseq target, or once for target 0.
func (m *Manager) syncSoon(b *mailbox, target uint64) {
	m.spawn(func() {
		if target > 0 {
			b.yield(m.ctx, target)
		}
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		case <-m.ctx.Done():
			return
		}
		if err := b.refresh(m.ctx, target); err != nil && m.ctx.Err() == nil {
			m.opts.Log.Debug("view not synced, it will be tried again", "error", err)
		}
	})
}

// syncAll syncs every view in the background.
func (m *Manager) syncAll() {
	m.mu.Lock()
	boxes := make([]*mailbox, 0, len(m.boxes))
	for _, b := range m.boxes {
		boxes = append(boxes, b)
	}
	m.mu.Unlock()
	for _, b := range boxes {
		m.syncSoon(b, 0)
	}
	m.signalFollows(false)
}
