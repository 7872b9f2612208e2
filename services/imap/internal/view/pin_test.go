package view

import (
	"runtime"
	"testing"
	"weak"
)

// TestSilentSessionPinsOneVersion: a session that says nothing for long keeps what it was told last, and no version between that and now.
func TestSilentSessionPinsOneVersion(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		s.deliver(1)
		idle := open(t, m, 1)
		told := idle.Snapshot()
		var versions []weak.Pointer[Snapshot]
		for i := range 50 {
			s.deliver(1)
			expect(t, idle, i+2)
			versions = append(versions, weak.Make(idle.Snapshot()))
		}
		runtime.GC()
		alive := 0
		for _, v := range versions {
			if v.Value() != nil {
				alive++
			}
		}
		if alive > 1 {
			t.Errorf("%d of %d versions are still held, besides the one that the session was told", alive, len(versions))
		}
		if u := Diff(told, idle.Snapshot(), true); u.Exists != 51 {
			t.Errorf("the session hears of %d messages, want 51", u.Exists)
		}
	})
}
