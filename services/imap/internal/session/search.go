package session

import (
	"context"
	"slices"
	"strings"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// SEARCH and UID SEARCH: RFC 9051 section 6.4.4, ESEARCH RFC 4731, SEARCHRES RFC 5182.
func init() {
	register(extension{
		capabilities: []capability{{name: "ESEARCH"}, {name: "SEARCHRES"}},
		commands: []command{
			{name: "SEARCH", states: selectedState, numbered: true, read: func(s *session) (job, error) { return readSearch(s, false) }},
			{name: "UID SEARCH", states: selectedState, read: func(s *session) (job, error) { return readSearch(s, true) }},
		},
	})
}

func readSearch(s *session, uid bool) (job, error) {
	args, err := s.dec.SearchArgs()
	if err == nil && s.utf8 && args.Charset != "" {
		err = bad("strings are UTF-8 after ENABLE UTF8=ACCEPT, and have no charset") // RFC 6855 section 3
	}
	if err == nil {
		err = checkPartial(args.Return)
	}
	if err != nil {
		return unsaved(args.Return, err)
	}
	c := claim{answers: answersSearch}
	if args.Extended || s.rev2 { // the response has the tag
		c = claim{}
	}
	return s.searching(args.Key, args.Return, c, func(ctx context.Context, s *session) (reply, error) { return runSearch(ctx, s, args, uid) }), nil
}

// searching is the job of a command that searches, and may save what it has found in the selected mailbox.
func (s *session) searching(key wire.SearchKey, options []wire.Item, c claim, run func(ctx context.Context, s *session) (reply, error)) job {
	modseq := uses(key, "MODSEQ")
	c.looks = true
	return job{
		alone: modseq && !s.condstore || wire.Has(options, "SAVE") || wire.Has(options, "UPDATE"),
		// New messages are searched too, but none is expunged before: sequence numbers, also those in UID SEARCH, are those that the client
		// knows (RFC 9051 section 5.5).
		prepare: func(s *session) (claim, error) {
			if modseq {
				s.enableCondstore()
			}
			if s.box == nil {
				return c, nil
			}
			return c, s.tell(false, false)
		},
		run: func(ctx context.Context, s *session) (reply, error) {
			if err := s.checkUpdate(options); err != nil {
				return reply{}, err
			}
			r, err := run(ctx, s)
			r.keeps = hasNumbers(key)
			return r, s.unsave(options, err)
		},
	}
}

// unsave empties the search result variable if that is to be: RFC 9051 section 6.4.4.1: a search that is answered by NO empties it, one by
// BAD does not.
func (s *session) unsave(options []wire.Item, err error) error {
	if err != nil && s.box != nil && wire.Has(options, "SAVE") {
		if a, _ := answerFor(err); a.status == wire.StatusNO {
			s.box.saved = nil
		}
	}
	return err
}

// unsaved is the job of a search that failed before it began.
func unsaved(options []wire.Item, err error) (job, error) {
	if !wire.Has(options, "SAVE") {
		return job{}, err
	}
	return job{alone: true, run: func(_ context.Context, s *session) (reply, error) { return reply{}, s.unsave(options, err) }}, nil
}

func runSearch(ctx context.Context, s *session, args wire.SearchArgs, uid bool) (reply, error) {
	uids, err := s.search(ctx, args.Key)
	if err != nil {
		return reply{}, err
	}
	s.keepUpdated(args.Return, updating{uid: uid, key: args.Key, found: s.box.numbers(uids, true)})
	save := wire.Has(args.Return, "SAVE")
	uids, limit := s.limitedUIDs(uids)
	found := s.box.numbers(uids, uid)
	if save {
		s.box.saved = s.box.savedResult(s.box.numbers(uids, true), args.Return)
	}
	if save && len(args.Return) == 1 {
		return reply{code: limit}, nil // nothing but to save was asked for (RFC 9051 section 6.4.4.1)
	}
	var highest uint64
	if uses(args.Key, "MODSEQ") {
		highest = s.box.foundModSeq(s.box.numbers(uids, true), args.Return)
	}
	if args.Extended || s.rev2 {
		s.sendESearch(args.Return, nil, found, highest, uid)
		return reply{code: limit}, nil
	}
	s.enc.Star().Raw("SEARCH")
	for n := range numbersIn(found) {
		s.enc.SP().Num(uint64(n))
	}
	if highest > 0 {
		s.enc.Raw(" (MODSEQ ").Num(highest).Close() // RFC 7162 section 3.1.5
	}
	s.enc.CRLF()
	return reply{code: limit}, nil
}

// uses tells whether a search has a key of an extension.
func uses(k wire.SearchKey, name string) bool {
	return k.Op == wire.SearchExtension && k.Name == name ||
		slices.ContainsFunc(k.Keys, func(k wire.SearchKey) bool { return uses(k, name) })
}

// hasNumbers tells whether a search has sequence numbers.
func hasNumbers(k wire.SearchKey) bool {
	return k.Op == wire.SearchSeq && !k.Set.SearchRes || slices.ContainsFunc(k.Keys, hasNumbers)
}

// numbersIn yields the numbers of resolved ranges.
func numbersIn(ranges []wire.Range) func(yield func(uint32) bool) {
	return func(yield func(uint32) bool) {
		for _, r := range ranges {
			for n := r.Start; ; n++ {
				if !yield(n) {
					return
				}
				if n == r.Stop {
					break
				}
			}
		}
	}
}

// savedResult is what SAVE keeps: with MIN, MAX or PARTIAL, and neither ALL nor COUNT, only those (RFC 5182 section 2.4, RFC 9394
// section 3.2).
func (b *mailbox) savedResult(uids []wire.Range, options []wire.Item) []wire.Range {
	if !someOnly(options) || len(uids) == 0 {
		return uids
	}
	low, high := wire.Has(options, "MIN"), wire.Has(options, "MAX")
	p, partial := wire.Arg[partialRange](options, "PARTIAL")
	var out []wire.Range
	if low {
		out = append(out, positions(uids, 0, 1)...)
	}
	all := total(uids)
	if high {
		out = append(out, positions(uids, all-1, all)...)
	}
	if partial {
		from, to := p.of(all)
		out = append(out, positions(uids, from, to)...)
	}
	return wire.NumSet{Ranges: out}.Resolve(0)
}

// someOnly tells whether only some of what was found is asked for.
func someOnly(options []wire.Item) bool {
	return (wire.Has(options, "MIN") || wire.Has(options, "MAX") || wire.Has(options, "PARTIAL")) && !wire.Has(options, "ALL") && !wire.Has(options, "COUNT")
}

// beginESearch begins an ESEARCH response for the command of a tag. in is the mailbox, if it must be told (RFC 7377 section 2.1).
func (s *session) beginESearch(tag string, in *held, uid bool) {
	s.enc.Star().Raw("ESEARCH (TAG ").String(tag)
	if in != nil {
		s.enc.Raw(" MAILBOX ").Mailbox(in.GetName()).Raw(" UIDVALIDITY ").Num(uint64(in.GetUidValidity()))
	}
	s.enc.Close()
	if uid {
		s.enc.Raw(" UID")
	}
}

// sendESearch sends an ESEARCH response (RFC 9051 section 7.3.4). in is the mailbox, if it must be told; highest is its MODSEQ, 0 if there
// is none.
func (s *session) sendESearch(options []wire.Item, in *held, found []wire.Range, highest uint64, uid bool) {
	s.beginESearch(s.tag, in, uid)
	all := wire.Has(options, "ALL") || len(options) == 0
	if len(found) > 0 {
		if wire.Has(options, "MIN") {
			s.enc.Raw(" MIN ").Num(uint64(found[0].Start))
		}
		if wire.Has(options, "MAX") {
			s.enc.Raw(" MAX ").Num(uint64(found[len(found)-1].Stop))
		}
		if all {
			s.enc.Raw(" ALL ").Ranges(found)
		}
	}
	if p, ok := wire.Arg[partialRange](options, "PARTIAL"); ok {
		from, to := p.of(total(found))
		s.sendPartial(p, positions(found, from, to))
	}
	if wire.Has(options, "COUNT") {
		s.enc.Raw(" COUNT ").Num(uint64(total(found)))
	}
	if highest > 0 {
		s.enc.Raw(" MODSEQ ").Num(highest)
	}
	s.enc.CRLF()
}

// search gives the UIDs that match: from the view where it knows enough, else from storage.
func (s *session) search(ctx context.Context, key wire.SearchKey) ([]*storagev1.UidRange, error) {
	criteria, err := s.criteria(s.box, key)
	if err != nil {
		return nil, err
	}
	if match := stateMatcher(criteria); match != nil {
		var found []wire.Range
		for _, m := range s.box.told.All() {
			if match(m) {
				found = wire.AppendNum(found, m.UID)
			}
		}
		return protoRanges(found), nil
	}
	answer, err := s.searchStorage(ctx, &storagev1.SearchRequest{AccountId: s.box.asked(), MailboxId: s.box.id, Criteria: criteria, Actor: s.box.actor})
	return answer.GetUids(), err
}

func protoRanges(ranges []wire.Range) []*storagev1.UidRange {
	out := make([]*storagev1.UidRange, len(ranges))
	for i, r := range ranges {
		out[i] = &storagev1.UidRange{Start: r.Start, Stop: r.Stop}
	}
	return out
}

func matchAll() *storagev1.SearchCriteria { return &storagev1.SearchCriteria{} }

func matchNot(c *storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Not{Not: c}}
}

