package api

import (
	"context"
	"errors"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// knownTexts is what the text index knows of the needles of a search.
type knownTexts struct {
	// covered are the UIDs of which the index knows all: kept those of which the texts are kept.
	covered, kept uidset.Set
	// yes and may are, by needle, the messages that have it for certain, and those that may have it.
	yes, may []uidset.Set
}

// lookUp asks the index. If it is damaged it knows nothing: then texts decide.
func (w *searching) lookUp(ctx context.Context) (*knownTexts, error) {
	needles := w.program.Needles()
	queries := make([]textindex.Query, len(needles))
	for i, n := range needles {
		queries[i] = textindex.QueryOf(n)
	}
	found, covered, mark, err := w.Meta.TextLookup(ctx, w.key(), queries)
	if errors.Is(err, textindex.ErrSegment) {
		w.Log.ErrorContext(ctx, "the text index is damaged: run \"yubin storage reindex\"", "account", w.account,
			"mailbox", w.request.GetMailboxId(), "error", err)
		found, covered = textindex.NewLookup(queries), nil
		mark, err = w.Meta.TextMark(ctx, w.key())
	}
	if fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) {
		return &knownTexts{yes: make([]uidset.Set, len(needles)), may: make([]uidset.Set, len(needles))}, nil // what reads it says so
	}
	if err != nil {
		return nil, err
	}
	k := &knownTexts{covered: covered}
	if mark.Next > 1 {
		k.kept = uidset.Set{{Start: 1, Stop: mark.Next - 1}}
	}
	for i := range needles {
		var yes, may uidset.Builder
		found.Each(i, func(uid uint32, sure, possible bool) {
			if sure {
				yes.Add(uid)
			}
			if possible {
				may.Add(uid)
			}
		})
		k.yes, k.may = append(k.yes, yes.Set()), append(k.may, may.Set())
	}
	return k, nil
}

// with gives a superset of the messages that have a needle.
func (k *knownTexts) with(needle int) uidset.Set {
	return k.may[needle].Union(complement(k.covered))
}

func (k *knownTexts) lookup(needle int, uid uint32) search.Answer {
	switch {
	case !k.covered.Contains(uid):
		return search.Unknown
	case k.yes[needle].Contains(uid):
		return search.Yes
	case !k.may[needle].Contains(uid):
		return search.No
	}
	return search.Unknown
}
