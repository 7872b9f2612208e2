package api

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const (
	// searchesAtOnce bounds the messages that all searches read at the same time, searchReaders those of one.
	searchesAtOnce = 16
	searchReaders  = 4
)

// Search implements storagev1.StorageServiceServer.
func (s *Service) Search(ctx context.Context, r *storagev1.SearchRequest) (*storagev1.SearchResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	program, err := search.Compile(r.GetCriteria())
	if err != nil {
		return nil, err
	}
	set, err := s.candidates(ctx, r)
	if err != nil {
		return nil, err
	}
	full := program.Needs() >= search.NeedsBody
	want := meta.Wanted{Header: program.Needs() >= search.NeedsHeader, Summary: full, Root: full}
	var uids uidset.Builder
	response := &storagev1.SearchResponse{}
	for after, more := uint32(0), true; more; {
		var page []*meta.Message
		page, more, err = s.Meta.Messages(ctx, r.GetAccountId(), r.GetMailboxId(), set, after, want)
		if err != nil {
			return nil, err
		}
		matches, err := s.matchPage(ctx, r, program, page)
		if err != nil {
			return nil, err
		}
		for i, m := range page {
			after = m.State.GetUid()
			if matches[i] {
				uids.Add(m.State.GetUid())
				response.HighestModseq = max(response.HighestModseq, m.State.GetModseq())
			}
		}
	}
	response.Uids = uids.Set().Proto()
	return response, nil
}

// candidates gives UIDs outside of which nothing can match: by the UIDs that are asked for, and by flags that few messages have.
func (s *Service) candidates(ctx context.Context, r *storagev1.SearchRequest) (uidset.Set, error) {
	set, err := bounds(r.GetCriteria())
	if err != nil {
		return nil, err
	}
	for _, mark := range marks(r.GetCriteria()) {
		marked, few, err := s.Meta.Marked(ctx, r.GetAccountId(), r.GetMailboxId(), mark)
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

// matchPage matches several messages, some at the same time where they must be read.
func (s *Service) matchPage(ctx context.Context, r *storagev1.SearchRequest, program *search.Program, page []*meta.Message) ([]bool, error) {
	matches := make([]bool, len(page))
	if program.Needs() < search.NeedsBody {
		for i, m := range page {
			ok, err := program.Match(ctx, &candidate{ctx: ctx, service: s, request: r, message: m})
			if err != nil {
				return nil, err
			}
			matches[i] = ok
		}
		return matches, nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(searchReaders)
	for i, m := range page {
		group.Go(func() error {
			if err := s.search.Acquire(ctx, 1); err != nil {
				return err
			}
			defer s.search.Release(1)
			ok, err := program.Match(ctx, &candidate{ctx: ctx, service: s, request: r, message: m})
			if errors.Is(err, body.ErrCorrupt) || errors.Is(err, errGone) { // a damaged one was logged
				return nil
			}
			matches[i] = ok
			return err
		})
	}
	return matches, group.Wait()
}

// candidate is a message as the recipient has it, read as far as the search needs it.
type candidate struct {
	ctx     context.Context
	service *Service
	request *storagev1.SearchRequest
	message *meta.Message
}

var _ search.Candidate = (*candidate)(nil)

func (c *candidate) State() *storagev1.MessageState { return c.message.State }
func (c *candidate) EmailID() string                { return c.message.EmailID }
func (c *candidate) ThreadID() string               { return c.message.ThreadID }
func (c *candidate) SentUnix() int64                { return c.message.SentUnix }

func (c *candidate) Header() ([]byte, error) {
	return c.service.header(c.ctx, c.request.GetAccountId(), c.message)
}

// Structure is there if the search reads bodies; the others need it of few messages, so that it is read for each alone.
func (c *candidate) Structure() (*mailv1.Structure, error) {
	if m := c.message; m.Summary != nil && m.Root != nil {
		return structureOf(m), nil
	}
	uid := c.message.State.GetUid()
	page, _, err := c.service.Meta.Messages(c.ctx, c.request.GetAccountId(), c.request.GetMailboxId(), uidset.Of(uid), 0,
		meta.Wanted{Summary: true, Root: true})
	if err != nil {
		return nil, err
	}
	if len(page) == 0 { // expunged meanwhile
		return &mailv1.Structure{Root: &mailv1.Part{}}, nil
	}
	return structureOf(page[0]), nil
}

func structureOf(m *meta.Message) *mailv1.Structure {
	structure := m.Summary
	structure.Root = withPrefix(m.Root, len(m.Prefix))
	return structure
}

func (c *candidate) Open() (io.ReaderAt, error) {
	return &prefixed{prefix: c.message.Prefix, body: c.service.body(c.ctx, c.request.GetAccountId(), c.message)}, nil
}

// prefixed is a body behind its prefix.
type prefixed struct {
	prefix []byte
	body   io.ReaderAt
}

func (p *prefixed) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(p.prefix)) {
		n = copy(b, p.prefix[off:])
	}
	if n == len(b) {
		return n, nil
	}
	rest, err := p.body.ReadAt(b[n:], off+int64(n)-int64(len(p.prefix)))
	return n + rest, err
}
