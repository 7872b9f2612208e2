package view

import "time"

// Follow tells that something has changed in mailboxes, of one account or of several, of which nothing else is known here. It costs a gateway a few
// words for each mailbox, where a view has all its messages. Some signals may be for nothing.
type Follow struct {
	*Signal
	manager *Manager
	account string // whose names are followed
	// The rest is guarded by manager.mu.
	known map[Key]uint64 // modseq by mailbox
	names bool           // mailboxes that come, go or are renamed count, too
	// touches counts the signals that may be about names.
	touches uint64
}

// Follow begins to follow an account; Set says which mailboxes. With names, Changed gets a signal each PollInterval, too: storage has no notice for
// what happens to names, which is seen at once only if it happens through this gateway (TouchAccount).
func (m *Manager) Follow(accountID string, names bool) *Follow {
	f := &Follow{Signal: newSignal(), manager: m, account: accountID, known: map[Key]uint64{}, names: names}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.followLocked(accountID, f)
	return f
}

func (m *Manager) followLocked(accountID string, f *Follow) {
	if m.follows[accountID] == nil {
		m.follows[accountID] = map[*Follow]struct{}{}
	}
	m.follows[accountID][f] = struct{}{}
}

func (m *Manager) unfollowLocked(accountID string, f *Follow) {
	delete(m.follows[accountID], f)
	if len(m.follows[accountID]) == 0 {
		delete(m.follows, accountID)
	}
}

// Set follows exactly these mailboxes, of which the caller knows these modseqs.
func (f *Follow) Set(modseqs map[Key]uint64) {
	m := f.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	old := f.known
	f.known = modseqs
	for k := range old {
		if k.Account != f.account {
			m.unfollowLocked(k.Account, f)
		}
	}
	for k := range modseqs {
		m.followLocked(k.Account, f)
		if _, ok := old[k]; !ok {
			m.subscribeLocked(k, true)
		}
	}
	for k := range old {
		if _, ok := modseqs[k]; !ok {
			m.unsubscribeLocked(k)
		}
	}
}

// Later has Changed get a signal after some time.
func (f *Follow) Later(d time.Duration) { time.AfterFunc(d, f.signal) }

// Touches counts the signals that may be about names, and what else storage gives no notice of.
func (f *Follow) Touches() uint64 {
	f.manager.mu.Lock()
	defer f.manager.mu.Unlock()
	return f.touches
}

// Close ends it.
func (f *Follow) Close() {
	f.Set(nil)
	m := f.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unfollowLocked(f.account, f)
}

// TouchAccount tells those who follow the names of an account's mailboxes that something has happened to them.
func (m *Manager) TouchAccount(accountID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for f := range m.follows[accountID] {
		if f.names && f.account == accountID {
			f.touches++
			f.signal()
		}
	}
}

// followedLocked tells whether somebody follows a mailbox.
func (m *Manager) followedLocked(k Key) bool {
	for f := range m.follows[k.Account] {
		if _, ok := f.known[k]; ok {
			return true
		}
	}
	return false
}

// unsubscribeLocked ends the notices for a mailbox, if nobody wants them any more.
func (m *Manager) unsubscribeLocked(k Key) {
	if m.boxes[k] == nil && !m.followedLocked(k) {
		m.subscribeLocked(k, false)
	}
}

// noticed passes a notice on to those who follow the mailbox.
func (m *Manager) noticed(k Key, modseq uint64, deleted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for f := range m.follows[k.Account] {
		if known, ok := f.known[k]; ok && (deleted || modseq > known) {
			f.signal()
		}
	}
}

// signalFollows has everybody look, or only those who follow names.
func (m *Manager) signalFollows(names bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, some := range m.follows {
		for f := range some {
			if f.names || !names {
				f.touches++
				f.signal()
			}
		}
	}
}
