package audit

import (
	"context"
	"fmt"
	"iter"

	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// unknownAtOnce is how many listed objects without a pack are looked up together.
const unknownAtOnce = 500

// Verify compares the database with the list of objects, both ways: that each content lies within an object that is there, that each object is
// known, and that the counters of the packs are the sums of their contents. It reads no bodies.
func (a *Auditor) Verify(ctx context.Context, report Report) (Summary, error) {
	r := &run{Auditor: a, report: report}
	var err error
	if r.begin, err = a.Meta.Created(ctx); err != nil {
		return r.summary, fmt.Errorf("find age of database: %w", err)
	}
	if r.done.Total, _, _, err = a.Meta.PackTotals(ctx, ""); err != nil {
		return r.summary, fmt.Errorf("count packs: %w", err)
	}
	next, stop := iter.Pull2(a.Objects.List(ctx, body.KeyPrefix, ""))
	defer stop()
	v := &verification{run: r, next: next}
	if err := v.packs(ctx); err != nil {
		return r.summary, err
	}
	if err := v.unknownPacks(ctx); err != nil {
		return r.summary, err
	}
	return r.summary, r.progress()
}

// verification goes through packs and objects side by side, both by key.
type verification struct {
	*run
	next    func() (object.Info, error, bool)
	current *object.Info // listed and not yet compared
	ended   bool
	unknown []object.Info // listed, but with no pack beside
}

func (v *verification) packs(ctx context.Context) error {
	for after := ""; ; {
		page, err := v.Meta.CheckPacks(ctx, after, packsAtOnce)
		if err != nil {
			return fmt.Errorf("read packs: %w", err)
		}
		for _, p := range page {
			if err := v.pack(ctx, p); err != nil {
				return err
			}
			after = p.Object
		}
		v.done.Done += int64(len(page))
		if err := v.progress(); err != nil {
			return err
		}
		if len(page) < packsAtOnce {
			break
		}
	}
	if _, _, err := v.listed(ctx, ""); err != nil {
		return err
	}
	return v.flush(ctx)
}

// listed goes on in the list to a key, or to the end for "", and gives the object's size if it is listed.
func (v *verification) listed(ctx context.Context, key string) (size int64, ok bool, err error) {
	for !v.ended {
		if v.current == nil {
			info, err, more := v.next()
			if err != nil {
				return 0, false, fmt.Errorf("list objects: %w", err)
			}
			if !more {
				v.ended = true
				break
			}
			v.summary.Objects++
			v.summary.ObjectBytes += info.Size
			v.current = &info
		}
		if key != "" && v.current.Key > key {
			break
		}
		info := *v.current
		v.current = nil
		if info.Key == key {
			return info.Size, true, nil
		}
		if v.unknown = append(v.unknown, info); len(v.unknown) >= unknownAtOnce {
			if err := v.flush(ctx); err != nil {
				return 0, false, err
			}
		}
	}
	return 0, false, nil
}

// pack compares a pack with its object.
func (v *verification) pack(ctx context.Context, p meta.PackCheck) error {
	v.summary.Packs++
	v.summary.Contents += p.HeldRefs
	v.summary.FrameBytes += p.Total
	v.summary.LiveBytes += p.Live
	size, ok, err := v.listed(ctx, p.Object)
	if err == nil && !ok { // the list may be older than the row, or in another order
		size, ok, err = v.stat(ctx, p.Object)
	}
	if err != nil {
		return fmt.Errorf("look at object: %w", err)
	}
	if f := judge(p, size, ok); f != nil {
		// What was deleted or rewritten since is in order.
		if p, err = v.Meta.CheckPack(ctx, p.Object); err != nil {
			return fmt.Errorf("read pack: %w", err)
		}
		if f = judge(p, size, ok); f != nil {
			return v.find(*f)
		}
	}
	return nil
}

// judge tells what is wrong with a pack whose object has a size, or is not there.
func judge(p meta.PackCheck, size int64, there bool) *Finding {
	f := &Finding{Object: p.Object, AccountID: p.AccountID, ContentID: p.ContentID, Contents: p.HeldRefs, Octets: size}
	f.Made, _ = body.ObjectTime(p.Object)
	switch {
	case !p.Known && p.HeldRefs == 0:
		return nil
	case !there && p.HeldRefs > 0:
		f.Kind, f.Detail = MissingObject, "the object is not there"
	case there && p.Ends > size:
		f.Kind, f.Detail = ShortObject, fmt.Sprintf("the object has %d octets, its bodies reach to %d", size, p.Ends)
	case !p.Known:
		f.Kind, f.Detail = UnknownPack, "messages lie in an object that has no row"
	case p.Live != p.HeldBytes || p.Refs != p.HeldRefs || p.Live > p.Total:
		f.Kind = WrongCounters
		f.Detail = fmt.Sprintf("the row counts %d octets in %d contents, they add up to %d in %d; all frames have %d", p.Live, p.Refs, p.HeldBytes, p.HeldRefs, p.Total)
	default:
		return nil
	}
	return f
}

// flush finds out about listed objects without a pack beside them.
func (v *verification) flush(ctx context.Context) error {
	keys := make([]string, len(v.unknown))
	for i, o := range v.unknown {
		keys[i] = o.Key
	}
	known, err := v.Meta.KnownObjects(ctx, keys)
	if err != nil {
		return fmt.Errorf("find objects: %w", err)
	}
	for _, o := range v.unknown {
		if known[o.Key] { // written or given up since, or waiting
			v.summary.Waiting++
			v.summary.WaitingBytes += o.Size
			continue
		}
		f := Finding{Kind: Orphan, Object: o.Key, Octets: o.Size, Detail: "no row knows the object"}
		if f.Made, err = body.ObjectTime(o.Key); err != nil || f.Made.Before(v.begin) {
			f.Kind = Foreign
			f.Detail = "no row knows the object, and it is older than the database: was that lost?"
			v.summary.Foreign++
		} else {
			v.summary.Orphans++
			v.summary.OrphanBytes += o.Size
		}
		if err := v.find(f); err != nil {
			return err
		}
	}
	v.unknown = v.unknown[:0]
	return nil
}

// unknownPacks finds contents in objects that have no row.
func (v *verification) unknownPacks(ctx context.Context) error {
	for after, more := "", true; more; more = after != "" {
		var keys []string
		var err error
		if keys, after, err = v.Meta.UnknownPacks(ctx, after, packsAtOnce); err != nil {
			return fmt.Errorf("find contents without a pack: %w", err)
		}
		for _, key := range keys {
			size, ok, err := v.stat(ctx, key)
			if err != nil {
				return fmt.Errorf("look at object: %w", err)
			}
			p, err := v.Meta.CheckPack(ctx, key)
			if err != nil {
				return fmt.Errorf("read pack: %w", err)
			}
			if f := judge(p, size, ok); f != nil {
				if err := v.find(*f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// VerifyAccount compares the contents of one account with the objects that they lie in.
func (a *Auditor) VerifyAccount(ctx context.Context, account string, report Report) (Summary, error) {
	r := &run{Auditor: a, report: report}
	sizes := newSizes(a)
	for after := ""; ; {
		page, err := a.Meta.AccountFrames(ctx, account, after, packsAtOnce)
		if err != nil {
			return r.summary, fmt.Errorf("read contents: %w", err)
		}
		for _, f := range page {
			after = f.ContentID
			if err := r.content(ctx, sizes, f); err != nil {
				return r.summary, err
			}
		}
		r.done.Done += int64(len(page))
		r.done.Total = r.done.Done
		if err := r.progress(); err != nil || len(page) < packsAtOnce {
			return r.summary, err
		}
	}
}

// content compares one content with its object.
func (r *run) content(ctx context.Context, sizes *sizes, f meta.Frame) error {
	r.summary.Contents++
	r.summary.LiveBytes += f.Share
	for {
		size, ok, err := sizes.of(ctx, f.Object)
		if err != nil {
			return fmt.Errorf("look at object: %w", err)
		}
		if ok && f.Offset+f.Stored <= size {
			return nil
		}
		now, there, err := r.Meta.Location(ctx, f.AccountID, f.ContentID)
		if err != nil {
			return fmt.Errorf("read content: %w", err)
		}
		if !there {
			return nil
		}
		if now.Location != f.Location { // moved since
			f = now
			continue
		}
		found := Finding{Kind: MissingObject, Object: f.Object, AccountID: f.AccountID, ContentID: f.ContentID, Contents: 1, Octets: f.Stored, Detail: "the object is not there"}
		if ok {
			found.Kind, found.Detail = ShortObject, fmt.Sprintf("the object has %d octets, the body reaches to %d", size, f.Offset+f.Stored)
		}
		found.Made, _ = body.ObjectTime(f.Object)
		return r.find(found)
	}
}

// sizes remembers the sizes of objects, as neighbours lie in the same.
type sizes struct {
	*Auditor
	known map[string]int64 // -1: not there
}

func newSizes(a *Auditor) *sizes { return &sizes{a, map[string]int64{}} }

// maxSizes bounds what sizes remembers.
const maxSizes = 10_000

func (s *sizes) of(ctx context.Context, key string) (size int64, ok bool, err error) {
	if size, known := s.known[key]; known {
		return max(size, 0), size >= 0, nil
	}
	if size, ok, err = s.stat(ctx, key); err != nil {
		return 0, false, err
	}
	if len(s.known) >= maxSizes {
		clear(s.known)
	}
	if s.known[key] = size; !ok {
		s.known[key] = -1
	}
	return size, ok, nil
}
