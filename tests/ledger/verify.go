package ledger

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

const (
	// settleTime is longer than the quota ledger takes to learn of what storage has.
	settleTime = time.Minute
	tick       = 100 * time.Millisecond
)

// found is a message as it is in a mailbox.
type found struct {
	place
	key   string
	size  int64
	hash  [sha256.Size]byte
	flags []imap.Flag
}

// Verify compares what is stored with what the clients were told. The system runs, and no client is at work.
func (l *Ledger) Verify(t *testing.T, s *harness.System) {
	t.Helper()
	sizes, counts := map[string]int64{}, map[string]int64{}
	here := map[string]found{}
	for _, account := range slices.Concat(l.imapUsers, l.popUsers) {
		for _, f := range l.list(t, s, account) {
			e := l.entries[f.key]
			require.NotNil(t, e, "a message that nobody sent, in %s", f.mailbox)
			require.Equal(t, e.account, account, "%s is with its recipient", f.key)
			other, twice := here[f.key]
			require.False(t, twice, "%s is there twice: %+v and %+v", f.key, other.place, f.place)
			require.Equal(t, e.hash, f.hash, "%s is whole", f.key)
			if !e.flagUnknown {
				require.Equal(t, e.flagged, slices.Contains(f.flags, imap.FlagFlagged), "%s has \\Flagged as it was left, at %+v", f.key, f.place)
			}
			here[f.key] = f
			sizes[account] += f.size
			counts[account]++
		}
	}
	l.mu.Lock()
	l.compare(t, here)
	l.mu.Unlock()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for account, size := range sizes {
			u := s.Usage(t, account)
			assert.Equal(c, size, u.UsedBytes, "usage of %s is the sum of sizes", account)
			assert.Equal(c, counts[account], u.UsedMessages)
		}
	}, settleTime, tick)
	s.NoDrift(t)
}

// compare goes through all that was ever sent.
func (l *Ledger) compare(t *testing.T, here map[string]found) {
	t.Helper()
	require.Empty(t, l.troubles, "what clients have seen meanwhile")
	for _, session := range l.sessions {
		left := slices.DeleteFunc(slices.Clone(session), func(key string) bool { _, ok := here[key]; return !ok })
		if len(left) != 0 {
			require.Len(t, left, len(session), "a POP3 session deletes all or nothing")
		}
	}
	l.sessions = nil
	var acknowledged, gone, open int
	for key, e := range l.entries {
		_, ok := here[key]
		switch {
		case e.delivery == done && e.deletion == untried:
			acknowledged++
			require.True(t, ok, "%s was acknowledged, and is lost", key)
		case e.deletion == done || e.delivery == refused:
			gone++
			require.False(t, ok, "%s was deleted or refused, and is back", key)
		case ok: // now it is known
			open++
			e.delivery, e.deletion = done, untried
		default:
			open++
			e.deletion = done
		}
	}
	t.Logf("%d messages tried: %d acknowledged and there, %d deleted or refused and gone, %d without an answer", l.next, acknowledged, gone, open)
}

// Acknowledged tells how many messages were received and deleted so that a client was told so, and how many have a flag now.
func (l *Ledger) Acknowledged() (received, deleted, flagged int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		received += count(e.delivery == done)
		deleted += count(e.deletion == done)
		flagged += count(e.flagged)
	}
	return received, deleted, flagged
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// list reads all mailboxes of an account, and checks that no UID is ever another message's and UIDNEXT never falls.
func (l *Ledger) list(t *testing.T, s *harness.System, account string) (all []found) {
	t.Helper()
	c := s.IMAPClient(t, 0, account, nil)
	defer c.Close()
	mailboxes, err := c.List("", "*", nil).Collect()
	require.NoError(t, err)
	for _, m := range mailboxes {
		all = append(all, l.listMailbox(t, c, account, m.Mailbox)...)
	}
	return all
}

func (l *Ledger) listMailbox(t *testing.T, c *imapclient.Client, account, mailbox string) (all []found) {
	t.Helper()
	data, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(t, err)
	b := box{account, mailbox, data.UIDValidity}
	before := l.floor(b)
	now := uint32(data.UIDNext)
	require.GreaterOrEqual(t, now, before, "UIDNEXT of %v never falls", b)
	l.selected(b, before, now)
	if data.NumMessages == 0 {
		return nil
	}
	peek := &imap.FetchItemBodySection{Peek: true}
	fetch := c.Fetch(imap.SeqSet{imap.SeqRange{Start: 1}}, &imap.FetchOptions{
		UID: true, Flags: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{peek},
	})
	defer fetch.Close()
	for next := fetch.Next(); next != nil; next = fetch.Next() { // one by one: a mailbox may be larger than the memory
		m, err := next.Collect()
		require.NoError(t, err)
		body := m.FindBodySection(peek)
		require.EqualValues(t, len(body), m.RFC822Size)
		f := found{place: place{account, mailbox, data.UIDValidity, m.UID}, key: keyOf(body), size: m.RFC822Size, flags: m.Flags}
		if old, known := l.places[f.place]; known {
			require.Equal(t, old, f.key, "UID %d of %v", m.UID, b)
		} else {
			require.GreaterOrEqual(t, uint32(m.UID), l.verified[b], "a new message of %v has a new UID", b)
		}
		require.Less(t, uint32(m.UID), now)
		l.seen(f.place, f.key)
		if strings.HasPrefix(string(body), "Return-Path:") {
			body = harness.AfterTrace(t, body)
		}
		f.hash = sha256.Sum256(body)
		all = append(all, f)
	}
	require.NoError(t, fetch.Close())
	require.Len(t, all, int(data.NumMessages))
	l.verified[b] = now
	return all
}
