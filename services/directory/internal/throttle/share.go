package throttle

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// shareEvery is how often replicas tell and ask.
	shareEvery = 500 * time.Millisecond
	// overlap is how far back a replica asks again: clocks differ, and a transaction may commit after a later one.
	overlap = 10 * time.Second
	// Memory of events, in the log and of a replica that starts: no delay of hosts lasts longer with the default settings.
	keep = time.Hour
	// pending bounds the events that wait to be told, and those of the overlap that are remembered.
	pending = 16 << 10
	tell    = 500 // at a time
)

// Log is where replicas tell each other about logins.
type Log interface {
	// RecordLogins adds events.
	RecordLogins(ctx context.Context, replica string, events []Event) error
	// Logins visits the events since a time, but for those of the replica.
	Logins(ctx context.Context, replica string, from time.Time, visit func(id string, e Event)) error
	// ForgetLogins drops the events before a time.
	ForgetLogins(ctx context.Context, before time.Time) error
}

// Sharer tells other replicas what a throttle counts, and the throttle what others have.
type Sharer struct {
	log     Log
	slog    *slog.Logger
	now     func() time.Time
	replica string
	events  chan Event
	seen    *simplelru.LRU[string, struct{}]
	asked   time.Time
	swept   time.Time
}

// NewSharer makes a Sharer, whose Note is to be the throttle's Changed.
func NewSharer(log Log, logger *slog.Logger, now func() time.Time) *Sharer {
	return &Sharer{
		log: log, slog: logger, now: now, replica: rand.Text(), events: make(chan Event, pending),
		seen: newLRU[string, struct{}](pending), asked: now().Add(-keep), swept: now(),
	}
}

// Note remembers an event to be told. It never blocks: in a flood some are told to nobody.
func (s *Sharer) Note(e Event) {
	select {
	case s.events <- e:
	default:
	}
}

// Run tells and asks until ctx ends. Without the database there are no logins, so what fails is tried again later.
func (s *Sharer) Run(ctx context.Context, t *Throttle) error {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for {
		if err := s.Exchange(ctx, t); err != nil && ctx.Err() == nil {
			s.slog.DebugContext(ctx, "failed logins are not shared", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Exchange tells all that waits, and asks once.
func (s *Sharer) Exchange(ctx context.Context, t *Throttle) error {
	for {
		batch := s.take()
		if len(batch) == 0 {
			break
		}
		if err := s.log.RecordLogins(ctx, s.replica, batch); err != nil {
			return err
		}
	}
	now := s.now()
	err := s.log.Logins(ctx, s.replica, s.asked.Add(-overlap), func(id string, e Event) {
		if !s.seen.Contains(id) {
			s.seen.Add(id, struct{}{})
			t.Apply(e)
		}
	})
	if err != nil {
		return err
	}
	s.asked = now
	if now.Sub(s.swept) < keep/4 {
		return nil
	}
	s.swept = now
	return s.log.ForgetLogins(ctx, now.Add(-keep))
}

func (s *Sharer) take() (batch []Event) {
	for len(batch) < tell {
		select {
		case e := <-s.events:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}
