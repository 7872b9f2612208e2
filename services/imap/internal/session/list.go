package session

import (
	"context"
	"slices"
	"strings"

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
			{name: "LIST", states: loggedIn, run: runList},
			{name: "LSUB", states: loggedIn, run: runLsub},
		},
	})
}

// listLine is one LIST response.
type listLine struct {
	attrs []string
	name  string
	// childInfo says that a child matches the selection (RFC 9051 section 6.3.9.7: CHILDINFO).
	childInfo bool
	mailbox   *storagev1.Mailbox // nil if there is none of that name
}

func (s *session) sendList(l listLine) {
	s.enc.Star().Raw("LIST (" + strings.Join(l.attrs, " ") + `) "/" `).Mailbox(l.name)
	if l.childInfo {
		s.enc.Raw(` ("CHILDINFO" ("SUBSCRIBED"))`)
	}
	s.enc.CRLF()
}

// folder is a name that LIST may show.
type folder struct {
	name       string
	mailbox    *storagev1.Mailbox
	subscribed bool
	children   bool
	// subscribedBelow: a descendant is subscribed.
	subscribedBelow bool
}

// folders gives all names in order, INBOX first.
func (s *session) folders(ctx context.Context) ([]*folder, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	answer, err := s.Storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: s.accountID()})
	if err != nil {
		return nil, err
	}
	byName := map[string]*folder{}
	var out []*folder
	for _, m := range answer.GetMailboxes() {
		f := &folder{name: m.GetName(), mailbox: m, subscribed: m.GetSubscribed()}
		byName[f.name] = f
		out = append(out, f)
	}
	for _, name := range answer.GetSubscribedOnly() {
		f := &folder{name: name, subscribed: true}
		byName[name] = f
		out = append(out, f)
	}
	for _, f := range slices.Clone(out) {
		for parent := parentOf(f.name); parent != ""; parent = parentOf(parent) {
			p := byName[parent]
			if p == nil { // only above names that are subscribed but do not exist
				p = &folder{name: parent}
				byName[parent] = p
				out = append(out, p)
			}
			p.children = p.children || f.mailbox != nil
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
	return out, nil
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
		compiled[i] = wire.NewPattern(reference+p, delimiter)
	}
	return func(name string) bool {
		return slices.ContainsFunc(compiled, func(p *wire.Pattern) bool { return p.Match(name) })
	}
}

func runList(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.ListArgs()
	if err != nil {
		return reply{}, err
	}
	if !args.Extended && args.Patterns[0] == "" {
		// RFC 9051 section 6.3.9: an empty pattern asks for the delimiter.
		s.sendList(listLine{attrs: []string{`\Noselect`}})
		return reply{}, nil
	}
	all, err := s.folders(ctx)
	if err != nil {
		return reply{}, err
	}
	matches := matcher(args.Reference, args.Patterns)
	statusItems, _ := wire.Arg[[]wire.Item](args.Return, "STATUS")
	sel := selection{
		subscribed: wire.Has(args.Select, "SUBSCRIBED"),
		recursive:  wire.Has(args.Select, "RECURSIVEMATCH"),
		specialUse: wire.Has(args.Select, "SPECIAL-USE"),
	}
	sel.showSubscribed = sel.subscribed || wire.Has(args.Return, "SUBSCRIBED")
	for _, f := range all {
		if !matches(f.name) {
			continue
		}
		line, ok := sel.line(f)
		if !ok {
			continue
		}
		s.sendList(line)
		if len(statusItems) > 0 && f.mailbox != nil {
			s.sendStatus(statusItems, f.mailbox)
		}
	}
	return reply{}, nil
}

// selection is what LIST's selection options ask for (RFC 9051 section 6.3.9.1).
type selection struct {
	subscribed, recursive, specialUse bool
	showSubscribed                    bool
}

// line makes the response for a folder; false if it is not selected.
func (sel selection) line(f *folder) (listLine, bool) {
	uses := specialUseAttrs(f.mailbox)
	self := f.mailbox != nil // a name that is only subscribed is not one of "the existing mailboxes" (RFC 9051 section 6.3.9)
	if sel.subscribed {
		self = f.subscribed
	}
	if sel.specialUse && len(uses) == 0 {
		self = false
	}
	childInfo := sel.recursive && sel.subscribed && f.subscribedBelow
	if !self && !childInfo {
		return listLine{}, false
	}
	line := listLine{name: f.name, childInfo: childInfo, mailbox: f.mailbox}
	if f.mailbox == nil {
		line.attrs = append(line.attrs, `\NonExistent`)
	}
	if sel.showSubscribed && f.subscribed {
		line.attrs = append(line.attrs, `\Subscribed`)
	}
	if f.children {
		line.attrs = append(line.attrs, `\HasChildren`)
	} else {
		line.attrs = append(line.attrs, `\HasNoChildren`)
	}
	line.attrs = append(line.attrs, uses...)
	return line, true
}

func runLsub(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.ListArgs()
	if err != nil {
		return reply{}, err
	}
	if args.Extended {
		return reply{}, bad("LSUB has no options")
	}
	all, err := s.folders(ctx)
	if err != nil {
		return reply{}, err
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
	return reply{}, nil
}
