package crash

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	flagged            bool
	hash               [sha256.Size]byte
	size               int64
}

// place is where a UID says that a message is.
type place struct {
	account, mailbox string
	uidValidity      uint32
	uid              imap.UID
}

// ledger is what the clients were told, and so what must be true after any crash. Each attempt to deliver has a message of its own.
type ledger struct {
	mu       sync.Mutex
	rng      *rand.Rand
	next     int
	entries  map[string]*entry
	sessions [][]string        // keys that a POP3 session deleted, where its QUIT had no answer yet
	places   map[place]string  // every UID ever seen, and its message
	uidNext  map[string]uint32 // UIDNEXT of a mailbox when it was last looked at
}

func newLedger(seed uint64) *ledger {
	return &ledger{
		rng:     rand.New(rand.NewPCG(seed, 1)), // repeatable on purpose
		entries: map[string]*entry{}, places: map[place]string{}, uidNext: map[string]uint32{},
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
func (l *ledger) compose(account string) (key string, message []byte) {
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
	l.entries[key] = &entry{account: account, hash: sha256.Sum256(message), delivery: unknown, size: int64(len(message))}
	return key, message
}

func (l *ledger) intn(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(n)
}

// delivered notes the answer to a delivery.
func (l *ledger) delivered(key string, o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[key].delivery = o
}

// deleted notes that the deletion of messages is under way, or its answer.
func (l *ledger) deleted(o outcome, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		l.entries[key].deletion = o
	}
}

// flagged notes that \Flagged was acknowledged.
func (l *ledger) flagged(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[key].flagged = true
}

// quitting notes that a POP3 session is about to delete messages, all or none.
func (l *ledger) quitting(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = append(l.sessions, keys)
}

// verify compares what is stored with what the clients were told.
func (l *ledger) verify(t *testing.T, s *harness.System) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	here := map[string]found{}
	sizes, counts := map[string]int64{}, map[string]int64{}
	for _, account := range []string{imapUser, popUser} {
		for _, f := range l.list(t, s, account) {
			key := f.key
			e := l.entries[key]
			require.NotNil(t, e, "a message that nobody sent, in %s", f.mailbox)
			require.Equal(t, e.account, account, "%s is with its recipient", key)
			other, twice := here[key]
			require.False(t, twice, "%s is there twice: %s %d and %s %d", key, other.mailbox, other.uid, f.mailbox, f.uid)
			require.Equal(t, e.hash, f.hash, "%s is whole", key)
			if e.flagged {
				require.Contains(t, f.flags, imap.FlagFlagged, "%s has its flag", key)
			}
			here[key] = f.found
			sizes[account] += f.size
			counts[account]++
		}
	}
	for _, session := range l.sessions {
		left := slices.DeleteFunc(slices.Clone(session), func(key string) bool { _, ok := here[key]; return !ok })
		if len(left) != 0 {
			require.Len(t, left, len(session), "a POP3 session deletes all or nothing")
		}
	}
	l.sessions = nil
	acknowledged := 0
	for key, e := range l.entries {
		_, ok := here[key]
		switch {
		case e.delivery == done && e.deletion == untried:
			acknowledged++
			require.True(t, ok, "%s was acknowledged, and is lost", key)
		case e.deletion == done || e.delivery == refused:
			require.False(t, ok, "%s was deleted or refused, and is back", key)
		case ok: // now it is known
			e.delivery, e.deletion = done, untried
		default:
			e.deletion = done
		}
	}
	t.Logf("%d messages acknowledged and there, of %d tried; %d bytes and %d messages with %s, %d and %d with %s",
		acknowledged, l.next, sizes[imapUser], counts[imapUser], imapUser, sizes[popUser], counts[popUser], popUser)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, account := range []string{imapUser, popUser} {
			u := s.Usage(t, account)
			assert.Equal(c, sizes[account], u.UsedBytes, "usage of %s is the sum of sizes", account)
			assert.Equal(c, counts[account], u.UsedMessages)
		}
	}, settleTime, tick)
	s.NoDrift(t)
}

// listed is a message with its key.
type listed struct {
	found
	key string
}

// list reads all mailboxes of an account, and checks that no UID is ever another message's.
func (l *ledger) list(t *testing.T, s *harness.System, account string) (all []listed) {
	t.Helper()
	c := s.IMAPClient(t, 0, account, nil)
	defer c.Close()
	peek := &imap.FetchItemBodySection{Peek: true}
	mailboxes, err := c.List("", "*", nil).Collect()
	require.NoError(t, err)
	for _, box := range mailboxes {
		data, err := c.Select(box.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		require.NoError(t, err)
		name := fmt.Sprintf("%s %s %d", account, box.Mailbox, data.UIDValidity)
		before := l.uidNext[name]
		require.GreaterOrEqual(t, uint32(data.UIDNext), before, "UIDNEXT of %s never falls", name)
		l.uidNext[name] = uint32(data.UIDNext)
		if data.NumMessages == 0 {
			continue
		}
		messages, err := c.Fetch(imap.SeqSet{imap.SeqRange{Start: 1}}, &imap.FetchOptions{
			UID: true, Flags: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{peek},
		}).Collect()
		require.NoError(t, err)
		require.Len(t, messages, int(data.NumMessages))
		for _, m := range messages {
			body := m.FindBodySection(peek)
			require.EqualValues(t, len(body), m.RFC822Size)
			key := keyOf(body)
			at := place{account, box.Mailbox, data.UIDValidity, m.UID}
			if old, known := l.places[at]; known {
				require.Equal(t, old, key, "UID %d of %s", m.UID, name)
			} else {
				require.GreaterOrEqual(t, uint32(m.UID), before, "a new message of %s has a new UID", name)
			}
			l.places[at] = key
			if strings.HasPrefix(string(body), "Return-Path:") {
				body = harness.AfterTrace(t, body)
			}
			all = append(all, listed{key: key, found: found{
				mailbox: box.Mailbox, uidValidity: data.UIDValidity, uid: m.UID, size: m.RFC822Size, hash: sha256.Sum256(body), flags: m.Flags,
			}})
		}
	}
	return all
}
