package textindex

import (
	"bytes"
	"encoding/binary"
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
		return nil, errSegment
	}
	d := &Docs{UIDs: make([]uint32, n), Partial: newBits(n)}
	uid := uint64(0)
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errSegment
		}
		b = b[size:]
		if uid += v >> 1; v>>1 == 0 || uid > 1<<32-1 {
			return nil, errSegment
		}
		d.UIDs[i] = uint32(uid)
		if v&1 != 0 {
			d.Partial.set(i)
		}
	}
	if len(b) > 0 {
		return nil, errSegment
	}
	return d, nil
}

// ChunksOf gives the chunks that have the terms of queries, in order.
func ChunksOf(queries []Query) []int {
	var out []int
	for _, q := range queries {
		for _, t := range slices.Concat(q.All, q.Any) {
			out = append(out, chunkOf([]byte(t)))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Resolve gives the messages of a segment that have what a query asks for, and those that may have it, which include them. chunk gives a chunk of the
// segment, nil if it has none.
func (q Query) Resolve(d *Docs, chunk func(int) []byte) (yes, may Bits, err error) {
	n := len(d.UIDs)
	yes, may = newBits(n), newBits(n)
	for i := range may {
		may[i] = ^uint64(0)
	}
	if n%64 != 0 {
		may[len(may)-1] = 1<<(n%64) - 1
	}
	for _, t := range q.All {
		have, err := find(chunk(chunkOf([]byte(t))), t, n)
		if err != nil {
			return nil, nil, err
		}
		may.and(have)
		if may.count() == 0 {
			break
		}
	}
	if q.Exact {
		copy(yes, may)
	} else if may.count() > 0 {
		for _, t := range q.Any {
			have, err := find(chunk(chunkOf([]byte(t))), t, n)
			if err != nil {
				return nil, nil, err
			}
			yes.or(have)
		}
	}
	may.or(yes)
	may.or(d.Partial)
	return yes, may, nil
}

// find gives the messages of a term.
func find(chunk []byte, term string, docs int) (Bits, error) {
	out := newBits(docs)
	wanted, last := []byte(term), make([]byte, 0, 2*maxWord)
	bitmap := (docs + 7) / 8
	for len(chunk) > 0 {
		shared, a := binary.Uvarint(chunk)
		if a <= 0 || shared > uint64(len(last)) {
			return nil, errSegment
		}
		own, b := binary.Uvarint(chunk[a:])
		if b <= 0 || own > uint64(len(chunk)-a-b) {
			return nil, errSegment
		}
		chunk = chunk[a+b:]
		last = append(last[:shared], chunk[:own]...)
		count, c := binary.Uvarint(chunk[own:])
		if c <= 0 {
			return nil, errSegment
		}
		chunk = chunk[own+uint64(c):]
		order := bytes.Compare(last, wanted)
		if order > 0 {
			return out, nil
		}
		switch {
		case count&1 != 0 && len(chunk) < bitmap:
			return nil, errSegment
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
				return nil, errSegment
			}
			chunk = chunk[n:]
			if order == 0 {
				if place += v; place >= uint64(docs) {
					return nil, errSegment
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
		return errSegment
	}
	return nil
}
