package session

import (
	"bytes"
	"context"
	"strings"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// METADATA: RFC 5464; METADATA-SERVER is the part of it that needs no mailbox; LIST-METADATA: RFC 9590. Nothing is sent unsolicited.
func init() {
	register(extension{
		capabilities: []capability{
			{name: "METADATA", when: whenLoggedIn},
			{name: "METADATA-SERVER", when: whenLoggedIn},
			{name: "LIST-METADATA", when: whenLoggedIn},
		},
		commands: []command{
			{name: "GETMETADATA", states: loggedIn, read: readGetMetadata},
			{name: "SETMETADATA", states: loggedIn, run: runSetMetadata},
		},
		grammar: func(g *wire.Grammar) {
			g.Register(wire.ListReturns, "METADATA", func(d *wire.Decoder) any { return d.MetadataReturn() })
		},
	})
}

func readGetMetadata(s *session) (job, error) {
	mailbox, query, err := s.dec.GetMetadataArgs()
	return job{
		claim: claim{answers: answersMetadata},
		run:   func(ctx context.Context, s *session) (reply, error) { return runGetMetadata(ctx, s, mailbox, query) },
	}, err
}

func runGetMetadata(ctx context.Context, s *session, mailbox string, query wire.MetadataQuery) (reply, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.locate(ctx, mailbox)
	if err != nil {
		return reply{}, err
	}
	found := newAnnotations(query)
	if err := found.ask(ctx, s, p.holder, &storagev1.GetMetadataRequest{Mailbox: p.name}); err != nil {
		return reply{}, err
	}
	found.send(s, p.shown(), found.only())
	return found.reply(), nil
}

// annotations are the answer to a question for metadata; nil if none was asked.
type annotations struct {
	wire.MetadataQuery
	// entries are what there is, by mailbox and name in lower case, in storage's order.
	entries map[view.Key]*annotated
	// longest is the size of the largest value that the client did not want for its size.
	longest int
}

// annotated is what a mailbox has.
type annotated struct {
	order  []string // in lower case
	byName map[string]*storagev1.GetMetadataResponse_Entry
}

func newAnnotations(query wire.MetadataQuery) *annotations {
	return &annotations{MetadataQuery: query, entries: map[view.Key]*annotated{}}
}

// ask adds what storage knows of mailboxes of an account.
func (a *annotations) ask(ctx context.Context, s *session, h holder, request *storagev1.GetMetadataRequest) error {
	request.AccountId, request.Actor, request.Entries = h.asked(), h.actor, a.Entries
	switch a.Depth {
	case 1:
		request.Depth = storagev1.GetMetadataRequest_DEPTH_CHILDREN
	case -1:
		request.Depth = storagev1.GetMetadataRequest_DEPTH_INFINITY
	}
	answer, err := s.Storage.GetMetadata(ctx, request)
	if err != nil {
		return badEntry(err)
	}
	for _, e := range answer.GetEntries() {
		of := a.entries[h.key(e.GetMailboxId())]
		if of == nil {
			of = &annotated{byName: map[string]*storagev1.GetMetadataResponse_Entry{}}
			a.entries[h.key(e.GetMailboxId())] = of
		}
		name := strings.ToLower(e.GetName())
		of.order, of.byName[name] = append(of.order, name), e
	}
	return nil
}

// only gives what was found where one mailbox was asked about.
func (a *annotations) only() *annotated {
	for _, of := range a.entries {
		return of
	}
	return nil
}

// badEntry answers BAD to names that cannot be (RFC 5464 section 3.2).
func badEntry(err error) error {
	if fault.Is(err, rpcv1.Reason_REASON_INVALID) {
		return bad(fault.Text(err))
	}
	return err
}

// listAnnotations gives what LIST shall show of all mailboxes (RFC 9590), nil if it was not asked for. Each owner's are asked for once.
func (s *session) listAnnotations(ctx context.Context, options []wire.Item, all []*folder) (*annotations, error) {
	query, wanted := wire.Arg[wire.MetadataQuery](options, "METADATA")
	if !wanted {
		return nil, nil
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	a := newAnnotations(query)
	asked := map[string]bool{}
	for _, f := range all {
		if f.Mailbox == nil || asked[f.account] {
			continue
		}
		asked[f.account] = true
		if err := a.ask(ctx, s, f.holder, &storagev1.GetMetadataRequest{AllMailboxes: true}); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// sendOf sends what a mailbox has.
func (a *annotations) sendOf(s *session, m held) {
	if a != nil {
		a.send(s, m.GetName(), a.entries[m.key()])
	}
}

// send sends the METADATA response for a mailbox. What was asked for by name and is not there is NIL; with a depth only what is there is told.
func (a *annotations) send(s *session, mailbox string, of *annotated) {
	begun := false
	pair := func(name string, e *storagev1.GetMetadataResponse_Entry) {
		if size := len(e.GetValue()); a.HasMaxSize && uint64(size) > a.MaxSize {
			a.longest = max(a.longest, size)
			return
		}
		if begun {
			s.enc.SP()
		} else {
			s.enc.Star().Raw("METADATA ").Mailbox(mailbox).Raw(" (")
		}
		begun = true
		s.enc.AString(name).SP()
		s.sendAnnotation(e)
	}
	if of == nil {
		of = &annotated{}
	}
	if a.Depth == 0 {
		told := map[string]bool{}
		for _, name := range a.Entries {
			if folded := strings.ToLower(name); !told[folded] {
				told[folded] = true
				pair(name, of.byName[folded])
			}
		}
	} else {
		for _, folded := range of.order {
			pair(of.byName[folded].GetName(), of.byName[folded])
		}
	}
	if begun {
		s.enc.Close().CRLF()
	}
}

func (s *session) sendAnnotation(e *storagev1.GetMetadataResponse_Entry) {
	value := e.GetValue()
	switch {
	case e == nil:
		s.enc.Nil()
	case bytes.IndexByte(value, 0) >= 0:
		_ = s.enc.Literal8(int64(len(value)), bytes.NewReader(value)) // whose error the encoder keeps
	default:
		s.enc.Bytes(value)
	}
}

// reply is the tagged OK, which tells of values that were too large (RFC 5464 section 4.2.1).
func (a *annotations) reply() reply {
	if a == nil || a.longest == 0 {
		return reply{}
	}
	return reply{code: "METADATA LONGENTRIES " + itoa(uint64(a.longest))}
}

func runSetMetadata(ctx context.Context, s *session) (reply, error) {
	mailbox, values, err := s.dec.SetMetadataArgs()
	if err != nil {
		return reply{}, err
	}
	request := &storagev1.SetMetadataRequest{}
	for _, v := range values {
		if mailbox == "" && strings.HasPrefix(strings.ToLower(v.Entry), "/shared/") {
			return reply{}, no("NOPERM", "annotations of the server that all share cannot be set") // RFC 5464 section 3.3
		}
		request.Changes = append(request.Changes, &storagev1.SetMetadataRequest_Change{Name: v.Entry, Value: v.Value})
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.locate(ctx, mailbox)
	if err != nil {
		return reply{}, err
	}
	request.AccountId, request.Mailbox, request.Actor = p.asked(), p.name, p.actor
	if _, err = s.Storage.SetMetadata(ctx, request); err != nil {
		return reply{}, metadataRefused(err)
	}
	s.noteOwn(p, values)
	s.Views.TouchAccount(p.account)
	return reply{}, nil
}

// metadataRefused gives the limits of storage their response codes (RFC 5464 section 4.3).
func metadataRefused(err error) error {
	code := map[rpcv1.Reason]string{
		rpcv1.Reason_REASON_MESSAGE_TOO_LARGE: "METADATA MAXSIZE " + itoa(wire.MaxMetadataValue),
		rpcv1.Reason_REASON_LIMIT:             "METADATA TOOMANY",
	}[fault.Reason(err)]
	if code == "" {
		return badEntry(err)
	}
	return no(code, fault.Text(err))
}
