package textindex

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
)

// Docs are the messages of a segment.
type Docs struct {
	UIDs []uint32
	// Partial are those with more text than was indexed.
	Partial Bits
}

// DecodeDocs reads the header of a segment of n messages.
func DecodeDocs(b []byte, n int) (*Docs, error) {
	if n < 0 || n > SegmentDocs {
		return nil, ErrSegment
	}
	d := &Docs{UIDs: make([]uint32, n), Partial: newBits(n)}
	uid := uint64(0)
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, ErrSegment
		}
		b = b[size:]
		if uid += v >> 1; v>>1 == 0 || uid > 1<<32-1 {
			return nil, ErrSegment
		}
		d.UIDs[i] = uint32(uid)
		if v&1 != 0 {
			d.Partial.set(i)
		}
	}
	if len(b) > 0 {
		return nil, ErrSegment
	}
	return d, nil
}

// maxTermsOf a needle are looked up: more rule out hardly anything else.
const maxTermsOf = 24

// Lookup asks the segments of a mailbox several queries: first it is told the segments, then the chunks that it names.
type Lookup struct {
	queries  []Query
	byChunk  map[int][]asked
	segments map[int64]*looked
	order    []int64
}

// asked is a term of a query.
type asked struct {
	query int
	term  string
	any   bool
}

// looked is what is known of a segment.
type looked struct {
	docs     *Docs
	yes, may []Bits // by query
	terms    []int  // of All that were found, by query
}

// NewLookup makes a Lookup.
func NewLookup(queries []Query) *Lookup {
	l := &Lookup{byChunk: map[int][]asked{}, segments: map[int64]*looked{}}
	for i, q := range queries {
		q.All = thinned(q.All)
		l.queries = append(l.queries, q)
		for _, t := range q.All {
			c := chunkOf([]byte(t))
			l.byChunk[c] = append(l.byChunk[c], asked{query: i, term: t})
		}
		for _, t := range q.Any {
			c := chunkOf([]byte(t))
			l.byChunk[c] = append(l.byChunk[c], asked{query: i, term: t, any: true})
		}
	}
	return l
}

// thinned gives some of many terms, from all over.
func thinned(terms []string) []string {
	if len(terms) <= maxTermsOf {
		return terms
	}
	out := make([]string, maxTermsOf)
	for i := range out {
		out[i] = terms[i*len(terms)/maxTermsOf]
	}
	return out
}

// Chunks are those that have terms of the queries, in order.
func (l *Lookup) Chunks() []int { return slices.Sorted(maps.Keys(l.byChunk)) }

// Segment tells of a segment of n messages, in the order of their UIDs.
func (l *Lookup) Segment(id int64, header []byte, n int) error {
	docs, err := DecodeDocs(header, n)
	if err != nil {
		return err
	}
	s := &looked{docs: docs, terms: make([]int, len(l.queries))}
	for range l.queries {
		s.yes, s.may = append(s.yes, newBits(n)), append(s.may, allBits(n))
	}
	l.segments[id] = s
	l.order = append(l.order, id)
	return nil
}

// Chunk tells of a chunk of a segment. The bytes are not kept. One of an unknown segment is of no interest.
func (l *Lookup) Chunk(chunk int, id int64, postings []byte) error {
	s := l.segments[id]
	if s == nil {
		return nil
	}
	for _, a := range l.byChunk[chunk] {
		have, err := find(postings, a.term, len(s.docs.UIDs))
		switch {
		case err != nil:
			return err
		case a.any:
			s.yes[a.query].or(have)
		default:
			s.may[a.query].and(have)
			s.terms[a.query]++
		}
	}
	return nil
}

// Each gives, by UID, whether a message has the needle of a query, and whether it may have it.
func (l *Lookup) Each(query int, do func(uid uint32, yes, may bool)) {
	q := l.queries[query]
	for _, id := range l.order {
		s := l.segments[id]
		yes, may := s.yes[query], s.may[query]
		if s.terms[query] < len(q.All) { // a chunk is missing, as it is empty
			clear(may)
		}
		for i, uid := range s.docs.UIDs {
			sure := yes.Has(i) || q.Exact && may.Has(i)
			do(uid, sure, sure || may.Has(i) || s.docs.Partial.Has(i))
		}
	}
}

func allBits(n int) Bits {
	b := newBits(n)
	for i := range b {
		b[i] = ^uint64(0)
	}
	if n%64 != 0 {
		b[len(b)-1] = 1<<(n%64) - 1
	}
	return b
}

// find gives the messages of a term.
func find(chunk []byte, term string, docs int) (Bits, error) {
	out := newBits(docs)
	wanted, last := []byte(term), make([]byte, 0, 2*maxWord)
	bitmap := (docs + 7) / 8
	for len(chunk) > 0 {
		shared, a := binary.Uvarint(chunk)
		if a <= 0 || shared > uint64(len(last)) {
			return nil, ErrSegment
		}
		own, b := binary.Uvarint(chunk[a:])
		if b <= 0 || own > uint64(len(chunk)-a-b) {
			return nil, ErrSegment
		}
		chunk = chunk[a+b:]
		last = append(last[:shared], chunk[:own]...)
		count, c := binary.Uvarint(chunk[own:])
		if c <= 0 {
			return nil, ErrSegment
		}
		chunk = chunk[own+uint64(c):]
		order := bytes.Compare(last, wanted)
		if order > 0 {
			return out, nil
		}
		switch {
		case count&1 != 0 && len(chunk) < bitmap:
			return nil, ErrSegment
		case count&1 != 0:
			if order == 0 {
				for i, v := range chunk[:bitmap] {
					out[i/8] |= uint64(v) << (i % 8 * 8)
				}
				return out, trim(out, docs)
			}
			chunk = chunk[bitmap:]
			continue
		}
		place := uint64(0)
		for range count >> 1 {
			v, n := binary.Uvarint(chunk)
			if n <= 0 {
				return nil, ErrSegment
			}
			chunk = chunk[n:]
			if order == 0 {
				if place += v; place >= uint64(docs) {
					return nil, ErrSegment
				}
				out.set(int(place))
			}
		}
		if order == 0 {
			return out, nil
		}
	}
	return out, nil
}

// trim fails if a set has messages that there are not.
func trim(b Bits, docs int) error {
	if docs%64 != 0 && b[len(b)-1]>>(docs%64) != 0 {
		return ErrSegment
	}
	return nil
}
