package session

import (
	"cmp"
	"context"
	"slices"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// SORT and UID SORT: RFC 5256, SORT=DISPLAY: RFC 5957, ESORT: RFC 5267 section 3.
func init() {
	register(extension{
		capabilities: []capability{{name: "SORT", when: whenLoggedIn}, {name: "SORT=DISPLAY", when: whenLoggedIn}, {name: "ESORT", when: whenLoggedIn}},
		commands: []command{
			{name: "SORT", states: selectedState, numbered: true, read: func(s *session) (job, error) { return readSort(s, false) }},
			{name: "UID SORT", states: selectedState, read: func(s *session) (job, error) { return readSort(s, true) }},
		},
	})
}

func readSort(s *session, uid bool) (job, error) {
	args, err := s.dec.SortArgs()
	if err == nil {
		err = checkPartial(args.Return)
	}
	if err != nil {
		return unsaved(args.Return, err)
	}
	c := claim{answers: answersSort}
	if args.Extended { // the response has the tag
		c = claim{}
	}
	return s.searching(args.Key, args.Return, c, func(ctx context.Context, s *session) (reply, error) { return runSort(ctx, s, args, uid) }), nil
}

func runSort(ctx context.Context, s *session, args wire.SortArgs, uid bool) (reply, error) {
	list, order, err := s.sorted(ctx, args)
	if err != nil {
		return reply{}, err
	}
	s.keepUpdated(args.Return, updating{uid: uid, key: args.Key, order: order, sorted: list})
	save := wire.Has(args.Return, "SAVE")
	if save {
		s.box.saved = savedOrder(list, args.Return)
	}
	if save && len(args.Return) == 1 {
		return reply{}, nil
	}
	var highest uint64
	if uses(args.Key, "MODSEQ") {
		highest = s.box.foundModSeq(savedOrder(list, args.Return), nil)
	}
	found := make([]uint32, len(list))
	for i, m := range list {
		found[i] = m.number(uid)
	}
	if args.Extended {
		s.sendESort(args.Return, found, highest, uid)
		return reply{}, nil
	}
	s.enc.Star().Raw("SORT")
	for _, n := range found {
		s.enc.SP().Num(uint64(n))
	}
	if highest > 0 {
		s.enc.Raw(" (MODSEQ ").Num(highest).Close() // RFC 7162 section 3.1.5
	}
	s.enc.CRLF()
	return reply{}, nil
}

// sorted finds messages and puts them in order.
func (s *session) sorted(ctx context.Context, args wire.SortArgs) ([]*sortable, *ordering, error) {
	order, err := newOrdering(args.Keys)
	if err != nil {
		return nil, nil, err
	}
	uids, err := s.search(ctx, args.Key)
	if err != nil {
		return nil, nil, err
	}
	list, err := s.learn(ctx, uids, order.facts, nil)
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(list, order.compare) // learn gives them in order of sequence numbers
	return list, order, nil
}

// ordering compares messages by the criteria of a SORT.
type ordering struct {
	facts facts
	keys  []sortOrder
}

func newOrdering(keys []wire.SortKey) (*ordering, error) {
	o := &ordering{keys: make([]sortOrder, len(keys))}
	for i, k := range keys {
		order, ok := sortOrders[k.Name]
		if !ok {
			return nil, bad("unknown sort criterion")
		}
		o.facts |= order.facts
		if o.keys[i] = order; k.Reverse {
			o.keys[i].compare = func(a, b *sortable) int { return order.compare(b, a) }
		}
	}
	return o, nil
}

func (o *ordering) compare(a, b *sortable) int {
	for _, k := range o.keys {
		if c := k.compare(a, b); c != 0 {
			return c
		}
	}
	return 0
}

// less: what is equal stays in order of sequence numbers, also with REVERSE (RFC 5256 section 3).
func (o *ordering) less(a, b *sortable) bool {
	return cmp.Or(o.compare(a, b), cmp.Compare(a.state.UID, b.state.UID)) < 0
}

// sortOrder compares two messages by a criterion.
type sortOrder struct {
	facts   facts
	compare func(a, b *sortable) int
}

// byText compares by a text that was folded already.
func byText(f facts) sortOrder {
	i := f.index()
	return sortOrder{f, func(a, b *sortable) int { return cmp.Compare(a.value(i), b.value(i)) }}
}

// sortOrders are the criteria of RFC 5256 section 3 and RFC 5957 section 3.
var sortOrders = map[string]sortOrder{
	"ARRIVAL":     {0, func(a, b *sortable) int { return cmp.Compare(a.state.Internal, b.state.Internal) }},
	"SIZE":        {0, func(a, b *sortable) int { return cmp.Compare(a.state.Size, b.state.Size) }},
	"DATE":        {factDate, func(a, b *sortable) int { return cmp.Compare(a.sent, b.sent) }},
	"CC":          byText(factCc),
	"FROM":        byText(factFrom),
	"TO":          byText(factTo),
	"SUBJECT":     byText(factSubject),
	"DISPLAYFROM": byText(factDisplayFrom),
	"DISPLAYTO":   byText(factDisplayTo),
}

// savedOrder is what SAVE keeps of a sorted result: by the same rule as savedResult, but MIN and MAX are the ends of the order.
func savedOrder(list []*sortable, options []wire.Item) []wire.Range {
	if len(list) > 0 && someOnly(options) {
		some := []*sortable{}
		if wire.Has(options, "MIN") {
			some = append(some, list[0])
		}
		if wire.Has(options, "MAX") {
			some = append(some, list[len(list)-1])
		}
		if p, ok := wire.Arg[partialRange](options, "PARTIAL"); ok {
			from, to := p.of(len(list))
			some = append(some, list[from:to]...)
		}
		list = some
	}
	uids := make([]uint32, len(list))
	for i, m := range list {
		uids[i] = m.state.UID
	}
	slices.Sort(uids)
	return rangesOf(slices.Compact(uids))
}

// sendESort sends an ESEARCH response in which MIN, MAX and ALL are of the order (RFC 5267 section 3).
func (s *session) sendESort(options []wire.Item, found []uint32, highest uint64, uid bool) {
	s.beginESearch(s.tag, nil, uid)
	if len(found) > 0 {
		if wire.Has(options, "MIN") {
			s.enc.Raw(" MIN ").Num(uint64(found[0]))
		}
		if wire.Has(options, "MAX") {
			s.enc.Raw(" MAX ").Num(uint64(found[len(found)-1]))
		}
		if wire.Has(options, "ALL") || len(options) == 0 {
			s.enc.Raw(" ALL ").Ranges(rangesOf(found))
		}
	}
	if p, ok := wire.Arg[partialRange](options, "PARTIAL"); ok {
		from, to := p.of(len(found))
		s.sendPartial(p, rangesOf(found[from:to]))
	}
	if wire.Has(options, "COUNT") {
		s.enc.Raw(" COUNT ").Num(uint64(len(found)))
	}
	if highest > 0 {
		s.enc.Raw(" MODSEQ ").Num(highest)
	}
	s.enc.CRLF()
}

// known gives the messages of UID ranges that the client knows.
func (b *mailbox) known(uids []*storagev1.UidRange) []span {
	return b.uidSpans(b.numbers(uids, true))
}
