package api

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const (
	// searchesAtOnce bounds the messages that all searches read at the same time, searchReaders those of one.
	searchesAtOnce = 16
	searchReaders  = 4
	// textsInMemory bounds the indexed texts, as they are stored, that a search holds.
	textsInMemory = 4 << 20
)

var (
	errSearchBytes = fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT,
		"the search would have to read too many messages; ask for fewer, by date or sender, or later, when they are indexed")
	errSearchTime = fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT,
		"the search takes too long; ask for fewer messages, by date or sender, or later, when they are indexed")
	// errWantsText ends a match that cannot be decided without the indexed text.
	errWantsText = errors.New("the text is wanted")
)

// searchMetrics tell what searches cost.
type searchMetrics struct {
	messages *prometheus.CounterVec
	bytes    prometheus.Counter
	limited  prometheus.Counter
}

func newSearchMetrics(reg prometheus.Registerer) searchMetrics {
	m := searchMetrics{
		messages: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_search_messages_total",
			Help: "Messages that searches looked at, by what: state (and index), text (as the index keeps it), or body (which was read).",
		}, []string{"by"})),
		bytes: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_search_read_bytes_total", Help: "Octets of bodies that searches read, as the index could not answer.",
		})),
		limited: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_search_limited_total", Help: "Searches that were given up, as they had too much to read or took too long.",
		})),
	}
	for _, by := range []string{"state", "text", "body"} {
		m.messages.WithLabelValues(by) // so that there is a rate from the first on
	}
	return m
}

// searching is one search.
type searching struct {
	*Service
	Meta    *meta.Store // on behalf of who asks
	account string      // whose mailbox it is
	request *storagev1.SearchRequest
	program *search.Program
	index   *knownTexts // nil: there is none
	found   uidset.Builder
	highest uint64

	// How far it is.
	done, total, read atomic.Int64
}

func (s *Service) newSearching(r *storagev1.SearchRequest) (*searching, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	program, err := search.Compile(r.GetCriteria())
	if err != nil {
		return nil, err
	}
	return &searching{Service: s, Meta: store, account: account, request: r, program: program}, nil
}

func (w *searching) key() meta.MailboxKey {
	return meta.MailboxKey{AccountID: w.account, MailboxID: w.request.GetMailboxId()}
}

// run searches. What the index knows decides first, then the texts that it keeps, then, within limits, the messages themselves.
func (w *searching) run(ctx context.Context) (*storagev1.SearchResponse, error) {
	if w.SearchTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, w.SearchTime, errSearchTime)
		defer cancel()
	}
	err := w.search(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errSearchTime) {
		err = errSearchTime
	}
	if errors.Is(err, errSearchTime) || errors.Is(err, errSearchBytes) {
		w.searches.limited.Inc()
	}
	if err != nil {
		return nil, err
	}
	return &storagev1.SearchResponse{Uids: w.found.Set().Proto(), HighestModseq: w.highest}, nil
}

func (w *searching) search(ctx context.Context) error {
	if err := w.Meta.Permitted(ctx, w.account, w.request.GetMailboxId(), meta.RightRead); err != nil {
		return err
	}
	set, err := candidates(ctx, w.Meta, w.account, w.request)
	if err != nil {
		return err
	}
	w.total.Store(int64(min(set.Len(), math.MaxInt32)))
	few := w.Meta.States
	if w.program.NeedsContent() {
		few = w.messages(meta.Wanted{})
	}
	if len(w.program.Needles()) == 0 {
		return w.pages(ctx, set, statesBetween, few, w.matchStates)
	}
	kept := uidset.Set(nil) // UIDs of messages whose texts are kept
	if w.Index != nil {
		if w.index, err = w.lookUp(ctx); err != nil {
			return err
		}
		set = set.Intersect(w.program.Bound(w.index.with))
		kept = w.index.kept
		w.total.Store(int64(min(set.Len(), math.MaxInt32)))
	}
	if err := w.pages(ctx, set.Intersect(kept), statesBetween, few, w.matchTexts); err != nil {
		return err
	}
	rest := set.Intersect(complement(kept))
	if w.program.Needs() < search.NeedsBody {
		return w.pages(ctx, rest, restBetween, w.messages(meta.Wanted{Header: true}), w.matchStates)
	}
	return w.pages(ctx, rest, restBetween, w.messages(meta.Wanted{Header: true, Summary: true, Root: true}), w.matchBodies)
}

// reader reads a page of messages of a set after a UID; more says that others may follow.
type reader func(ctx context.Context, account string, mailbox uint64, set uidset.Set, after uint32) (page []*meta.Message, more bool, err error)

// messages reads messages with what is wanted of them.
func (w *searching) messages(want meta.Wanted) reader {
	return func(ctx context.Context, account string, mailbox uint64, set uidset.Set, after uint32) ([]*meta.Message, bool, error) {
		return w.Meta.Messages(ctx, account, mailbox, set, after, want)
	}
}

// complement gives the UIDs that are not in a set.
func complement(set uidset.Set) (out uidset.Set) {
	next := uint32(1)
	for _, r := range set {
		if next < r.Start {
			out = append(out, uidset.Range{Start: next, Stop: r.Start - 1})
		}
		if next = r.Stop + 1; next == 0 {
			return out
		}
	}
	return append(out, uidset.Range{Start: next, Stop: math.MaxUint32})
}

// matcher matches the messages of a page.
type matcher func(ctx context.Context, page []*meta.Message, matches []bool) error

// Reading so many messages that are between two others costs less than asking for another range: of states, of texts, and of all else.
const (
	statesBetween = 8
	textsBetween  = 2
	restBetween   = 0
)

