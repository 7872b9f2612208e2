package feed

import (
	"testing"

	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

func TestNoticesOfOneMailboxBecomeOne(t *testing.T) {
	bus := NewMemory(nil)
	s := bus.Subscribe()
	defer s.Close()
	s.Add(Key{AccountID: "a", MailboxID: 1})
	for _, modseq := range []uint64{5, 7, 6} { // published out of order
		bus.Publish([]meta.Change{{AccountID: "a", MailboxID: 1, Modseq: modseq}, {AccountID: "a", MailboxID: 2, Modseq: 9}})
	}
	<-s.Ready()
	changes, resync := s.Take()
	if len(changes) != 1 || changes[0].Modseq != 7 || resync {
		t.Errorf("got %v, %v", changes, resync)
	}
	select {
	case <-s.Ready():
		t.Error("there is nothing more to take")
	default:
	}
}

func TestSlowWatcherMustSyncAll(t *testing.T) {
	bus := NewMemory(nil)
	s := bus.Subscribe()
	defer s.Close()
	for id := range uint64(maxPending + 5) {
		s.Add(Key{AccountID: "a", MailboxID: id})
		bus.Publish([]meta.Change{{AccountID: "a", MailboxID: id, Modseq: 1}})
	}
	<-s.Ready()
	if changes, resync := s.Take(); len(changes) != 0 || !resync {
		t.Errorf("got %d changes, %v", len(changes), resync)
	}
	bus.Publish([]meta.Change{{AccountID: "a", MailboxID: 3, Modseq: 2}})
	<-s.Ready()
	if changes, resync := s.Take(); len(changes) != 1 || resync {
		t.Errorf("afterwards got %v, %v", changes, resync)
	}
}

func TestRemovedAndClosedHearNothing(t *testing.T) {
	bus := NewMemory(nil)
	s := bus.Subscribe()
	s.Add(Key{AccountID: "a", MailboxID: 1})
	s.Remove(Key{AccountID: "a", MailboxID: 1})
	bus.Publish([]meta.Change{{AccountID: "a", MailboxID: 1, Modseq: 1}})
	s.Add(Key{AccountID: "a", MailboxID: 1})
	s.Close()
	bus.Publish([]meta.Change{{AccountID: "a", MailboxID: 1, Modseq: 1}})
	if changes, resync := s.Take(); len(changes) != 0 || resync {
		t.Errorf("got %v, %v", changes, resync)
	}
	if len(bus.subs) != 0 {
		t.Error("the bus still knows the subscription")
	}
}
