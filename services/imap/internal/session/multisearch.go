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
	sources, err := s.mailboxesOf(ctx, args.Sources, all)
	if err != nil {
		return reply{}, err
	}
	if wire.Has(args.Return, "UPDATE") && !slices.ContainsFunc(sources, func(m held) bool { return s.isSelected(m.key()) }) {
		s.refuseUpdate(s.tag) // that is for the selected mailbox
	}
	progress := s.progress(len(sources))
	r := reply{}
	for i, m := range sources {
		uids, modseq, err := s.searchIn(ctx, m, args.Key, args.Return)
		if errors.Is(err, view.ErrDead) || fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_NOT_PERMITTED) {
			continue // deleted meanwhile, or not shared any more
		}
		if err != nil {
			return reply{}, err
		}
		if s.isSelected(m.key()) {
			s.keepUpdated(args.Return, updating{in: &m, uid: true, key: args.Key, found: s.box.numbers(uids, true)})
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
	// RFC 7377 section 2.2: what is of the selected mailbox has no meaning elsewhere.
	case wire.Has(args.Return, "SAVE") && !only:
		return bad("SAVE is for the selected mailbox only")
	case wire.Has(args.Return, "UPDATE") && s.box == nil:
		return bad("UPDATE is for the selected mailbox")
	case hasSaved(args.Key) && !only:
		return bad("$ is of the selected mailbox only")
	}
	return checkPartial(args.Return)
}

// hasSaved tells whether a search has the search result variable.
func hasSaved(k wire.SearchKey) bool {
	return k.Set.SearchRes || slices.ContainsFunc(k.Keys, hasSaved)
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
func (s *session) mailboxesOf(ctx context.Context, filters []wire.MailboxFilter, all []*folder) ([]held, error) {
	var out []held
	listed := map[string]bool{}
	for _, f := range all {
		listed[f.name] = f.Mailbox != nil
		if f.Mailbox != nil && f.may(rightRead) && slices.ContainsFunc(filters, func(filter wire.MailboxFilter) bool { return s.matchesFilter(filter, f) }) {
			out = append(out, f.held)
		}
	}
	// RFC 7377 section 2.2: what has a name in the command need not be one that LIST shows.
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	for _, filter := range filters {
		for _, name := range filter.Names {
			name = norm.NFC.String(canonical(name))
			if !reserved(name) || listed[name] {
				continue
			}
			listed[name] = true
			m, err := s.mailboxNamed(ctx, name)
			answer, _ := answerFor(err)
			switch {
			case err == nil:
				out = append(out, m)
			case answer.code != "NONEXISTENT" && answer.code != "NOPERM":
				return nil, err
			}
		}
	}
	return out, nil
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
func (s *session) searchIn(ctx context.Context, m held, key wire.SearchKey, options []wire.Item) (uids []*storagev1.UidRange, modseq uint64, err error) {
	asked := uses(key, "MODSEQ")
	if s.isSelected(m.key()) {
		if uids, err = s.search(ctx, key); err == nil && asked {
			modseq = s.box.foundModSeq(s.box.numbers(uids, true), options)
		}
		return uids, modseq, err
	}
	some := asked && someOnly(options)
	var box *mailbox
	if some || hasSet(key) { // only the view knows what "*" is, and the modification sequences of some
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
	switch {
	case some:
		modseq = box.foundModSeq(wireRanges(answer.GetUids()), options)
	case asked:
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
