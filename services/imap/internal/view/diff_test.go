package view

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// truth is a mailbox as storage would have it.
type truth struct {
	states  []*storagev1.MessageState
	uidNext uint32
	modseq  uint64
}

// step makes one random change, and gives it as Sync would tell it.
func (m *truth) step(r *rand.Rand) (changed []*storagev1.MessageState, vanished []*storagev1.UidRange) {
	m.modseq++
	switch pick := r.IntN(10); {
	case pick < 3 || len(m.states) == 0:
		for range 1 + r.IntN(3)*r.IntN(300) {
			m.uidNext += uint32(1 + r.IntN(3))
			s := &storagev1.MessageState{Uid: m.uidNext - 1, Modseq: m.modseq, Size: uint64(r.IntN(1000))}
			m.states = append(m.states, s)
			changed = append(changed, s)
		}
	case pick < 7:
		for range 1 + r.IntN(5) {
			i := r.IntN(len(m.states))
			s := &storagev1.MessageState{Uid: m.states[i].Uid, Modseq: m.modseq, Size: m.states[i].Size, Flags: uint32(r.IntN(32))}
			if r.IntN(3) == 0 {
				s.Keywords = []string{"$Forwarded", fmt.Sprint("k", r.IntN(3))}
			}
			m.states[i] = s
		}
		for _, s := range m.states {
			if s.Modseq == m.modseq {
				changed = append(changed, s)
			}
		}
	default:
		from := r.IntN(len(m.states))
		to := min(len(m.states), from+1+r.IntN(2)*r.IntN(1200))
		vanished = append(vanished, &storagev1.UidRange{Start: m.states[from].Uid, Stop: m.states[to-1].Uid})
		m.states = slices.Delete(m.states, from, to)
	}
	return changed, vanished
}

func (m *truth) apply(t *testing.T, s *Snapshot, changed []*storagev1.MessageState, vanished []*storagev1.UidRange) *Snapshot {
	t.Helper()
	b := newBuilder(s)
	for _, r := range vanished {
		b.drop(r.Start, r.Stop)
	}
	for _, c := range changed {
		if !b.put(messageOf(c)) {
			t.Fatalf("UID %d was refused", c.Uid)
		}
	}
	next := b.snapshot()
	next.UIDNext, next.ModSeq = m.uidNext, m.modseq
	return next
}

// check compares a snapshot with the truth, and its lookups with each other.
func (m *truth) check(t *testing.T, s *Snapshot) {
	t.Helper()
	if s.Len() != len(m.states) {
		t.Fatalf("snapshot has %d messages, want %d", s.Len(), len(m.states))
	}
	for i, got := range s.All() {
		if want := messageOf(m.states[i]); got != want || s.At(i) != want {
			t.Fatalf("message %d is %+v and %+v, want %+v", i, got, s.At(i), want)
		}
		if found, at, ok := s.Find(got.UID); !ok || at != i || found != got {
			t.Fatalf("Find(%d) gives %d %v, want %d", got.UID, at, ok, i)
		}
		if at := s.Seek(got.UID); at != i {
			t.Fatalf("Seek(%d) gives %d, want %d", got.UID, at, i)
		}
	}
	if at := s.Seek(m.uidNext); at != s.Len() {
		t.Fatalf("Seek past the end gives %d, want %d", at, s.Len())
	}
}

// client believes what a server tells it, as a simple IMAP client does: a list of flags by sequence number.
type client struct {
	known []Message
}

