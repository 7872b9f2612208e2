package view

import (
	"testing"
	"testing/synctest"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// signalled tells whether a signal is there when nothing moves any more.
func signalled(f *Follow) bool {
	synctest.Wait()
	select {
	case <-f.Changed():
		return true
	default:
		return false
	}
}

// TestFollow: who follows mailboxes hears of them without a view, and of nothing else.
func TestFollow(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		for id := range uint64(3) {
			s.add(id + 1)
		}
		f := m.Follow("a", false)
		f.Set(map[Key]uint64{{"a", 1}: 1, {"a", 2}: 1})
		if signalled(f) {
			t.Error("a signal for what is known")
		}
		s.deliver(3)
		if signalled(f) {
			t.Error("a signal for another mailbox")
		}
		s.deliver(1)
		if !signalled(f) {
			t.Error("no signal")
		}
		f.Set(map[Key]uint64{{"a", 1}: 2, {"a", 2}: 1})
		// A view of the same mailbox comes and goes.
		h := open(t, m, 1)
		h.Close()
		signalled(f)
		s.deliver(1)
		if !signalled(f) {
			t.Error("no signal after a view was closed")
		}
		f.Set(map[Key]uint64{{"a", 1}: 3})
		s.deliver(2)
		if signalled(f) {
			t.Error("a signal for what is not followed any more")
		}
		// Of two accounts: what is followed in one stays so when nothing is in the other any more.
		f.Set(map[Key]uint64{{"a", 1}: 3, {"b", 7}: 1})
		synctest.Wait() // until it is subscribed
		s.set(func() { s.tell(&storagev1.WatchResponse_Change{AccountId: "b", MailboxId: 7, Modseq: 2}) })
		if !signalled(f) {
			t.Error("no signal for the other account")
		}
		f.Set(map[Key]uint64{{"a", 1}: 3})
		s.set(func() { s.tell(&storagev1.WatchResponse_Change{AccountId: "b", MailboxId: 7, Modseq: 3}) })
		if signalled(f) {
			t.Error("a signal for an account that is not followed any more")
		}
		s.deliver(1)
		if !signalled(f) {
			t.Error("no signal for the first account")
		}
		f.Set(map[Key]uint64{{"a", 1}: 4})
		s.set(func() { s.mute = true })
		s.deliver(1)
		s.set(func() { s.mute = false })
		s.cut()
		time.Sleep(time.Minute) // in the bubble: the stream is opened again
		if !signalled(f) {
			t.Error("what was lost with the stream is not made good")
		}
		s.remove(1)
		if !signalled(f) {
			t.Error("no signal for a mailbox that is gone")
		}
		f.Close()
		if len(m.follows) != 0 {
			t.Error("something is kept")
		}
	})
}

// TestFollowNames: there are no notices for names, so that they are looked at from time to time, and when this gateway has changed one.
func TestFollowNames(t *testing.T) {
	run(t, func(t *testing.T, _ *server, m *Manager) {
		names, messages := m.Follow("a", true), m.Follow("a", false)
		m.TouchAccount("a")
		m.TouchAccount("b")
		if !signalled(names) || signalled(messages) {
			t.Error("only who follows names hears of them")
		}
		time.Sleep(m.opts.PollInterval)
		if !signalled(names) || signalled(messages) {
			t.Error("names are not looked at")
		}
		messages.Later(time.Second)
		if signalled(messages) {
			t.Error("a signal too early")
		}
		time.Sleep(time.Second)
		if !signalled(messages) {
			t.Error("no signal")
		}
		names.Close()
		messages.Close()
	})
}
