package session

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

const delimiter = '/'

// LIST: RFC 9051 section 6.3.9, LIST-EXTENDED RFC 5258, LIST-STATUS RFC 5819, SPECIAL-USE RFC 6154, CHILDREN RFC 3348;
// LSUB: RFC 3501 section 6.3.9.
func init() {
	register(extension{
		capabilities: []capability{
			{name: "LIST-EXTENDED", when: whenLoggedIn},
			{name: "LIST-STATUS", when: whenLoggedIn},
			{name: "SPECIAL-USE", when: whenLoggedIn},
			{name: "CHILDREN", when: whenLoggedIn},
		},
		commands: []command{
			{name: "LIST", states: loggedIn, read: readList},
			{name: "LSUB", states: loggedIn, read: readLsub},
		},
	})
}

// listLine is one LIST response.
type listLine struct {
	attrs []string
	name  string
	// childInfo are the selection options that a mailbox below matches (RFC 9051 section 6.3.9.6, CHILDINFO).
	childInfo []string
	// oldName is the name that the client used, if it is not the mailbox's (RFC 9051 section 6.3.9.7, OLDNAME).
	oldName string
}

func (s *session) sendList(l listLine) {
	s.enc.Star().Raw("LIST (" + strings.Join(l.attrs, " ") + `) "/" `).Mailbox(l.name)
	if len(l.childInfo) > 0 {
		s.enc.Raw(` ("CHILDINFO" ("` + strings.Join(l.childInfo, `" "`) + `"))`)
	}
	if l.oldName != "" {
		s.enc.Raw(` ("OLDNAME" (`).Mailbox(l.oldName).Raw("))")
	}
	s.enc.CRLF()
}

// sendOldName tells what a name that was not normalised has become (RFC 9051 section 5.1).
func (s *session) sendOldName(given string, attrs ...string) {
	if s.rev2 && !norm.NFC.IsNormalString(given) {
		s.sendList(listLine{attrs: attrs, name: norm.NFC.String(canonical(given)), oldName: given})
	}
}

// folder is a name that LIST may show.
type folder struct {
	name string
	// held has no mailbox if there is none of that name.
	held
	subscribed bool
	// level: there is no mailbox, but some below it.
	level    bool
	children bool
	// subscribedBelow: a descendant is subscribed.
	subscribedBelow bool
}

