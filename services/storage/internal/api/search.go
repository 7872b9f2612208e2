package api

import (
	"context"
	"slices"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Search implements storagev1.StorageServiceServer.
func (s *Service) Search(ctx context.Context, r *storagev1.SearchRequest) (*storagev1.SearchResponse, error) {
	w, err := s.newSearching(r)
	if err != nil {
		return nil, err
	}
	return w.run(ctx)
}

// candidates gives UIDs outside of which nothing can match: by the UIDs that are asked for, and by flags that few messages have.
func candidates(ctx context.Context, store *meta.Store, account string, r *storagev1.SearchRequest) (uidset.Set, error) {
	set, err := bounds(r.GetCriteria())
	if err != nil {
		return nil, err
	}
	for _, mark := range marks(r.GetCriteria()) {
		marked, few, err := store.Marked(ctx, account, r.GetMailboxId(), mark)
		if err != nil {
			return nil, err
		}
		if few {
			set = set.Intersect(marked)
		}
	}
	return set, nil
}

// marks gives the marks that whatever matches has.
func marks(c *storagev1.SearchCriteria) []meta.Mark {
	switch k := c.GetKey().(type) {
	case *storagev1.SearchCriteria_Flags:
		var out []meta.Mark
		if k.Flags&uint32(storagev1.Flag_FLAG_DELETED) != 0 {
			out = append(out, meta.MarkDeleted)
		}
		if k.Flags&uint32(storagev1.Flag_FLAG_FLAGGED) != 0 {
			out = append(out, meta.MarkFlagged)
		}
		return out
	case *storagev1.SearchCriteria_Not:
		if flags, ok := k.Not.GetKey().(*storagev1.SearchCriteria_Flags); ok && flags.Flags == uint32(storagev1.Flag_FLAG_SEEN) {
			return []meta.Mark{meta.MarkUnseen}
		}
	case *storagev1.SearchCriteria_AllOf:
		var out []meta.Mark
		for _, inner := range k.AllOf.GetCriteria() {
			out = append(out, marks(inner)...)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return nil
}

// bounds gives UIDs outside of which nothing can match, so that they are not read.
func bounds(c *storagev1.SearchCriteria) (uidset.Set, error) {
	switch k := c.GetKey().(type) {
	case *storagev1.SearchCriteria_Uids:
		return uidset.FromProto(k.Uids.GetUids())
	case *storagev1.SearchCriteria_AllOf:
		set := uidset.All
		for _, inner := range k.AllOf.GetCriteria() {
			part, err := bounds(inner)
			if err != nil {
				return nil, err
			}
			set = set.Intersect(part)
		}
		return set, nil
	}
	return uidset.All, nil
}
