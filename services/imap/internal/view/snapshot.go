package view

import (
	"iter"
	"slices"
	"sort"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// chunkSize is how many messages are copied when one changes. Snapshots share the other chunks.
const chunkSize = 512

// chunk has messages in ascending order of UID, at least one. It is immutable once in a Snapshot.
type chunk []Message

// Snapshot is a mailbox at one moment. It is immutable; snapshots of one mailbox share memory.
type Snapshot struct {
	chunks []*chunk
	// starts[i] is how many messages come before chunk i; one more entry at the end holds the total.
	starts []int

	// UIDValidity, UIDNext and ModSeq are the mailbox's at that moment.
	UIDValidity uint32
	UIDNext     uint32
	ModSeq      uint64
	// AccessModSeq is that of the last change of the mailbox's access control list, 0 if it never had one.
	AccessModSeq uint64
}

// as takes over what from is as a whole, at another modseq.
func (s *Snapshot) as(from *Snapshot, modseq uint64) *Snapshot {
	s.UIDValidity, s.UIDNext, s.AccessModSeq, s.ModSeq = from.UIDValidity, from.UIDNext, from.AccessModSeq, modseq
	return s
}

func newSnapshot(chunks []*chunk) *Snapshot {
	s := &Snapshot{chunks: chunks, starts: make([]int, len(chunks)+1)}
	for i, c := range chunks {
		s.starts[i+1] = s.starts[i] + len(*c)
	}
	return s
}

// Len is the number of messages.
func (s *Snapshot) Len() int { return s.starts[len(s.chunks)] }

// At gives the message with sequence number i+1. It panics unless 0 <= i < Len.
func (s *Snapshot) At(i int) Message {
	c := sort.SearchInts(s.starts, i+1) - 1
	return (*s.chunks[c])[i-s.starts[c]]
}

// Seek gives the index of the first message whose UID is at least uid, Len if there is none.
func (s *Snapshot) Seek(uid uint32) int {
	c := s.chunkOf(uid)
	if c == len(s.chunks) {
		return s.Len()
	}
	i, _ := s.chunks[c].search(uid)
	return s.starts[c] + i
}

// Find gives the message with a UID and its index.
func (s *Snapshot) Find(uid uint32) (Message, int, bool) {
	c := s.chunkOf(uid)
	if c == len(s.chunks) {
		return Message{}, 0, false
	}
	i, ok := s.chunks[c].search(uid)
	if !ok {
		return Message{}, 0, false
	}
	return (*s.chunks[c])[i], s.starts[c] + i, true
}

// LastUID is the highest UID, 0 of an empty mailbox.
func (s *Snapshot) LastUID() uint32 {
	if len(s.chunks) == 0 {
		return 0
	}
	return s.chunks[len(s.chunks)-1].last()
}

// All gives the messages with their indexes, in order.
func (s *Snapshot) All() iter.Seq2[int, Message] { return s.Range(0, s.Len()) }

// Range gives the messages with from <= index < to.
func (s *Snapshot) Range(from, to int) iter.Seq2[int, Message] {
	return func(yield func(int, Message) bool) {
		if from >= to {
			return
		}
		for c := sort.SearchInts(s.starts, from+1) - 1; c < len(s.chunks); c++ {
			for i, m := range *s.chunks[c] {
				switch index := s.starts[c] + i; {
				case index < from:
				case index >= to:
					return
				default:
					if !yield(index, m) {
						return
					}
				}
			}
		}
	}
}

// Replace gives a snapshot in which messages that are there have new states.
func (s *Snapshot) Replace(states []*storagev1.MessageState) *Snapshot {
	b := newBuilder(s)
	for _, state := range states {
		if _, _, ok := s.Find(state.GetUid()); ok {
			b.put(messageOf(state))
		}
	}
	return b.snapshot().as(s, s.ModSeq)
}

// chunkOf gives the first chunk that ends at or after uid.
func (s *Snapshot) chunkOf(uid uint32) int {
	return sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].last() >= uid })
}

func (c *chunk) last() uint32 { return (*c)[len(*c)-1].UID }

func (c *chunk) search(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(*c, uid, func(m Message, uid uint32) int {
		switch {
		case m.UID < uid:
			return -1
		case m.UID > uid:
			return 1
		}
		return 0
	})
}
