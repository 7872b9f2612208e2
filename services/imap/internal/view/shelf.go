package view

import "container/list"

// shelf keeps the last snapshots of mailboxes that no session has selected any more, those that were in use last: a mail program that comes
// again and again then costs what has changed, not the whole mailbox.
type shelf struct {
	room     int // in messages
	messages int
	order    *list.List // of book, the latest first
	places   map[Key]*list.Element
}

type book struct {
	key      Key
	snapshot *Snapshot
}

// minWeight is what a snapshot costs beside its messages, in messages.
const minWeight = 8

func (b book) weight() int { return minWeight + b.snapshot.Len() }

func newShelf(room int) shelf {
	return shelf{room: room, order: list.New(), places: map[Key]*list.Element{}}
}

// put adds a snapshot of a mailbox that has none, and drops others to make room. One that is larger than the shelf is not kept.
func (s *shelf) put(k Key, snapshot *Snapshot) {
	b := book{k, snapshot}
	if b.weight() > s.room {
		return
	}
	s.places[k] = s.order.PushFront(b)
	s.messages += b.weight()
	for s.messages > s.room {
		s.remove(s.order.Back())
	}
}

// take removes the snapshot of a mailbox and gives it, nil if there is none.
func (s *shelf) take(k Key) *Snapshot {
	place := s.places[k]
	if place == nil {
		return nil
	}
	return s.remove(place).snapshot
}

func (s *shelf) remove(place *list.Element) book {
	b := s.order.Remove(place).(book)
	delete(s.places, b.key)
	s.messages -= b.weight()
	return b
}
