package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// MULTISEARCH: RFC 7377. ESEARCH searches several mailboxes, and answers with UIDs for each in which something was found.
func init() {
	register(extension{
		capabilities: []capability{{name: "MULTISEARCH", when: whenLoggedIn}},
		commands:     []command{{name: "ESEARCH", states: loggedIn, read: readESearch, numbered: true}},
	})
}

func readESearch(s *session) (job, error) {
	args, err := s.dec.ESearchArgs()
	if err != nil {
		return job{}, err
	}
	if err := s.checkESearch(&args); err != nil {
		return job{}, err
	}
	return s.searching(args.Key, args.Return, claim{}, func(ctx context.Context, s *session) (reply, error) { return runESearch(ctx, s, args) }), nil
}

func runESearch(ctx context.Context, s *session, args wire.ESearchArgs) (reply, error) {
	all, err := s.folders(ctx, s.searchesOthers(args.Sources))
	if err != nil {
		return reply{}, err
	}
	if wire.Has(args.Return, "UPDATE") {
		s.refuseUpdate(s.tag) // that is for SEARCH and SORT
	}
	sources := s.mailboxesOf(args.Sources, all)
	progress := s.progress(len(sources))
	r := reply{}
	for i, m := range sources {
		uids, modseq, err := s.searchIn(ctx, m, args.Key)
		if errors.Is(err, view.ErrDead) || fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_NOT_PERMITTED) {
			continue // deleted meanwhile, or not shared any more
		}
		if err != nil {
			return reply{}, err
		}
		if s.isSelected(m.key()) {
			var limit string
			uids, limit = s.limitedUIDs(uids)
			r, _ = s.within(limit, r, nil)
			found := s.box.numbers(uids, true)
			if wire.Has(args.Return, "SAVE") {
				s.box.saved = s.box.savedResult(found, args.Return)
			}
			s.sendFound(args, m, found, modseq)
		} else {
			s.sendFound(args, m, wireRanges(uids), modseq)
		}
		progress.at(i + 1)
	}
	return r, nil
}

// checkESearch refuses what cannot be, and puts in what is implied.
func (s *session) checkESearch(args *wire.ESearchArgs) error {
	if args.Sources == nil {
		args.Sources = []wire.MailboxFilter{{Kind: "selected"}}
	}
	selected := slices.ContainsFunc(args.Sources, func(f wire.MailboxFilter) bool { return f.Kind == "selected" })
	only := selected && len(args.Sources) == 1
	switch {
	case selected && s.box == nil:
		return bad("no mailbox is selected")
	case s.utf8 && args.Charset != "":
		return bad("strings are UTF-8 after ENABLE UTF8=ACCEPT, and have no charset") // RFC 6855 section 3
	// RFC 7377 section 2.1: what is of the selected mailbox has no meaning elsewhere.
	case wire.Has(args.Return, "SAVE") && !only:
		return bad("SAVE is for the selected mailbox only")
	case hasNumbers(args.Key) && !only:
		return bad("sequence numbers and $ are of the selected mailbox only")
	}
	return checkPartial(args.Return)
}

// hasNumbers tells whether a search has sequence numbers, or the search result variable.
func hasNumbers(k wire.SearchKey) bool {
	return k.Op == wire.SearchSeq || k.Set.SearchRes || slices.ContainsFunc(k.Keys, hasNumbers)
}

// hasSet tells whether a search has a set of numbers.
func hasSet(k wire.SearchKey) bool {
	return k.Op == wire.SearchSeq || k.Op == wire.SearchUID || slices.ContainsFunc(k.Keys, hasSet)
}

// searchesOthers tells whether filters may name what others share.
func (s *session) searchesOthers(filters []wire.MailboxFilter) bool {
	return slices.ContainsFunc(filters, func(f wire.MailboxFilter) bool {
		return namesOthers(f) || f.Kind == "selected" && s.box.actor != nil
	})
}

func namesOthers(f wire.MailboxFilter) bool {
	return f.Kind == "subscribed" || slices.ContainsFunc(f.Names, reserved)
}

// mailboxesOf gives the mailboxes that filters name, each once. Names of what is not there, or may not be read, are ignored (RFC 5465 section 6).
func (s *session) mailboxesOf(filters []wire.MailboxFilter, all []*folder) []held {
	var out []held
	for _, f := range all {
		if f.Mailbox != nil && f.may(rightRead) && slices.ContainsFunc(filters, func(filter wire.MailboxFilter) bool { return s.matchesFilter(filter, f) }) {
			out = append(out, f.held)
		}
	}
	return out
}

func (s *session) matchesFilter(filter wire.MailboxFilter, f *folder) bool {
	switch filter.Kind {
	case "selected":
		return f.Mailbox != nil && s.isSelected(f.key())
	case "inboxes":
		return f.name == "INBOX" // mail is delivered nowhere else
	case "personal":
		return f.actor == nil
	case "subscribed":
		return f.subscribed
	}
	return slices.ContainsFunc(filter.Names, func(name string) bool {
		name = norm.NFC.String(canonical(name))
		below, ok := strings.CutPrefix(f.name, name+string(delimiter))
		switch filter.Kind {
		case "subtree":
			return f.name == name || ok
		case "subtree-one":
			return f.name == name || ok && !strings.ContainsRune(below, delimiter)
		}
		return f.name == name
	})
}

// searchIn searches one mailbox. modseq is 0 unless it was asked for.
func (s *session) searchIn(ctx context.Context, m held, key wire.SearchKey) (uids []*storagev1.UidRange, modseq uint64, err error) {
	asked := uses(key, "MODSEQ")
	if s.isSelected(m.key()) {
		if uids, err = s.search(ctx, key); err == nil && asked {
			modseq = s.box.foundModSeq(s.box.numbers(uids, true), nil)
		}
		return uids, modseq, err
	}
	var box *mailbox
	if hasSet(key) { // only the view knows what "*" is
		handle, err := s.Views.Open(ctx, m.account, m.GetMailboxId())
		if err != nil {
			return nil, 0, err
		}
		defer handle.Close()
		box = &mailbox{holder: m.holder, id: m.GetMailboxId(), view: handle, told: handle.Snapshot()}
	}
	criteria, err := s.criteria(box, key)
	if err != nil {
		return nil, 0, err
	}
	answer, err := s.searchStorage(ctx, &storagev1.SearchRequest{AccountId: m.asked(), MailboxId: m.GetMailboxId(), Criteria: criteria, Actor: m.actor})
	if asked {
		modseq = answer.GetHighestModseq()
	}
	return answer.GetUids(), modseq, err
}

// sendFound tells what was found in a mailbox, unless that is nothing (RFC 7377 section 2.1).
func (s *session) sendFound(args wire.ESearchArgs, m held, found []wire.Range, modseq uint64) {
	if len(found) == 0 || wire.Has(args.Return, "SAVE") && len(args.Return) == 1 {
		return
	}
	s.sendESearch(args.Return, &m, found, modseq, true)
}

func wireRanges(uids []*storagev1.UidRange) []wire.Range {
	out := make([]wire.Range, len(uids))
	for i, r := range uids {
		out[i] = wire.Range{Start: r.GetStart(), Stop: r.GetStop()}
	}
	return wire.NumSet{Ranges: out}.Resolve(0)
}
