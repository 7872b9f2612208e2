// Package ledger stands outside the system: clients work on it over SMTP, LMTP, IMAP and POP3, whatever happens to it, and each writes down
// what it was told. Afterwards all that was acknowledged must be true.
package ledger

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"

	"github.com/yubin-mail/yubin/tests/harness"
)

// outcome is what is known of an action on a message from the answer that its client got.
type outcome int

const (
	untried outcome = iota
	unknown         // no answer came: it has happened or not
	done            // it was acknowledged
	refused
)

// entry is one message. One client delivers it and another may delete it, before the first has its answer.
type entry struct {
	account            string
	delivery, deletion outcome
	// flagged is what the last answer about \Flagged said. It is not known any more once an answer is missing: what was asked for then
	// may happen after what is asked for later.
	flagged, flagUnknown bool
	hash                 [sha256.Size]byte
}

// place is where a UID says that a message is.
type place struct {
	account, mailbox string
	uidValidity      uint32
	uid              imap.UID
}

// box is a mailbox.
type box struct {
	account, mailbox string
	uidValidity      uint32
}

// Ledger is what the clients were told. Each attempt to deliver has a message of its own.
type Ledger struct {
	mu       sync.Mutex
	rng      *rand.Rand
	next     int
	entries  map[string]*entry
	sessions [][]string       // keys that each POP3 session deleted with QUIT
	places   map[place]string // every UID ever seen, and its message
	uidNext  map[box]uint32   // UIDNEXT of each mailbox, as last seen
	verified map[box]uint32   // UIDNEXT of each mailbox when all of it was last listed
	troubles []string         // what clients have seen that may not be

	imapUsers, popUsers []string
}

// New makes a ledger for accounts that are read over IMAP and others that are read over POP3. The same seed gives the same messages.
func New(seed uint64, imapUsers, popUsers []string) *Ledger {
	return &Ledger{
		rng:     rand.New(rand.NewPCG(seed, 1)), // repeatable on purpose
		entries: map[string]*entry{}, places: map[place]string{}, uidNext: map[box]uint32{}, verified: map[box]uint32{},
		imapUsers: imapUsers, popUsers: popUsers,
	}
}

var keyPattern = regexp.MustCompile(`X-Key: (k[0-9]+)\r\n`)

// keyOf finds a message's key.
func keyOf(message []byte) string {
	m := keyPattern.FindSubmatch(message[:min(len(message), 8<<10)])
	if m == nil {
		return ""
	}
	return string(m[1])
}

// compose makes a message that nobody has sent before: small ones, which go into packs, and some that are objects of their own.
func (l *Ledger) compose(account string) (key string, message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	key = fmt.Sprintf("k%d", l.next)
	size := l.rng.IntN(8 << 10)
	switch l.rng.IntN(40) {
	case 0:
		size = 1<<20 + l.rng.IntN(1<<19)
	case 1, 2:
		size = l.rng.IntN(200 << 10)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "From: sender@elsewhere.example\r\nTo: %s\r\nSubject: %s\r\nX-Key: %s\r\n\r\n", harness.Address(account), key, key)
	for b.Len() < size {
		fmt.Fprintf(&b, "%x %s\r\n", l.rng.Uint64(), strings.Repeat("text ", 10))
	}
	message = []byte(b.String())
	l.entries[key] = &entry{account: account, hash: sha256.Sum256(message), delivery: unknown}
	return key, message
}

func (l *Ledger) intn(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(n)
}

// delivered notes the answer to a delivery.
func (l *Ledger) delivered(key string, o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[key].delivery = o
}

// deleted notes that the deletion of messages is under way, or its answer.
func (l *Ledger) deleted(o outcome, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if e := l.entries[key]; e != nil {
			e.deletion = o
		}
	}
}

// flagging notes that \Flagged is about to be changed.
func (l *Ledger) flagging(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil {
		e.flagUnknown = true
	}
}

// flagged notes the answer to flagging, if all before had one, too.
func (l *Ledger) flagged(key string, set, certain bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil {
		e.flagged, e.flagUnknown = set, !certain
	}
}

// certain tells whether the state of \Flagged is known.
func (l *Ledger) certain(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	return e != nil && !e.flagUnknown
}

// quitting notes that a POP3 session is about to delete messages, all or none. What an earlier session without an answer meant to delete
// and this one still sees, is this one's from now on.
func (l *Ledger) quitting(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, earlier := range l.sessions {
		l.sessions[i] = slices.DeleteFunc(earlier, func(key string) bool { return slices.Contains(keys, key) })
	}
	l.sessions = append(l.sessions, slices.Clone(keys))
}

// trouble notes what may not be.
func (l *Ledger) trouble(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.troubleLocked(format, args...)
}

func (l *Ledger) troubleLocked(format string, args ...any) {
	if len(l.troubles) < 20 {
		l.troubles = append(l.troubles, fmt.Sprintf(format, args...))
	}
}

// floor gives what UIDNEXT of a mailbox must not be below from now on.
func (l *Ledger) floor(b box) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uidNext[b]
}

// selected notes the UIDNEXT in the answer to a SELECT that was sent after floor was taken.
func (l *Ledger) selected(b box, floor, now uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now < floor {
		l.troubleLocked("UIDNEXT of %v fell from %d to %d", b, floor, now)
	}
	l.uidNext[b] = max(l.uidNext[b], now)
}

// seen notes that a message was seen at a place.
func (l *Ledger) seen(p place, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, known := l.places[p]; known && old != key {
		l.troubleLocked("UID %d of %s in %s was %s and now is %s", p.uid, p.mailbox, p.account, old, key)
	}
	l.places[p] = key
}