// pages matches the messages of a set, page by page.
func (w *searching) pages(ctx context.Context, set uidset.Set, between uint32, read reader, match matcher) error {
	near := set.Near(between)
	for after, more := uint32(0), len(set) > 0; more; {
		var page []*meta.Message
		var err error
		page, more, err = read(ctx, w.account, w.request.GetMailboxId(), near, after)
		if err != nil {
			return err
		}
		if len(page) > 0 {
			after = page[len(page)-1].State.GetUid()
		}
		page = slices.DeleteFunc(page, func(m *meta.Message) bool { return !set.Contains(m.State.GetUid()) })
		matches := make([]bool, len(page))
		if err := match(ctx, page, matches); err != nil {
			return err
		}
		for i, m := range page {
			if matches[i] {
				w.found.Add(m.State.GetUid())
				w.highest = max(w.highest, m.State.GetModseq())
			}
		}
		w.done.Add(int64(len(page)))
	}
	return nil
}

// matchStates matches messages of which no body is read.
func (w *searching) matchStates(ctx context.Context, page []*meta.Message, matches []bool) (err error) {
	w.searches.messages.WithLabelValues("state").Add(float64(len(page)))
	for i, m := range page {
		if matches[i], err = w.matchOne(ctx, &candidate{ctx: ctx, searching: w, message: m}); err != nil {
			return err
		}
	}
	return nil
}

// matchTexts matches messages whose texts are kept: they are read for those that nothing else decides.
func (w *searching) matchTexts(ctx context.Context, page []*meta.Message, matches []bool) (err error) {
	var wanted uidset.Builder
	places := map[uint32]int{}
	for i, m := range page {
		matches[i], err = w.program.Match(ctx, &candidate{ctx: ctx, searching: w, message: m, texts: textsLater})
		if errors.Is(err, errWantsText) {
			wanted.Add(m.State.GetUid())
			places[m.State.GetUid()] = i
		} else if err != nil {
			return err
		}
	}
	w.searches.messages.WithLabelValues("state").Add(float64(len(page) - len(places)))
	w.searches.messages.WithLabelValues("text").Add(float64(len(places)))
	for rest := wanted.Set(); len(rest) > 0; {
		var texts []meta.KeptText
		size := 0
		err := w.Meta.TextsOf(ctx, w.key(), rest.Near(textsBetween), func(k meta.KeptText) bool {
			if _, ok := places[k.UID]; !ok {
				return true
			}
			if k.Text != nil {
				k.Text = append([]byte(nil), k.Text...)
			}
			k.Prefix = append([]byte(nil), k.Prefix...)
			texts = append(texts, k)
			size += len(k.Text)
			return size < textsInMemory
		})
		if err != nil {
			return err
		}
		if len(texts) == 0 { // they were expunged meanwhile
			return nil
		}
		if err := w.matchAll(ctx, len(texts), func(ctx context.Context, j int) error {
			i, ok := places[texts[j].UID]
			if !ok {
				return nil
			}
			c := &candidate{ctx: ctx, searching: w, message: page[i], texts: textsKnown, kept: keptText(texts[j])}
			var err error
			matches[i], err = w.matchOne(ctx, c)
			return err
		}); err != nil {
			return err
		}
		rest = rest.Intersect(complement(uidset.Set{{Start: 1, Stop: texts[len(texts)-1].UID}}))
	}
	return nil
}

// keptText gives the text of a message as its recipient has it, nil if it is not known.
func keptText(k meta.KeptText) *search.Text {
	if k.Text == nil {
		return nil
	}
	t, err := textindex.DecodeText(k.Text)
	if err != nil || t == nil { // the message tells
		return nil
	}
	if len(k.Prefix) > 0 {
		t.Header = search.HeaderText(k.Prefix) + t.Header
	}
	return t
}

// matchBodies matches messages that may have to be read.
func (w *searching) matchBodies(ctx context.Context, page []*meta.Message, matches []bool) error {
	return w.matchAll(ctx, len(page), func(ctx context.Context, i int) (err error) {
		matches[i], err = w.matchOne(ctx, &candidate{ctx: ctx, searching: w, message: page[i]})
		return err
	})
}

// matchOne matches a message that may be read. One that is damaged, which was logged, or gone does not match.
func (w *searching) matchOne(ctx context.Context, c *candidate) (bool, error) {
	ok, err := w.program.Match(ctx, c)
	if errors.Is(err, body.ErrCorrupt) || errors.Is(err, errGone) {
		return false, nil
	}
	return ok, err
}

// matchAll calls match for n messages, some at the same time.
func (w *searching) matchAll(ctx context.Context, n int, match func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(searchReaders)
	for i := range n {
		group.Go(func() error {
			if err := w.Service.search.Acquire(ctx, 1); err != nil {
				return err
			}
			defer w.Service.search.Release(1)
			return match(ctx, i)
		})
	}
	return group.Wait()
}

// metered counts what a search reads of bodies, and ends it when that is too much.
type metered struct {
	io.ReaderAt
	search *searching
}

func (m *metered) ReadAt(b []byte, off int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(b, off)
	m.search.searches.bytes.Add(float64(n))
	if m.search.read.Add(int64(n)) > m.search.SearchBytes && m.search.SearchBytes > 0 {
		return n, errSearchBytes
	}
	return n, err
}

// progress tells how far the search is.
func (w *searching) progress() *storagev1.SearchStreamResponse_Progress {
	return &storagev1.SearchStreamResponse_Progress{
		Done: uint64(w.done.Load()), Total: uint64(max(w.total.Load(), w.done.Load())), ReadBytes: uint64(w.read.Load()),
	}
}

// progressEvery is how often a stream tells how far a search is.
const progressEvery = time.Second
