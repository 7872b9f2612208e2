package view

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// flag sets the flags of a message, tells the watchers, and gives the outcome as storage answers it.
func (s *server) flag(id uint64, uid, flags uint32) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[id]
	o := Outcome{Previous: m.modseq, ModSeq: m.modseq + 1}
	m.modseq++
	for i, state := range m.states {
		if state.Uid == uid {
			state = proto.CloneOf(state)
			state.Flags, state.Modseq = flags, m.modseq
			m.states[i] = state
			o.States = append(o.States, state)
		}
	}
	s.tell(&storagev1.WatchResponse_Change{AccountId: "a", MailboxId: id, Modseq: m.modseq})
	return o
}

func (s *server) synced() (n int) {
	s.set(func() { n = s.syncs })
	return n
}

func flagsOf(t *testing.T, h *Handle, uid uint32) uint8 {
	t.Helper()
	m, _, ok := h.Snapshot().Find(uid)
	if !ok {
		t.Fatalf("message %d is gone", uid)
	}
	return m.Flags
}

func TestOwnChangesCostNoSync(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		a, b := open(t, m, 1), open(t, m, 1)
		s.deliver(1)
		s.deliver(1)
		expect(t, b, 2)
		synctest.Wait()
		for len(b.Changed()) > 0 {
			<-b.Changed()
		}
		before := s.synced()
		var o Outcome
		err := a.Change(func() (Outcome, error) {
			o = s.flag(1, 2, 5)
			synctest.Wait() // the notice is there before the answer
			return o, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Await(t.Context(), o.ModSeq); err != nil {
			t.Fatal(err)
		}
		select {
		case <-b.Changed():
		default:
			t.Error("the other session gets no signal")
		}
		if flagsOf(t, a, 2) != 5 || flagsOf(t, b, 2) != 5 || flagsOf(t, a, 1) != 0 {
			t.Error("the view has other flags")
		}
		if err := a.Change(func() (Outcome, error) {
			return Outcome{Previous: o.ModSeq, ModSeq: o.ModSeq, States: o.States}, nil
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := s.synced() - before; n != 0 {
			t.Errorf("the change of a session cost %d syncs", n)
		}
		err = a.Change(func() (Outcome, error) {
			s.set(func() { s.boxes[1].modseq++ })
			return Outcome{Previous: o.ModSeq, ModSeq: o.ModSeq + 1, Vanished: []*storagev1.UidRange{{Start: 1, Stop: 1}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Snapshot().Len() != 1 || a.Snapshot().At(0).UID != 2 {
			t.Errorf("the view has %d messages after an expunge", a.Snapshot().Len())
		}
		if got := testutil.ToFloat64(m.metrics.messages); got != 1 {
			t.Errorf("metric counts %v messages", got)
		}
		failed := errors.New("failed")
		if err := a.Change(func() (Outcome, error) { return Outcome{Previous: o.ModSeq + 1, ModSeq: 99}, failed }); !errors.Is(err, failed) {
			t.Errorf("the call's error became %v", err)
		}
		if a.Snapshot().ModSeq != o.ModSeq+1 {
			t.Error("a failed change was taken over")
		}
	})
}

func TestChangesOfOthersInBetweenAreSynced(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		a := open(t, m, 1)
		s.deliver(1)
		expect(t, a, 1)
		s.set(func() { s.mute = true })
		var o Outcome
		err := a.Change(func() (Outcome, error) {
			s.deliver(1)
			o = s.flag(1, 1, 1)
			return o, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Snapshot().ModSeq >= o.ModSeq {
			t.Error("the view claims to have what another session did")
		}
		if err := a.Await(t.Context(), o.ModSeq); err != nil {
			t.Fatal(err)
		}
		if a.Snapshot().Len() != 2 || flagsOf(t, a, 1) != 1 {
			t.Error("the view lacks something")
		}
	})
}

func TestNoticesDoNotWaitLongForChanges(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		a := open(t, m, 1)
		hang, ended := make(chan struct{}), make(chan error)
		go func() {
			ended <- a.Change(func() (Outcome, error) {
				<-hang
				return Outcome{}, context.Canceled
			})
		}()
		synctest.Wait()
		begun := time.Now()
		s.deliver(1)
		expect(t, a, 1)
		if took := time.Since(begun); took != yieldTime {
			t.Errorf("a delivery showed after %v", took)
		}
		close(hang)
		<-ended
		begun = time.Now()
		s.deliver(1)
		expect(t, a, 2)
		if took := time.Since(begun); took != 0 {
			t.Errorf("a notice still waits: %v", took)
		}
	})
}

// A sync that was answered before a change does not undo it.
func TestLateSyncsDoNotTakeTheViewBack(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		a := open(t, m, 1)
		s.deliver(1)
		expect(t, a, 1)
		synctest.Wait()
		hold := make(chan struct{})
		s.set(func() { s.hold = hold })
		refreshed := make(chan error)
		go func() { refreshed <- a.Refresh(t.Context()) }()
		synctest.Wait()
		if err := a.Change(func() (Outcome, error) { return s.flag(1, 1, 8), nil }); err != nil {
			t.Fatal(err)
		}
		close(hold)
		if err := <-refreshed; err != nil {
			t.Fatal(err)
		}
		if flagsOf(t, a, 1) != 8 {
			t.Error("the view was taken back")
		}
	})
}

func TestKeptViewsAreSyncedSince(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		for range 3 {
			s.deliver(1)
		}
		h := open(t, m, 1)
		since := h.Snapshot().ModSeq
		synctest.Wait() // until it is watched: what is closed before need not be
		h.Close()
		synctest.Wait()
		s.set(func() {
			if s.watched[1] != 0 {
				t.Error("a mailbox that nobody has selected is watched")
			}
		})
		if got := testutil.ToFloat64(m.metrics.kept); got != minWeight+3 {
			t.Errorf("metric counts %v kept messages", got)
		}
		s.deliver(1)
		h = open(t, m, 1)
		s.set(func() {
			if s.since != since {
				t.Errorf("the view was synced since %d, want %d", s.since, since)
			}
		})
		if h.Snapshot().Len() != 4 {
			t.Errorf("the view has %d messages", h.Snapshot().Len())
		}
		if got := testutil.ToFloat64(m.metrics.messages); got != 4 {
			t.Errorf("metric counts %v messages", got)
		}
		h.Close()

		// A mailbox that has gone back, or is another one, is opened anew.
		s.set(func() {
			s.boxes[1] = &truth{uidNext: 2, modseq: 2, states: []*storagev1.MessageState{{Uid: 1, Modseq: 2}}}
		})
		h = open(t, m, 1)
		if h.Snapshot().Len() != 1 || h.Snapshot().ModSeq != 2 {
			t.Error("the view is of another history")
		}
		h.Close()
	})
}

func TestShelfIsBounded(t *testing.T) {
	s := newShelf(2 * minWeight)
	for id := range uint64(3) {
		s.put(Key{"a", id}, newSnapshot(nil))
	}
	s.put(Key{"a", 3}, newSnapshot([]*chunk{new(make(chunk, minWeight+1))}))
	for id, kept := range []bool{false, true, true, false} {
		if got := s.take(Key{"a", uint64(id)}) != nil; got != kept {
			t.Errorf("mailbox %d is kept: %v", id, got)
		}
	}
	if s.messages != 0 || s.order.Len() != 0 || len(s.places) != 0 {
		t.Errorf("the empty shelf has %+v", s)
	}
}
