package imapmodel

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// place names a message: UIDs mean something together with their UIDVALIDITY (RFC 9051 section 2.3.1.1).
type place struct {
	validity uint64 // and whose mailbox it is, see actor.space
	uid      uint32
}

// state is what a client was told of a message. modseq is 0 where it was not told.
type state struct {
	flags  flagSet
	modseq uint64
}

// witness writes down what all clients were told, and finds where they were told what cannot be true together.
type witness struct {
	mu     sync.Mutex
	errors []string
	// subjects tell messages apart; a copy has that of its original.
	subjects map[place]string
	// present and gone are when somebody first knew that a message is there, or that it is not any more.
	present, gone map[place]time.Time
	// states by modification sequence: each stands for one set of flags.
	states map[place]map[uint64]flagSet
	// taken are messages that somebody was told to have removed by MOVE or REPLACE. flagged are those that somebody was about to give \Deleted, and
	// when; purged and emptied say when somebody had just expunged messages, or all that a mailbox had with the flag. No others may go, but
	// for copies of flagged ones.
	taken           map[place]bool
	flagged, purged map[place]time.Time
	emptied         map[uint64]time.Time
	copies          map[place]original
	// rescued are the subjects of messages that RENAME has taken out of INBOX, whose UIDVALIDITY is inbox.
	rescued map[string]bool
	inbox   uint64
	// unanswered are the subjects of messages that were copied or moved when the mailbox was deleted, so that nobody knows what became of them.
	unanswered map[string]bool
	// highest is the highest modification sequence that anybody was told, by UIDVALIDITY.
	highest map[uint64]uint64
	// acknowledged are the subjects of messages that were accepted without telling a UID.
	acknowledged map[string]bool
	// points are what clients remember, to come back with QRESYNC.
	points []point
	counts map[string]int
}

// original is that of a copy, and when the copy was known.
type original struct {
	place
	at time.Time
}

// point is what a client knew of a mailbox at a modification sequence.
type point struct {
	mailbox  string
	validity uint64
	modseq   uint64
	states   map[uint32]state
}

func newWitness() *witness {
	return &witness{
		subjects: map[place]string{}, present: map[place]time.Time{}, gone: map[place]time.Time{}, states: map[place]map[uint64]flagSet{},
		taken: map[place]bool{}, flagged: map[place]time.Time{}, purged: map[place]time.Time{}, emptied: map[uint64]time.Time{},
		copies: map[place]original{}, unanswered: map[string]bool{}, rescued: map[string]bool{}, highest: map[uint64]uint64{}, acknowledged: map[string]bool{}, counts: map[string]int{},
	}
}

// maxErrors is how many contradictions are kept.
const maxErrors = 20

func (w *witness) errorLocked(format string, args ...any) {
	if len(w.errors) < maxErrors {
		w.errors = append(w.errors, fmt.Sprintf(format, args...))
	}
}

func (w *witness) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.errors) > 0
}

func (w *witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errorLocked("%v", err)
}

func (w *witness) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// there notes that a message is there, and its subject if that is known.
func (w *witness) there(p place, subject string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.present[p]; !known {
		w.present[p] = time.Now()
	}
	if subject == "" {
		return
	}
	if old, known := w.subjects[p]; known && old != subject {
		w.errorLocked("UID %v was %q, and is %q", p, old, subject)
	}
	w.subjects[p] = subject
}

// copied notes what COPYUID tells: a message has the subject of another one, and its flags.
func (w *witness) copied(from, to place) {
	w.mu.Lock()
	subject := w.subjects[from]
	w.copies[to] = original{from, time.Now()}
	w.mu.Unlock()
	w.there(to, subject)
}

// deletedLocked tells whether a message can have had \Deleted by a time: by itself, or as the copy of one that had it.
func (w *witness) deletedLocked(p place, by time.Time) bool {
	if at, ok := w.flagged[p]; ok && at.Before(by) {
		return true
	}
	from, ok := w.copies[p]
	return ok && w.deletedLocked(from.place, from.at)
}

// told notes flags and the modification sequence of a message.
func (w *witness) told(p place, s state) {
	if s.modseq == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.states[p] == nil {
		w.states[p] = map[uint64]flagSet{}
	}
	if old, known := w.states[p][s.modseq]; known && old != s.flags {
		w.errorLocked("UID %v was (%s) at %d, and is (%s)", p, old, s.modseq, s.flags)
	}
	w.states[p][s.modseq] = s.flags
	w.highest[p.validity] = max(w.highest[p.validity], s.modseq)
}

