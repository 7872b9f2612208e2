package textindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

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

func (b Bits) andNot(o Bits) {
	for i := range b {
		b[i] &^= o[i]
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
	// Rows are the chunks of postings, columns and the vocabulary; those without anything are nil.
	Rows [][]byte
}

// Size is the octets of a segment.
func (s *Segment) Size() int {
	n := len(s.Header)
	for _, r := range s.Rows {
		n += len(r)
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
	header   map[gram]int32 // wide ones that are in no body
	words    map[string]int32
	phrases  map[string]int32
	postings [][]uint16
	count    int
	seen     gramSet
	common   sketch
	columns  []column
	scratch  []byte
}

// NewBuilder makes a Builder.
func NewBuilder() *Builder {
	return &Builder{
		grams: map[gram]int32{}, header: map[gram]int32{}, words: map[string]int32{}, phrases: map[string]int32{}, columns: make([]column, len(Columns)),
	}
}

// Full tells whether nothing more is to be added.
func (b *Builder) Full() bool {
	for i := range b.columns {
		if b.columns[i].texts.Len() >= maxColumn {
			return true
		}
	}
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
	for i, field := range Columns {
		b.columns[i].add(field, t)
	}
	if t == nil {
		return
	}
	b.seen.clear()
	eachGram(t.Body, func(g gram) {
		if b.seen.add(g) {
			b.post(lookup(b, b.grams, g), doc)
		}
	})
	for _, s := range []string{t.Header, t.Parts} {
		eachGram(s, func(g gram) {
			if !b.seen.add(g) {
				return
			}
			b.post(lookup(b, b.grams, g), doc)
			if g.isWide() {
				b.post(lookup(b, b.header, g), doc)
			}
		})
	}
	b.addTerms(inHeader, t.Header, doc)
	b.addTerms(inHeader, t.Parts, doc)
	b.addTerms(inBody, t.Body, doc)
}

// addTerms adds the words and phrases of a text.
func (b *Builder) addTerms(zone, text string, doc uint16) {
	eachWord(text, func(w string) { b.post(b.term(b.words, zone, w), doc) })
	common := func(s string) bool {
		b.scratch = append(append(b.scratch[:0], zone...), s...)
		return b.common.add(b.scratch, doc) >= rareWord
	}
	eachPhrase(text, common, func(s string) { b.post(b.term(b.phrases, zone, s), doc) })
}

// term gives the list of a term, which it keeps in memory of its own.
func (b *Builder) term(terms map[string]int32, zone, s string) int32 {
	b.scratch = append(append(b.scratch[:0], zone...), s...)
	i, ok := terms[string(b.scratch)]
	if !ok {
		i = b.list()
		terms[string(b.scratch)] = i
	}
	return i
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
func (b *Builder) Segment() (*Segment, error) {
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
	for g, i := range b.header {
		put(g.appendTo([]byte(onlyHeader)), b.postings[i])
	}
	terms := b.terms()
	for _, e := range terms {
		put(e.term, e.docs)
	}
	s.Rows = make([][]byte, Rows)
	for c, entries := range chunks {
		if len(entries) > 0 {
			s.Rows[c] = encodeChunk(entries, len(b.uids))
		}
	}
	for i := range b.columns {
		var err error
		if s.Rows[Chunks+i], err = b.columns[i].encode(); err != nil {
			return nil, err
		}
	}
	if len(terms) > 0 {
		var err error
		if s.Rows[vocabulary], err = encodeVocabulary(terms); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// terms gives the words and phrases that are worth their room.
func (b *Builder) terms() (list []entry) {
	for w, i := range b.words {
		docs := b.postings[i]
		if p, ok := b.phrases[w]; ok {
			docs = merge(docs, b.postings[p])
		}
		if len(docs) >= rareWord {
			list = append(list, entry{[]byte(w), docs})
		}
	}
	for w, i := range b.phrases {
		if _, ok := b.words[w]; !ok && len(b.postings[i]) >= max(rareWord, len(b.uids)/phraseShare) {
			list = append(list, entry{[]byte(w), b.postings[i]})
		}
	}
	return list
}

// merge gives what is in any of two ordered lists.
func merge(a, b []uint16) []uint16 {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
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
