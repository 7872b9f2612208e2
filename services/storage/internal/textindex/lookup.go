package textindex

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"
	"strconv"
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

// Lookup asks the segments of a mailbox several queries. It is told the segments, then the rows that it names, and that again for as long as it names some.
type Lookup struct {
	queries  []Query
	wanted   map[int][]asked // by row: what it does not know yet
	segments map[int64]*looked
	order    []int64
	words    map[string]found // of the vocabulary, by term: for one query each
}

// asked is what a query asks a row.
type asked struct {
	query int
	kind  kind
	term  string
}

// kind of what is asked.
type kind int

const (
	all kind = iota // messages without the term are ruled out
	not
	anyOf
	inColumn
	inVocabulary
)

// found are terms of the vocabulary of segments.
type found struct {
	query int
	docs  int // that have it
}

// looked is what is known of a segment.
type looked struct {
	docs     *Docs
	yes, may []Bits // by query
	answers  []int  // by query: of the terms of All, or the column
}

// NewLookup makes a Lookup.
func NewLookup(queries []Query) *Lookup {
	l := &Lookup{wanted: map[int][]asked{}, segments: map[int64]*looked{}}
	for i, q := range queries {
		q.All = thinned(q.All)
		l.queries = append(l.queries, q)
		if q.Column > 0 {
			l.wanted[q.Column] = append(l.wanted[q.Column], asked{i, inColumn, q.Text})
			continue
		}
		l.want(i, all, q.All...)
		l.want(i, not, q.Not...)
		l.want(i, anyOf, q.Any...)
	}
	return l
}

// want asks chunks for terms.
func (l *Lookup) want(query int, kind kind, terms ...string) {
	for _, t := range terms {
		c := chunkOf([]byte(t))
		l.wanted[c] = append(l.wanted[c], asked{query, kind, t})
	}
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

// Rows are those that have what is to be known next, in order; none at the end.
func (l *Lookup) Rows() []int { return slices.Sorted(maps.Keys(l.wanted)) }

// Segment tells of a segment of n messages, in the order of their UIDs.
func (l *Lookup) Segment(id int64, header []byte, n int) error {
	docs, err := DecodeDocs(header, n)
	if err != nil {
		return err
	}
	s := &looked{docs: docs, answers: make([]int, len(l.queries))}
	for range l.queries {
		s.yes, s.may = append(s.yes, newBits(n)), append(s.may, allBits(n))
	}
	l.segments[id] = s
	l.order = append(l.order, id)
	return nil
}

// Row tells of a row of a segment. The bytes are not kept. One of an unknown segment is of no interest.
func (l *Lookup) Row(row int, id int64, b []byte) error {
	s := l.segments[id]
	if s == nil {
		return nil
	}
	n := len(s.docs.UIDs)
	for _, a := range l.wanted[row] {
		switch a.kind {
		case inColumn:
			yes, partial, err := findIn(b, a.term, n)
			if err != nil {
				return err
			}
			s.yes[a.query] = yes
			s.may[a.query].and(partial)
			s.answers[a.query]++
			continue
		case inVocabulary:
			if err := readVocabulary(b, l.queries[a.query].Zone, a.term, func(term string, docs int) { l.foundWord(a.query, term, docs) }); err != nil {
				return err
			}
			continue
		}
		have, err := find(b, a.term, n)
		if err != nil {
			return err
		}
		switch a.kind {
		case anyOf:
			s.yes[a.query].or(have)
		case not:
			s.may[a.query].andNot(have)
		default:
			s.may[a.query].and(have)
			s.answers[a.query]++
		}
	}
	return nil
}

const (
	// fewUnsure messages are looked into at once; the vocabulary is asked if there are more.
	fewUnsure = 256
	// maxFound terms of the vocabulary are asked for their messages.
	maxFound = 64
)

// Next is to be called when all Rows were told. more tells that there are others.
func (l *Lookup) Next() (more bool) {
	first := l.words == nil
	clear(l.wanted)
	if !first {
		l.askFound()
		l.words = map[string]found{}
		return len(l.wanted) > 0
	}
	l.words = map[string]found{}
	for i, q := range l.queries {
		for _, id := range l.order {
			s := l.segments[id]
			if q.Column > 0 {
				if s.answers[i] == 0 { // no message has the field
					clear(s.may[i])
				}
			} else if s.answers[i] < len(q.All) { // a chunk is missing, as it is empty
				clear(s.may[i])
			}
		}
		if q.Column == 0 && q.Text != "" && !q.Exact && l.unsure(i) > fewUnsure {
			l.wanted[vocabulary] = append(l.wanted[vocabulary], asked{i, inVocabulary, q.Text})
		}
	}
	return len(l.wanted) > 0
}

// unsure counts the messages of which nothing is known for certain.
func (l *Lookup) unsure(query int) (n int) {
	for _, s := range l.segments {
		for i, may := range s.may[query] {
			n += bits.OnesCount64(may &^ s.yes[query][i])
		}
	}
	return n
}

func (l *Lookup) foundWord(query int, term string, docs int) {
	key := strconv.Itoa(query) + term
	f := l.words[key]
	f.query = query
	f.docs += docs
	l.words[key] = f
}

// askFound asks for the terms that most messages have.
func (l *Lookup) askFound() {
	keys := slices.SortedFunc(maps.Keys(l.words), func(a, b string) int { return cmp.Or(l.words[b].docs-l.words[a].docs, cmp.Compare(a, b)) })
	asked := make([]int, len(l.queries))
	for _, key := range keys {
		q := l.words[key].query
		if asked[q]++; asked[q] <= maxFound {
			l.want(q, anyOf, key[len(strconv.Itoa(q)):])
		}
	}
}

// Each gives, by UID, whether a message has the needle of a query, and whether it may have it.
func (l *Lookup) Each(query int, do func(uid uint32, yes, may bool)) {
	q := l.queries[query]
	for _, id := range l.order {
		s := l.segments[id]
		yes, may := s.yes[query], s.may[query]
		for i, uid := range s.docs.UIDs {
			sure := yes.Has(i) || q.Exact && may.Has(i)
			do(uid, sure, sure || may.Has(i) || q.Column == 0 && s.docs.Partial.Has(i))
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
