package session

import (
	"slices"
	"sort"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// among gives those of some UIDs, in ascending order, that are results.
func (u *updating) among(uids []uint32) []uint32 {
	if len(uids) == 0 {
		return nil
	}
	var out []uint32
	if u.order != nil {
		for _, m := range u.sorted {
			if _, ok := slices.BinarySearch(uids, m.state.UID); ok {
				out = append(out, m.state.UID)
			}
		}
		slices.Sort(out)
		return out
	}
	for _, uid := range uids {
		i := sort.Search(len(u.found), func(i int) bool { return u.found[i].Stop >= uid })
		if i < len(u.found) && u.found[i].Start <= uid {
			out = append(out, uid)
		}
	}
	return out
}

// numbersOf gives UIDs, or the sequence numbers of their messages, as a client was told them.
func (s *session) numbersOf(u *updating, uids []uint32) []wire.Range {
	if u.uid {
		return rangesOf(uids)
	}
	numbers := make([]uint32, 0, len(uids))
	for _, uid := range uids {
		if _, i, ok := s.box.told.Find(uid); ok {
			numbers = append(numbers, uint32(i+1))
		}
	}
	return rangesOf(numbers)
}

// sendRemoved takes results out. Of an order they are told with their positions, the last one first, so that none shifts another (RFC 5267 section 4.3.4).
func (s *session) sendRemoved(u *updating, uids []uint32) {
	s.enc.Raw(" REMOVEFROM (")
	if u.order == nil {
		s.enc.Raw("0 ").Ranges(s.numbersOf(u, uids)).Close()
		u.found = without(u.found, uids)
		return
	}
	first := true
	for i, m := range slices.Backward(u.sorted) {
		if _, ok := slices.BinarySearch(uids, m.state.UID); ok {
			s.sendPosition(u, &first, i, m)
		}
	}
	s.enc.Close()
	u.sorted = slices.DeleteFunc(u.sorted, func(m *sortable) bool {
		_, ok := slices.BinarySearch(uids, m.state.UID)
		return ok
	})
}

// sendAdded puts results in: of an order one after the other, each where it then belongs (RFC 5267 section 4.3.3).
func (s *session) sendAdded(u *updating, uids []uint32, sorted []*sortable) {
	s.enc.Raw(" ADDTO (")
	if u.order == nil {
		s.enc.Raw("0 ").Ranges(s.numbersOf(u, uids)).Close()
		u.found = wire.NumSet{Ranges: append(slices.Clone(u.found), rangesOf(uids)...)}.Resolve(0)
		return
	}
	first := true
	for _, m := range sorted {
		i := sort.Search(len(u.sorted), func(i int) bool { return u.order.less(m, u.sorted[i]) })
		u.sorted = slices.Insert(u.sorted, i, m)
		s.sendPosition(u, &first, i, m)
	}
	s.enc.Close()
}

func (s *session) sendPosition(u *updating, first *bool, index int, m *sortable) {
	if !*first {
		s.enc.SP()
	}
	*first = false
	s.enc.Num(uint64(index + 1)).SP().Ranges(s.numbersOf(u, []uint32{m.state.UID}))
}

// without takes numbers, in ascending order, out of resolved ranges.
func without(ranges []wire.Range, numbers []uint32) []wire.Range {
	out := make([]wire.Range, 0, len(ranges))
	for _, r := range ranges {
		for len(numbers) > 0 && numbers[0] < r.Start {
			numbers = numbers[1:]
		}
		from, whole := r.Start, true // whole: something is left of the range
		for len(numbers) > 0 && numbers[0] <= r.Stop {
			if from < numbers[0] {
				out = append(out, wire.Range{Start: from, Stop: numbers[0] - 1})
			}
			whole = numbers[0] < r.Stop
			from = numbers[0] + 1
			numbers = numbers[1:]
		}
		if whole {
			out = append(out, wire.Range{Start: from, Stop: r.Stop})
		}
	}
	return out
}