// folders gives all names in order, INBOX first, also those of what others share if that is wanted. If it cannot be found out what some of these
// are called it gives the others, and why.
func (s *session) folders(ctx context.Context, shared bool) ([]*folder, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	request := &storagev1.ListMailboxesRequest{AccountId: s.accountID()}
	if shared {
		request.SharedWith = s.actor("")
	}
	answer, err := s.Storage.ListMailboxes(ctx, request)
	if err != nil {
		return nil, err
	}
	byName := map[string]*folder{}
	var out []*folder
	var missing error
	add := func(f *folder) {
		byName[f.name] = f
		out = append(out, f)
	}
	own := s.own()
	for _, m := range answer.GetMailboxes() {
		if _, _, foreign := cutForeign(m.GetName()); !foreign {
			add(&folder{name: m.GetName(), held: own.holds(m), subscribed: m.GetSubscribed()})
		}
	}
	for _, some := range answer.GetShared() {
		others, err := s.sharedFolders(ctx, some)
		if err != nil {
			missing = err
		}
		for _, f := range others {
			add(f)
		}
	}
	for _, name := range answer.GetSubscribedOnly() {
		if f := byName[name]; f != nil { // shared
			f.subscribed, f.Subscribed = true, true
			continue
		}
		if _, _, foreign := cutForeign(name); foreign && missing != nil { // nobody knows whether it is there
			continue
		}
		add(&folder{name: name, subscribed: true})
	}
	for _, f := range slices.Clone(out) {
		for parent := parentOf(f.name); parent != ""; parent = parentOf(parent) {
			p := byName[parent]
			if p == nil { // above what others share, and names that are subscribed but do not exist
				p = &folder{name: parent}
				byName[parent] = p
				out = append(out, p)
			}
			p.children = p.children || f.Mailbox != nil
			p.level = p.level || p.Mailbox == nil && f.Mailbox != nil
			p.subscribedBelow = p.subscribedBelow || f.subscribed
		}
	}
	slices.SortFunc(out, func(a, b *folder) int {
		switch {
		case a.name == b.name:
			return 0
		case a.name == "INBOX":
			return -1
		case b.name == "INBOX":
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return out, missing
}

// sharedFolders gives what one account shares; nothing if the directory does not know it any more.
func (s *session) sharedFolders(ctx context.Context, some *storagev1.SharedMailboxes) (out []*folder, err error) {
	owner, err := s.sharerWith(ctx, some.GetAccountId())
	if err != nil || owner.id == "" {
		return nil, err
	}
	h := s.other(owner)
	for _, m := range some.GetMailboxes() {
		f := &folder{held: h.holds(m)}
		f.name = f.GetName()
		out = append(out, f)
	}
	return out, nil
}

// asksOthers tells whether patterns may match what others share.
func asksOthers(reference string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		p = reference + p
		if i := strings.IndexAny(p, "*%"); i >= 0 {
			p = p[:i]
		}
		return strings.HasPrefix(p, othersLevel) || strings.HasPrefix(othersLevel, p)
	})
}

func parentOf(name string) string {
	i := strings.LastIndexByte(name, delimiter)
	if i < 0 {
		return ""
	}
	return name[:i]
}

// matcher compiles the patterns, with the reference before them.
func matcher(reference string, patterns []string) func(name string) bool {
	compiled := make([]*wire.Pattern, len(patterns))
	for i, p := range patterns {
		compiled[i] = wire.NewPattern(norm.NFC.String(reference+p), delimiter) // as mailbox names are
	}
	return func(name string) bool {
		return slices.ContainsFunc(compiled, func(p *wire.Pattern) bool { return p.Match(name) })
	}
}

func readList(s *session) (job, error) {
	args, err := s.dec.ListArgs()
	status, asked := wire.Arg[[]wire.Item](args.Return, "STATUS")
	c := claim{answers: answersList}
	if asked {
		c.answers |= answersStatus
		c.looks = true
	}
	if wire.Has(args.Return, "METADATA") {
		c.answers |= answersMetadata
	}
	if wire.Has(args.Return, "MYRIGHTS") {
		c.answers |= answersRights
	}
	return job{alone: s.asks(status), claim: c, run: func(ctx context.Context, s *session) (reply, error) { return runList(ctx, s, args) }}, err
}

func runList(ctx context.Context, s *session, args wire.ListArgs) (reply, error) {
	if !args.Extended && slices.Equal(args.Patterns, []string{""}) {
		// RFC 9051 section 6.3.9: an empty pattern asks for the delimiter.
		s.sendList(listLine{attrs: []string{`\Noselect`}})
		return reply{}, nil
	}
	all, missing := s.folders(ctx, asksOthers(args.Reference, args.Patterns))
	if all == nil {
		return reply{}, missing
	}
	matches := matcher(args.Reference, args.Patterns)
	statusItems, _ := wire.Arg[[]wire.Item](args.Return, "STATUS")
	annotations, err := s.listAnnotations(ctx, args.Return, all)
	if err != nil {
		return reply{}, err
	}
	sel := newSelection(args, all, matches)
	for _, f := range all {
		own := sel.selects(f)
		hidden, below := sel.below[f.name]
		if !own && !hidden || !matches(f.name) {
			continue
		}
		s.sendList(sel.line(f, below))
		if !own || f.Mailbox == nil { // it is shown for what is below it (RFC 5819 section 2)
			continue
		}
		if len(statusItems) > 0 && f.may(rightRead) {
			s.statusAsked(statusItems)
			s.sendStatus(statusItems, f.held)
		}
		if wire.Has(args.Return, "MYRIGHTS") {
			s.sendRights(f.held)
		}
		annotations.sendOf(s, f.held)
	}
	// NO, if some are missing: a client must not take what it was told for all that there is.
	return annotations.reply(), missing
}

// selection is what LIST's selection options ask for (RFC 9051 section 6.3.9.1).
type selection struct {
	subscribed, specialUse bool
	showSubscribed         bool
	// extended: the client knows \NonExistent, which implies \Noselect; of the two only one may be told (RFC 9051 section 9, "mbx-list-sflag").
	extended bool
	// below are the names above a mailbox that is selected; only with RECURSIVEMATCH. True if the patterns leave one of these out: otherwise
	// a name that is not selected itself would tell nothing new (RFC 5258 section 3.5).
	below map[string]bool
}

func newSelection(args wire.ListArgs, all []*folder, matches func(name string) bool) selection {
	sel := selection{
		subscribed: wire.Has(args.Select, "SUBSCRIBED"),
		specialUse: wire.Has(args.Select, "SPECIAL-USE"),
		extended:   args.Extended,
		below:      map[string]bool{},
	}
	sel.showSubscribed = sel.subscribed || wire.Has(args.Return, "SUBSCRIBED")
	if !wire.Has(args.Select, "RECURSIVEMATCH") {
		return sel
	}
	for _, f := range all {
		if !sel.selects(f) {
			continue
		}
		for parent := parentOf(f.name); parent != ""; parent = parentOf(parent) {
			sel.below[parent] = sel.below[parent] || !matches(f.name)
		}
	}
	return sel
}

// selects tells whether a folder itself is selected.
func (sel selection) selects(f *folder) bool {
	if sel.specialUse && len(specialUseAttrs(f.Mailbox)) == 0 {
		return false
	}
	if sel.subscribed {
		return f.subscribed
	}
	return f.Mailbox != nil || f.level && !sel.specialUse // a name that is only subscribed is not one of "the existing mailboxes" (RFC 9051 section 6.3.9)
}

// line makes the response for a folder.
func (sel selection) line(f *folder, below bool) listLine {
	line := listLine{name: f.name}
	switch {
	case f.Mailbox == nil && sel.extended:
		line.attrs = append(line.attrs, `\NonExistent`)
	case f.Mailbox == nil, !f.may(rightRead):
		line.attrs = append(line.attrs, `\Noselect`)
	}
	if sel.showSubscribed && f.subscribed {
		line.attrs = append(line.attrs, `\Subscribed`)
	}
	if f.children {
		line.attrs = append(line.attrs, `\HasChildren`)
	} else {
		line.attrs = append(line.attrs, `\HasNoChildren`)
	}
	line.attrs = append(line.attrs, specialUseAttrs(f.Mailbox)...)
	if below && sel.subscribed {
		line.childInfo = append(line.childInfo, "SUBSCRIBED")
	}
	if below && sel.specialUse {
		line.childInfo = append(line.childInfo, "SPECIAL-USE")
	}
	return line
}

func readLsub(s *session) (job, error) {
	args, err := s.dec.ListArgs()
	if err == nil && args.Extended {
		err = bad("LSUB has no options")
	}
	return job{claim: claim{answers: answersLsub}, run: func(ctx context.Context, s *session) (reply, error) { return runLsub(ctx, s, args) }}, err
}

func runLsub(ctx context.Context, s *session, args wire.ListArgs) (reply, error) {
	all, missing := s.folders(ctx, asksOthers(args.Reference, args.Patterns))
	if all == nil {
		return reply{}, missing
	}
	matches := matcher(args.Reference, args.Patterns)
	for _, f := range all {
		attrs := `()`
		switch {
		case !matches(f.name), !f.subscribed && !f.subscribedBelow:
			continue
		case !f.subscribed:
			// RFC 3501 section 6.3.9: with "%", a name whose children are subscribed is shown as \Noselect.
			if !strings.HasSuffix(args.Patterns[0], "%") {
				continue
			}
			attrs = `(\Noselect)`
		}
		s.enc.Star().Raw("LSUB " + attrs + ` "/" `).Mailbox(f.name).CRLF()
	}
	return reply{}, missing
}