// covers checks a HIGHESTMODSEQ that was asked for when others were told as much.
func (w *witness) covers(validity uint64, modseq, atLeast uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if modseq < atLeast {
		w.errorLocked("HIGHESTMODSEQ of %d is %d, somebody was told of %d before", validity, modseq, atLeast)
	}
	w.highest[validity] = max(w.highest[validity], modseq)
}

// vanished notes that a message is gone.
func (w *witness) vanished(p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.gone[p]; !known {
		w.gone[p] = time.Now()
	}
	if _, known := w.present[p]; !known {
		w.present[p] = time.Now()
	}
}

// took notes that somebody was told to have removed a message.
func (w *witness) took(p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken[p] = true
}

// expunged notes that somebody has just expunged, or has tried to, messages with \Deleted; nil: all of a mailbox.
func (w *witness) expunged(validity uint64, uids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uids == nil {
		w.emptied[validity] = time.Now()
	}
	for _, uid := range uids {
		w.purged[place{validity, uid}] = time.Now()
	}
}

// leavesOpen notes that nobody knows what a command has done to messages.
func (w *witness) leavesOpen(validity uint64, uids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range uids {
		w.unanswered[w.subjects[place{validity, uid}]] = true
	}
}

// explainedLocked tells whether it is known why a message is gone.
func (w *witness) explainedLocked(p place) bool {
	by := w.emptied[p.validity]
	if at := w.purged[p]; at.After(by) {
		by = at
	}
	if p.validity == w.inbox && w.rescued[w.subjects[p]] {
		return true
	}
	return w.taken[p] || w.unanswered[w.subjects[p]] || w.deletedLocked(p, by)
}

// flags notes that somebody is about to give messages \Deleted.
func (w *witness) flags(validity uint64, uids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range uids {
		if p := (place{validity, uid}); w.flagged[p].IsZero() {
			w.flagged[p] = time.Now()
		}
	}
}

// identified gives those of the UIDs whose subjects are known.
func (w *witness) identified(validity uint64, uids []uint32) []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool { return w.subjects[place{validity, uid}] == "" })
}

// looked compares all that a client knows of a mailbox, having asked at a time, with what others knew before.
func (w *witness) looked(who string, validity uint64, uids map[uint32]bool, asked time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, at := range w.present {
		if p.validity == validity && at.Before(asked) && !uids[p.uid] {
			if _, known := w.gone[p]; !known {
				w.gone[p] = time.Now()
			}
		}
	}
	for uid := range uids {
		if at, known := w.gone[place{validity, uid}]; known && at.Before(asked) {
			w.errorLocked("%s sees UID %d of %d, which was gone before", who, uid, validity)
		}
	}
}

// settle compares what all were told with what is left in the end.
func (w *witness) settle(truth map[uint64]point) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[string]bool{}
	for _, subject := range w.subjects {
		found[subject] = true
	}
	for subject := range w.acknowledged {
		if !found[subject] {
			w.errorLocked("%q was accepted, and is nowhere", subject)
		}
	}
	left := map[place]bool{}
	for _, t := range truth {
		for uid := range t.states {
			left[place{t.validity, uid}] = true
		}
	}
	for p := range w.present {
		_, kept := truth[p.validity] // else its mailbox is gone
		switch {
		case left[p] && !w.gone[p].IsZero():
			w.errorLocked("UID %v is there, and was gone", p)
		case !left[p] && kept && !w.explainedLocked(p):
			w.errorLocked("UID %v (%q), a copy of %v, is lost", p, w.subjects[p], w.copies[p])
		}
	}
	for validity, at := range w.highest {
		if t, kept := truth[validity]; kept && t.modseq < at {
			w.errorLocked("HIGHESTMODSEQ of %s is %d, somebody was told of %d", t.mailbox, t.modseq, at)
		}
	}
}

func (w *witness) summary() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := fmt.Sprintf("%d messages were told of, %d are gone;", len(w.present), len(w.gone))
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		out += fmt.Sprintf(" %s %d", what, w.counts[what])
	}
	return out
}
