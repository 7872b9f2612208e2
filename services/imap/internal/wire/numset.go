package wire

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
)

// Range is an inclusive range of sequence numbers or UIDs. In what a client sent, 0 is "*" and the ends may
// be swapped; a resolved range has 1 <= Start <= Stop.
type Range struct {
	Start, Stop uint32
}

// NumSet is a sequence set (RFC 9051 section 9, "sequence-set").
type NumSet struct {
	Ranges []Range
	// SearchRes is "$", the saved result of the last search (RFC 9051 section 6.4.4.1); Ranges is empty.
	SearchRes bool
}

// NumSet reads a sequence set.
func (d *Decoder) NumSet() NumSet {
	d.count()
	if d.TrySpecial('$') {
		return NumSet{SearchRes: true}
	}
	var set NumSet
	for d.err == nil {
		r := Range{Start: d.setNumber()}
		r.Stop = r.Start
		if d.TrySpecial(':') {
			r.Stop = d.setNumber()
		}
		set.Ranges = append(set.Ranges, r)
		if !d.TrySpecial(',') {
			break
		}
	}
	if d.err != nil {
		return NumSet{}
	}
	return set
}

func (d *Decoder) setNumber() uint32 {
	if d.TrySpecial('*') {
		return 0
	}
	return d.NzNumber()
}

// Resolve returns the set with "*" replaced by limit, the largest number in use, in ascending order and without
// overlaps. "n:*" contains limit even if n is larger. If nothing is in use (limit 0), ranges with "*" are empty.
// Numbers above limit stay unless they come from "*".
func (s NumSet) Resolve(limit uint32) []Range {
	out := make([]Range, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		if r.Start == 0 || r.Stop == 0 {
			if limit == 0 {
				continue
			}
			r.Start = cmp.Or(r.Start, limit)
			r.Stop = cmp.Or(r.Stop, limit)
		}
		if r.Start > r.Stop {
			r.Start, r.Stop = r.Stop, r.Start
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	merged := out[:0]
	for _, r := range out {
		if n := len(merged); n > 0 && uint64(r.Start) <= uint64(merged[n-1].Stop)+1 {
			merged[n-1].Stop = max(merged[n-1].Stop, r.Stop)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Contains reports whether n is in resolved ranges.
func Contains(ranges []Range, n uint32) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].Stop >= n })
	return i < len(ranges) && ranges[i].Start <= n
}

// AppendNum adds n, which is larger than all in ranges.
func AppendNum(ranges []Range, n uint32) []Range {
	if last := len(ranges) - 1; last >= 0 && ranges[last].Stop+1 == n {
		ranges[last].Stop = n
		return ranges
	}
	return append(ranges, Range{n, n})
}

// AppendRanges appends resolved ranges as a sequence set, for example "1:3,5".
func AppendRanges(dst []byte, ranges []Range) []byte {
	for i, r := range ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.Start), 10)
		if r.Stop != r.Start {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Stop), 10)
		}
	}
	return dst
}

// Intersect gives what is in both of two resolved sets.
func Intersect(a, b []Range) []Range {
	var out []Range
	for len(a) > 0 && len(b) > 0 {
		if start, stop := max(a[0].Start, b[0].Start), min(a[0].Stop, b[0].Stop); start <= stop {
			out = append(out, Range{start, stop})
		}
		if a[0].Stop < b[0].Stop {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