func (c *client) hear(t *testing.T, u Update) {
	t.Helper()
	for i, seq := range u.Expunged {
		if int(seq) > len(c.known) || seq == 0 {
			t.Fatalf("EXPUNGE of %d, the client knows %d messages", seq, len(c.known))
		}
		if got := c.known[seq-1].UID; got != u.ExpungedUIDs[i] {
			t.Fatalf("EXPUNGE of %d hits UID %d, want %d", seq, got, u.ExpungedUIDs[i])
		}
		c.known = slices.Delete(c.known, int(seq)-1, int(seq))
	}
	if u.Exists > 0 {
		if int(u.Exists) <= len(c.known) {
			t.Fatalf("EXISTS %d, the client knows %d", u.Exists, len(c.known))
		}
		for i := len(c.known); i < int(u.Exists); i++ {
			c.known = append(c.known, u.Told.At(i)) // it would FETCH them
		}
	}
	for _, change := range u.Changed {
		if got := c.known[change.Seq-1].UID; got != change.Message.UID {
			t.Fatalf("FETCH of %d hits UID %d, want %d", change.Seq, got, change.Message.UID)
		}
		c.known[change.Seq-1] = change.Message
	}
	// The session's map of sequence numbers is what the client believes.
	if u.Told.Len() != len(c.known) {
		t.Fatalf("the session believes %d messages, the client %d", u.Told.Len(), len(c.known))
	}
	for i, m := range u.Told.All() {
		if m.UID != c.known[i].UID || !m.sameFlags(c.known[i]) {
			t.Fatalf("message %d: the session believes %+v, the client %+v", i+1, m, c.known[i])
		}
	}
}

// TestDiffAgainstModel lets many clients follow a mailbox that changes at random; each is told at
// random moments, with or without expunges.
func TestDiffAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &truth{uidNext: 1, modseq: 1}
		current := newSnapshot(nil)
		const clients = 3
		told, known := [clients]*Snapshot{current, current, current}, [clients]client{}
		for range 80 {
			changed, vanished := m.step(r)
			current = m.apply(t, current, changed, vanished)
			if r.IntN(10) == 0 {
				m.check(t, current)
			}
			for i := range clients {
				if r.IntN(2+i) != 0 {
					continue
				}
				u := Diff(told[i], current, r.IntN(3) == 0)
				known[i].hear(t, u)
				told[i] = u.Told
			}
		}
		for i := range clients {
			u := Diff(told[i], current, true)
			known[i].hear(t, u)
			m.check(t, u.Told)
			if again := Diff(u.Told, current, true); !again.Empty() {
				t.Fatalf("there is something to tell twice: %+v", again)
			}
		}
	}
}

func TestDiffSkipsSharedChunks(t *testing.T) {
	m := &truth{uidNext: 1, modseq: 1}
	for range 100_000 {
		m.states = append(m.states, &storagev1.MessageState{Uid: m.uidNext, Modseq: 1})
		m.uidNext++
	}
	before := m.apply(t, newSnapshot(nil), m.states, nil)
	m.states[77_777] = &storagev1.MessageState{Uid: 77_778, Modseq: 2, Flags: 1}
	after := m.apply(t, before, m.states[77_777:77_778], []*storagev1.UidRange{{Start: 5, Stop: 6}})
	copied := 0
	for i, c := range after.chunks {
		if before.chunks[i] != c {
			copied++
		}
	}
	if copied != 2 {
		t.Errorf("%d chunks were copied for changes in two", copied)
	}
	u := Diff(before, after, true)
	if !slices.Equal(u.Expunged, []uint32{6, 5}) || len(u.Changed) != 1 || u.Changed[0].Seq != 77_776 {
		t.Errorf("wrong update: %v, %+v", u.Expunged, u.Changed)
	}
}

func TestPutBetweenKnownUIDsIsRefused(t *testing.T) {
	b := newBuilder(newSnapshot(nil))
	for _, uid := range []uint32{1, 5} {
		if !b.put(Message{UID: uid}) {
			t.Fatalf("UID %d was refused", uid)
		}
	}
	if b.put(Message{UID: 3}) {
		t.Error("a message took the sequence number of another")
	}
}

// TestOwnChanges: what a session changed itself it knows before the view does.
func TestOwnChanges(t *testing.T) {
	b := newBuilder(newSnapshot(nil))
	for uid := range uint32(3 * chunkSize) {
		b.put(Message{UID: uid + 1, ModSeq: 1, keywords: noKeywords})
	}
	before := b.snapshot()
	change := []*storagev1.MessageState{{Uid: 7, Modseq: 2, Flags: uint32(storagev1.Flag_FLAG_SEEN)}}
	told := before.Replace(change)
	if u := Diff(told, before, false); !u.Empty() {
		t.Errorf("a view that is behind takes the change back: %+v", u.Changed)
	}
	now := before.Replace(change)
	if u := Diff(told, now, false); !u.Empty() || u.Told != now {
		t.Error("the session does not share the view's memory again")
	}
}
