package textindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

// ErrSegment says that a segment is not as it was written.
var ErrSegment = errors.New("segment of the text index is damaged")

// Bits is a set of messages of a segment, by their places in it.
type Bits []uint64

func newBits(n int) Bits { return make(Bits, (n+63)/64) }

// Has tells whether message i is in the set.
func (b Bits) Has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }

func (b Bits) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b Bits) and(o Bits) {
	for i := range b {
		b[i] &= o[i]
	}
}

func (b Bits) or(o Bits) {
	for i := range b {
		b[i] |= o[i]
	}
}

// Segment is an index of messages, as it is stored.
type Segment struct {
	// First and Last are the lowest and the highest UID.
	First, Last uint32
	Docs        int
	// Header names the messages: DecodeDocs reads it.
	Header []byte
	// Chunks are the postings by chunk; those without any are nil.
	Chunks [Chunks][]byte
}

// Size is the octets of a segment.
func (s *Segment) Size() int {
	n := len(s.Header)
	for _, c := range s.Chunks {
		n += len(c)
	}
	return n
}

const (
	// maxTerms and maxPostings bound the memory of a Builder: what is full of different terms makes smaller segments.
	maxTerms    = 512 << 10
	maxPostings = 8 << 20
	// rareWord is in so few messages of a segment that it is not worth its room: their texts decide.
	rareWord = 8
)

// Builder makes a segment.
type Builder struct {
	uids     []uint32
	partial  []bool
	grams    map[gram]int32 // places in postings
	words    map[string]int32
	postings [][]uint16
	count    int
	seen     gramSet
}

// NewBuilder makes a Builder.
func NewBuilder() *Builder {
	return &Builder{grams: map[gram]int32{}, words: map[string]int32{}}
}

// Full tells whether nothing more is to be added.
func (b *Builder) Full() bool {
	return len(b.uids) >= SegmentDocs || len(b.postings) >= maxTerms || b.count >= maxPostings
}

// Docs is the number of messages.
func (b *Builder) Docs() int { return len(b.uids) }

// Last is the UID of the last message, 0 if there is none.
func (b *Builder) Last() uint32 {
	if len(b.uids) == 0 {
		return 0
	}
	return b.uids[len(b.uids)-1]
}

// Add adds a message, in the order of UIDs. A nil text is one that is not known, so that the message may have any needle.
func (b *Builder) Add(uid uint32, t *search.Text) {
	doc := uint16(len(b.uids))
	b.uids, b.partial = append(b.uids, uid), append(b.partial, t == nil || t.Partial)
	if t == nil {
		return
	}
	b.seen.clear()
	add := func(g gram) {
		if b.seen.add(g) {
			b.post(lookup(b, b.grams, g), doc)
		}
	}
	eachGram(t.Header, add)
	eachGram(t.Body, add)
	word := func(prefix string) func(string) {
		return func(w string) {
			term := prefix + w
			i, ok := b.words[term]
			if !ok {
				i = b.list()
				b.words[strings.Clone(term)] = i
			}
			b.post(i, doc)
		}
	}
	eachWord(t.Header, word(inHeader))
	eachWord(t.Body, word(inBody))
}

func lookup[K comparable](b *Builder, m map[K]int32, k K) int32 {
	i, ok := m[k]
	if !ok {
		i = b.list()
		m[k] = i
	}
	return i
}

func (b *Builder) list() int32 {
	b.postings = append(b.postings, nil)
	return int32(len(b.postings) - 1)
}

func (b *Builder) post(list int32, doc uint16) {
	l := b.postings[list]
	if n := len(l); n > 0 && l[n-1] == doc {
		return
	}
	b.postings[list] = append(l, doc)
	b.count++
}

// entry is a term with its messages.
type entry struct {
	term []byte
	docs []uint16
}

// Segment gives what was added: at least one message.
func (b *Builder) Segment() *Segment {
	s := &Segment{First: b.uids[0], Last: b.Last(), Docs: len(b.uids)}
	previous := uint32(0)
	for i, uid := range b.uids {
		v := uint64(uid-previous) << 1
		if b.partial[i] {
			v |= 1
		}
		s.Header = binary.AppendUvarint(s.Header, v)
		previous = uid
	}
	var chunks [Chunks][]entry
	put := func(term []byte, docs []uint16) {
		c := chunkOf(term)
		chunks[c] = append(chunks[c], entry{term, docs})
	}
	for g, i := range b.grams {
		put(g.appendTo(nil), b.postings[i])
	}
	for w, i := range b.words {
		if len(b.postings[i]) >= rareWord {
			put([]byte(w), b.postings[i])
		}
	}
	for c, entries := range chunks {
		if len(entries) > 0 {
			s.Chunks[c] = encodeChunk(entries, len(b.uids))
		}
	}
	return s
}

// encodeChunk writes terms in their order, each with the octets that it shares with the one before, the number of those that follow, those, and
// its postings: their number doubled, then the differences of the places or, if that is shorter (the number is odd), a bit for each message.
func encodeChunk(entries []entry, docs int) []byte {
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.term, b.term) })
	var out, last []byte
	bitmap := (docs + 7) / 8
	for _, e := range entries {
		shared := 0
		for shared < len(last) && shared < len(e.term) && last[shared] == e.term[shared] {
			shared++
		}
		out = binary.AppendUvarint(out, uint64(shared))
		out = binary.AppendUvarint(out, uint64(len(e.term)-shared))
		out = append(out, e.term[shared:]...)
		last = e.term
		if len(e.docs) <= bitmap {
			out = binary.AppendUvarint(out, uint64(len(e.docs))<<1)
			before := uint16(0)
			for _, d := range e.docs {
				out = binary.AppendUvarint(out, uint64(d-before))
				before = d
			}
			continue
		}
		out = binary.AppendUvarint(out, uint64(len(e.docs))<<1|1)
		at := len(out)
		out = append(out, make([]byte, bitmap)...)
		for _, d := range e.docs {
			out[at+int(d/8)] |= 1 << (d % 8)
		}
	}
	return out
}

// gramSet is a set that is cleared at no cost.
type gramSet struct {
	slots []slot
	round uint32
	n     int
}

type slot struct {
	g     gram
	round uint32
}

func (s *gramSet) clear() {
	if s.slots == nil || len(s.slots) > 1<<18 {
		s.slots, s.round = make([]slot, 1<<14), 0
	}
	if s.round++; s.round == 0 {
		clear(s.slots)
		s.round = 1
	}
	s.n = 0
}

// add tells whether the gram was not in the set.
func (s *gramSet) add(g gram) bool {
	mask := uint64(len(s.slots) - 1)
	for i := uint64(g) * 0x9e3779b97f4a7c15 >> 20 & mask; ; i = (i + 1) & mask {
		switch slot := &s.slots[i]; {
		case slot.round != s.round:
			slot.g, slot.round = g, s.round
			if s.n++; s.n*2 > len(s.slots) {
				s.grow()
			}
			return true
		case slot.g == g:
			return false
		}
	}
}

func (s *gramSet) grow() {
	old, round := s.slots, s.round
	s.slots, s.round, s.n = make([]slot, 2*len(old)), 1, 0
	for _, slot := range old {
		if slot.round == round {
			s.add(slot.g)
		}
	}
}
