package session

import (
	"sort"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// matcherFunc tests a message of the view.
type matcherFunc func(m view.Message) bool

// stateMatcher compiles criteria that need nothing but what the view has; nil: they need more.
func stateMatcher(c *storagev1.SearchCriteria) matcherFunc {
	switch k := c.GetKey().(type) {
	case nil:
		return func(view.Message) bool { return true }
	case *storagev1.SearchCriteria_AllOf:
		return combine(k.AllOf.GetCriteria(), false)
	case *storagev1.SearchCriteria_AnyOf:
		return combine(k.AnyOf.GetCriteria(), true)
	case *storagev1.SearchCriteria_Not:
		inner := stateMatcher(k.Not)
		if inner == nil {
			return nil
		}
		return func(m view.Message) bool { return !inner(m) }
	case *storagev1.SearchCriteria_Uids:
		ranges := k.Uids.GetUids() // ascending, as resolve makes them
		return func(m view.Message) bool {
			i := sort.Search(len(ranges), func(i int) bool { return ranges[i].GetStop() >= m.UID })
			return i < len(ranges) && ranges[i].GetStart() <= m.UID
		}
	case *storagev1.SearchCriteria_Flags:
		return func(m view.Message) bool { return m.Has(storagev1.Flag(k.Flags)) }
	case *storagev1.SearchCriteria_Keyword:
		return func(m view.Message) bool { return m.HasKeyword(k.Keyword) }
	case *storagev1.SearchCriteria_InternalDate:
		return inRange(k.InternalDate, func(m view.Message) int64 { return m.Internal })
	case *storagev1.SearchCriteria_SavedDate:
		return inRange(k.SavedDate, func(m view.Message) int64 { return m.Saved })
	case *storagev1.SearchCriteria_Larger:
		return func(m view.Message) bool { return m.Size > k.Larger }
	case *storagev1.SearchCriteria_Smaller:
		return func(m view.Message) bool { return m.Size < k.Smaller }
	case *storagev1.SearchCriteria_Modseq:
		return func(m view.Message) bool { return m.ModSeq >= k.Modseq }
	}
	return nil
}

// combine joins matchers: any of them, or all.
func combine(criteria []*storagev1.SearchCriteria, anyOf bool) matcherFunc {
	matchers := make([]matcherFunc, len(criteria))
	for i, c := range criteria {
		if matchers[i] = stateMatcher(c); matchers[i] == nil {
			return nil
		}
	}
	return func(m view.Message) bool {
		for _, match := range matchers {
			if match(m) == anyOf {
				return anyOf
			}
		}
		return !anyOf
	}
}

func inRange(r *storagev1.SearchCriteria_TimeRange, of func(view.Message) int64) matcherFunc {
	return func(m view.Message) bool {
		t := of(m)
		return (r.GetFromUnix() == 0 || t >= r.GetFromUnix()) && (r.GetBeforeUnix() == 0 || t < r.GetBeforeUnix())
	}
}