// criteria translates a search key; sequence numbers, of the mailbox b, become UIDs.
func (s *session) criteria(b *mailbox, k wire.SearchKey) (*storagev1.SearchCriteria, error) {
	keys, err := s.criteriaList(b, k.Keys)
	if err != nil {
		return nil, err
	}
	switch k.Op {
	case wire.SearchAll:
		return matchAll(), nil
	case wire.SearchAnd:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AllOf{AllOf: &storagev1.SearchCriteria_List{Criteria: keys}}}, nil
	case wire.SearchOr:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AnyOf{AnyOf: &storagev1.SearchCriteria_List{Criteria: keys}}}, nil
	case wire.SearchNot:
		return matchNot(keys[0]), nil
	case wire.SearchSeq, wire.SearchUID:
		if s.uidOnly && k.Op == wire.SearchSeq && !k.Set.SearchRes {
			return nil, errUIDRequired
		}
		return b.setCriteria(k), nil
	case wire.SearchFlag:
		return flagCriteria(k.Value), nil
	case wire.SearchHeader:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Header_{Header: &storagev1.SearchCriteria_Header{Name: k.Name, Value: k.Value}}}, nil
	case wire.SearchBody:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: k.Value}}, nil
	case wire.SearchText:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Text{Text: k.Value}}, nil
	case wire.SearchBefore, wire.SearchOn, wire.SearchSince:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_InternalDate{InternalDate: days(k)}}, nil
	case wire.SearchSentBefore, wire.SearchSentOn, wire.SearchSentSince:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_SentDate{SentDate: days(k)}}, nil
	case wire.SearchLarger:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Larger{Larger: k.Num}}, nil
	case wire.SearchSmaller:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Smaller{Smaller: k.Num}}, nil
	case wire.SearchExtension:
		if key, ok := registered.searchKeys[k.Name]; ok {
			return key.criteria(s, k.Arg), nil
		}
	}
	return nil, bad("unknown search key")
}

