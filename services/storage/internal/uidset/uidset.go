// Package uidset holds sets of UIDs as sorted ranges that neither overlap nor touch.
package uidset

import (
	"cmp"
	"iter"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// MaxRanges bounds the ranges of a request.
const MaxRanges = 100_000

// Range is inclusive at both ends, 1 <= Start <= Stop.
type Range struct{ Start, Stop uint32 }

// Set is sorted; its ranges neither overlap nor touch. The zero value is empty.
type Set []Range

// All has every UID.
var All = Set{{1, 1<<32 - 1}}

// FromProto makes a set of the ranges of a request, in any order. It fails with REASON_INVALID for a range that is none.
func FromProto(ranges []*storagev1.UidRange) (Set, error) {
	if len(ranges) > MaxRanges {
		return nil, fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "more than %d UID ranges", MaxRanges)
	}
	set := make(Set, 0, len(ranges))
	for _, r := range ranges {
		if r.GetStart() == 0 || r.GetStop() < r.GetStart() {
			return nil, fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "%d:%d is no UID range", r.GetStart(), r.GetStop())
		}
		set = append(set, Range{r.GetStart(), r.GetStop()})
	}
	return set.normalised(), nil
}

// Of makes a set of UIDs in any order.
func Of(uids ...uint32) Set {
	var b Builder
	slices.Sort(uids)
	for _, uid := range uids {
		b.Add(uid)
	}
	return b.Set()
}

// normalised sorts and joins the ranges in place.
func (s Set) normalised() Set {
	slices.SortFunc(s, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && uint64(r.Start) <= uint64(out[n-1].Stop)+1 {
			out[n-1].Stop = max(out[n-1].Stop, r.Stop)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Contains tells whether uid is in the set.
func (s Set) Contains(uid uint32) bool {
	i, found := slices.BinarySearchFunc(s, uid, func(r Range, uid uint32) int { return cmp.Compare(r.Start, uid) })
	return found || i > 0 && uid <= s[i-1].Stop
}

// Union gives what is in either set.
func (s Set) Union(other Set) Set {
	return slices.Concat(s, other).normalised()
}

// Intersect gives what is in both sets.
func (s Set) Intersect(other Set) Set {
	var out Set
	for i, j := 0, 0; i < len(s) && j < len(other); {
		if start, stop := max(s[i].Start, other[j].Start), min(s[i].Stop, other[j].Stop); start <= stop {
			out = append(out, Range{start, stop})
		}
		if s[i].Stop < other[j].Stop {
			i++
		} else {
			j++
		}
	}
	return out
}

// All yields the UIDs in order.
func (s Set) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, r := range s {
			for uid := uint64(r.Start); uid <= uint64(r.Stop); uid++ {
				if !yield(uint32(uid)) {
					return
				}
			}
		}
	}
}

// Near gives the set with those of its gaps filled that have gap UIDs or fewer.
func (s Set) Near(gap uint32) Set {
	var out Set
	for _, r := range s {
		if n := len(out); n > 0 && r.Start-out[n-1].Stop-1 <= gap {
			out[n-1].Stop = r.Stop
			continue
		}
		out = append(out, r)
	}
	return out
}

// Len counts the UIDs.
func (s Set) Len() uint64 {
	var n uint64
	for _, r := range s {
		n += uint64(r.Stop) - uint64(r.Start) + 1
	}
	return n
}

// Proto gives the ranges for an answer.
func (s Set) Proto() []*storagev1.UidRange {
	out := make([]*storagev1.UidRange, len(s))
	for i, r := range s {
		out[i] = &storagev1.UidRange{Start: r.Start, Stop: r.Stop}
	}
	return out
}

// Builder collects UIDs that come in ascending order.
type Builder struct{ set Set }

// Add appends a UID that is not less than the last one.
func (b *Builder) Add(uid uint32) {
	if n := len(b.set); n > 0 && uint64(uid) <= uint64(b.set[n-1].Stop)+1 {
		b.set[n-1].Stop = max(b.set[n-1].Stop, uid)
		return
	}
	b.set = append(b.set, Range{uid, uid})
}

// Set gives what was added.
func (b *Builder) Set() Set { return b.set }
