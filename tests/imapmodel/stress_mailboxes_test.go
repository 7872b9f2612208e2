package imapmodel

import (
	"fmt"
	"math/rand/v2"
)

// manage makes, renames and deletes mailboxes that come and go.
func (a *actor) manage(r *rand.Rand) error {
	name, other := fmt.Sprint("Passing", r.IntN(4)), fmt.Sprint("Passing", r.IntN(4))
	if r.IntN(40) == 0 {
		return a.renameInbox()
	}
	switch r.IntN(4) {
	case 0:
		_, err := a.may("DELETE "+name, raced...)
		return err
	case 1:
		_, err := a.may("RENAME "+name+" "+other, raced...)
		return err
	}
	_, err := a.may("CREATE "+name, raced...)
	return err
}

// renameInbox gives all that is in INBOX a mailbox that nobody else touches (RFC 9051 section 6.3.6), and looks what it has become.
func (a *actor) renameInbox() error {
	name := "Renamed/" + a.name + "-" + fmt.Sprint(a.tags)
	if _, err := a.may("RENAME INBOX " + name); err != nil {
		return err
	}
	if _, err := a.choose("EXAMINE "+name, name); err != nil {
		return err
	}
	a.mailbox = name
	if err := a.look(); err != nil {
		return err
	}
	a.witness.rescues(a.validity, a.uids())
	_, err := a.must("UNSELECT")
	a.mailbox, a.list = "", nil
	return err
}

func (w *witness) rescues(validity uint64, uids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rescued[""] = true // of some nobody has asked for the subject
	for _, uid := range uids {
		w.rescued[w.subjects[place{validity, uid}]] = true
	}
}
