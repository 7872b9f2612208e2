package view

import (
	"slices"
	"sort"
)

// builder makes a snapshot from another one, and copies only the chunks that change.
type builder struct {
	chunks []*chunk
	owned  map[*chunk]bool
}

func newBuilder(from *Snapshot) *builder {
	return &builder{chunks: slices.Clone(from.chunks), owned: map[*chunk]bool{}}
}

// put replaces the message with m's UID, or adds m at the end. False: m is neither there nor newer
// than all others, and was not added, for it would take the sequence number of another message.
func (b *builder) put(m Message) bool {
	if len(b.chunks) == 0 || b.chunks[len(b.chunks)-1].last() < m.UID {
		b.add(m)
		return true
	}
	c := sort.Search(len(b.chunks), func(i int) bool { return b.chunks[i].last() >= m.UID })
	i, ok := b.chunks[c].search(m.UID)
	if !ok {
		return false
	}
	(*b.own(c))[i] = m
	return true
}

func (b *builder) add(m Message) {
	last := len(b.chunks) - 1
	if last < 0 || len(*b.chunks[last]) >= chunkSize {
		c := make(chunk, 0, 8) // most mailboxes are small
		b.chunks = append(b.chunks, &c)
		last++
		b.owned[&c] = true
	}
	c := b.own(last)
	*c = append(*c, m)
}

// own gives chunk i for changing.
func (b *builder) own(i int) *chunk {
	if c := b.chunks[i]; b.owned[c] {
		return c
	}
	c := slices.Clone(*b.chunks[i])
	b.chunks[i] = &c
	b.owned[&c] = true
	return &c
}

// drop removes the messages with start <= UID <= stop.
func (b *builder) drop(start, stop uint32) {
	c := sort.Search(len(b.chunks), func(i int) bool { return b.chunks[i].last() >= start })
	empty := false
	for ; c < len(b.chunks) && (*b.chunks[c])[0].UID <= stop; c++ {
		from, _ := b.chunks[c].search(start)
		to, found := b.chunks[c].search(stop)
		if found {
			to++
		}
		if from < to && to-from == len(*b.chunks[c]) {
			b.chunks[c] = nil
			empty = true
		} else if from < to {
			owned := b.own(c)
			*owned = slices.Delete(*owned, from, to)
		}
	}
	if empty {
		b.chunks = slices.DeleteFunc(b.chunks, func(c *chunk) bool { return c == nil })
	}
}

// snapshot ends the building.
func (b *builder) snapshot() *Snapshot {
	return newSnapshot(b.chunks)
}