func (s *session) criteriaList(b *mailbox, keys []wire.SearchKey) ([]*storagev1.SearchCriteria, error) {
	out := make([]*storagev1.SearchCriteria, len(keys))
	for i, k := range keys {
		c, err := s.criteria(b, k)
		if err != nil {
			return nil, err
		}
		out[i] = c
	}
	return out, nil
}

func (b *mailbox) setCriteria(k wire.SearchKey) *storagev1.SearchCriteria {
	spans := b.resolveSearch(k.Set, k.Op == wire.SearchUID)
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{Uids: b.uidRanges(spans)}}}
}

// flagCriteria tests for a flag. No message has \Recent.
func flagCriteria(name string) *storagev1.SearchCriteria {
	if strings.EqualFold(name, `\Recent`) {
		return matchNot(matchAll())
	}
	if bit, ok := flagBit(name); ok {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Flags{Flags: uint32(bit)}}
	}
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Keyword{Keyword: name}}
}

// days turns a comparison with a day into a range of seconds.
func days(k wire.SearchKey) *storagev1.SearchCriteria_TimeRange {
	day, next := k.Date.Unix(), k.Date.Add(24*time.Hour).Unix()
	switch k.Op {
	case wire.SearchBefore, wire.SearchSentBefore:
		return &storagev1.SearchCriteria_TimeRange{BeforeUnix: day}
	case wire.SearchSince, wire.SearchSentSince:
		return &storagev1.SearchCriteria_TimeRange{FromUnix: day}
	}
	return &storagev1.SearchCriteria_TimeRange{FromUnix: day, BeforeUnix: next}
}
