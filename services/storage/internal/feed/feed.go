// Package feed carries notices of changed mailboxes from the writers to the gateways that watch them.
package feed

import (
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// maxPending bounds the mailboxes with a notice that a watcher has not taken. Beyond it, it must sync all.
const maxPending = 10_000

// Bus tells the watchers what was committed.
type Bus interface {
	// Publish never blocks.
	Publish(changes []meta.Change)
	// Subscribe begins without any mailbox. The caller closes the subscription.
	Subscribe() *Subscription
}

// Key names a mailbox.
type Key = meta.MailboxKey

// Memory is the Bus inside one process.
type Memory struct {
	mu       sync.RWMutex
	subs     map[*Subscription]struct{}
	watchers prometheus.Gauge
}

var _ Bus = (*Memory)(nil)

// NewMemory makes a Bus inside this process. reg may be nil.
func NewMemory(reg prometheus.Registerer) *Memory {
	return &Memory{
		subs: map[*Subscription]struct{}{},
		watchers: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_watchers", Help: "Streams of gateways that watch for changes.",
		})),
	}
}

// Publish implements Bus.
func (m *Memory) Publish(changes []meta.Change) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for s := range m.subs {
		s.notice(changes)
	}
}

// Subscribe implements Bus.
func (m *Memory) Subscribe() *Subscription {
	s := &Subscription{wake: make(chan struct{}, 1), keys: map[Key]uint64{}, pending: map[Key]meta.Change{}}
	s.close = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, s)
		m.watchers.Set(float64(len(m.subs)))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subs[s] = struct{}{}
	m.watchers.Set(float64(len(m.subs)))
	return s
}

// watched gives each mailbox that has a watcher and is not known to be gone, once.
func (m *Memory) watched() []Key {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := map[Key]struct{}{}
	for s := range m.subs {
		s.mu.Lock()
		for k, told := range s.keys {
			if told != gone {
				all[k] = struct{}{}
			}
		}
		s.mu.Unlock()
	}
	return slices.Collect(maps.Keys(all))
}

// gone is what a watcher has heard of a mailbox that was deleted: there is nothing more to hear.
const gone = math.MaxUint64

// Subscription is one watcher. Notices of one mailbox become one; a slow watcher costs the writers nothing. What it has heard
// already, from another replica or from the database, it does not hear again.
type Subscription struct {
	wake  chan struct{}
	close func()

	mu      sync.Mutex
	keys    map[Key]uint64 // with the highest modseq that it has heard of
	pending map[Key]meta.Change
	resync  bool
}

// Add watches a mailbox too.
func (s *Subscription) Add(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[k] = 0
}

// Remove watches a mailbox no longer.
func (s *Subscription) Remove(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, k)
	delete(s.pending, k)
}

// Len counts the mailboxes watched.
func (s *Subscription) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// Ready gets a value when there is something to Take.
func (s *Subscription) Ready() <-chan struct{} { return s.wake }

// Take gives the changes since the last Take, one a mailbox. resync says that some were dropped.
func (s *Subscription) Take() (changes []meta.Change, resync bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.pending {
		changes = append(changes, c)
	}
	clear(s.pending)
	resync, s.resync = s.resync, false
	return changes, resync
}

// Close ends the subscription.
func (s *Subscription) Close() { s.close() }

// Notice adds changes as if they had been published: for the state at the start of watching.
func (s *Subscription) Notice(changes ...meta.Change) { s.notice(changes) }

func (s *Subscription) notice(changes []meta.Change) {
	s.mu.Lock()
	woken := false
	for _, c := range changes {
		k := Key{AccountID: c.AccountID, MailboxID: c.MailboxID}
		heard, watched := s.keys[k]
		if c.Deleted {
			c.Modseq = gone
		}
		if !watched || c.Modseq <= heard {
			continue
		}
		s.keys[k] = c.Modseq
		woken = true
		if s.resync {
			continue
		}
		if c.Deleted {
			c.Modseq = s.pending[k].Modseq
		}
		s.pending[k] = c
		if len(s.pending) > maxPending {
			clear(s.pending)
			s.resync = true
		}
	}
	s.mu.Unlock()
	if !woken {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
