// Package search evaluates the search keys of RFC 9051 section 6.4.4 against one message. Keys are ordered by what
// they need to read, so that the header and the body of a message are only read if its state does not decide.
//
// Text is compared decoded: encoded words, transfer encodings and charsets undone, HTML without tags, then folded
// (text.Fold) with each run of white space as one space. A line break between two Chinese, Japanese or Korean
// characters counts as nothing, because writers of these languages break lines inside words.
package search

import (
	"context"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const (
	// MaxDepth of nested criteria.
	MaxDepth = 64
	// MaxNodes of criteria.
	MaxNodes = 1024
	// MaxText is the sum of the octets of all texts that are searched for.
	MaxText = 64 << 10
)

// Candidate is a message that may match. A method is only called if a key needs it.
type Candidate interface {
	Source
	State() *storagev1.MessageState
	EmailID() string
	ThreadID() string
	// SentUnix is Structure.sent_unix: 0 if the message has no usable date.
	SentUnix() int64
}

// Source is a message that can be read. Its methods are costly; each is called at most once a match.
type Source interface {
	Structure() (*mailv1.Structure, error)
	// Header is the message header as it stands in the message.
	Header() ([]byte, error)
	// Open gives the whole message, at the offsets of the structure. Whoever implements it closes it.
	Open() (io.ReaderAt, error)
}

// Indexed is a Candidate of which an index knows something.
type Indexed interface {
	// Lookup tells whether the message contains a needle of the program, by its place in Needles.
	Lookup(needle int) Answer
	// Text is what the index keeps of the message, nil if nothing. It may be called several times a match.
	Text() (*Text, error)
}

// Answer of an index.
type Answer int

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

// Zone is where a needle is looked for.
type Zone int

// The zones.
const (
	// ZoneBody is the text of bodies.
	ZoneBody Zone = iota
	// ZoneText is all headers and the text of bodies.
	ZoneText
	// ZoneField is a field of the message's header.
	ZoneField
)

// Needle is a folded text that is searched for, never empty.
type Needle struct {
	Text string
	Zone Zone
	// Field is the folded name of the field of ZoneField, "" if Text is the beginning of a field, with its name.
	Field string
}

// Needs tells what a program may have to read of a message.
type Needs int

// What a program may have to read, from the cheapest on: each includes those before it.
const (
	// NeedsState is the state, ids and the sent date.
	NeedsState Needs = iota
	// NeedsStructure also wants the structure: of few messages, to know the time zone of a date.
	NeedsStructure
	// NeedsHeader also wants the header.
	NeedsHeader
	// NeedsBody wants the whole message.
	NeedsBody
)

// Program is a compiled search. It may be used by several goroutines.
type Program struct {
	root    key
	needles []Needle
}

// Compile checks criteria and prepares them. Nil and empty criteria match every message. It fails with REASON_INVALID if a limit is
// exceeded or a UID range is none.
func Compile(criteria *storagev1.SearchCriteria) (*Program, error) {
	c := compiler{needles: make(map[Needle]int)}
	root, err := c.compile(criteria, 1)
	if err != nil {
		return nil, err
	}
	return &Program{root: root, needles: c.order}, nil
}

// Needs is the most that Match may read of a message.
func (p *Program) Needs() Needs { return p.root.needs() }

// Needles are the texts that are searched for.
func (p *Program) Needles() []Needle { return p.needles }

// NeedsContent tells whether Match may want what is the same for all recipients: ids, and the date that the message was sent.
func (p *Program) NeedsContent() bool { return needsContent(p.root) }

func needsContent(k key) bool {
	switch k.(type) {
	case ids, sentDate:
		return true
	}
	return anyPart(k, needsContent)
}

// anyPart tells whether something holds for a part of a key.
func anyPart(k key, holds func(key) bool) bool {
	switch k := k.(type) {
	case allOf:
		return slices.ContainsFunc(k, holds)
	case anyOf:
		return slices.ContainsFunc(k, holds)
	case not:
		return holds(k.key)
	}
	return false
}

// Bound gives UIDs outside of which nothing can match, of what an index tells: with gives a superset of the messages that have a needle.
func (p *Program) Bound(with func(needle int) uidset.Set) uidset.Set { return bound(p.root, with) }

func bound(k key, with func(needle int) uidset.Set) uidset.Set {
	switch k := k.(type) {
	case contains:
		return with(int(k))
	case header:
		return with(k.needle)
	case allOf:
		set := uidset.All
		for _, inner := range k {
			set = set.Intersect(bound(inner, with))
		}
		return set
	case anyOf:
		var set uidset.Set
		for _, inner := range k {
			set = set.Union(bound(inner, with))
		}
		return set
	}
	return uidset.All
}

// Match tells whether a message matches. If it is Indexed, the index is asked before anything is read. Its errors are those of the candidate, of reading the message, and of the context.
func (p *Program) Match(ctx context.Context, m Candidate) (bool, error) {
	index, _ := m.(Indexed)
	return p.root.match(&evaluation{reading: reading{ctx: ctx, message: m}, program: p, candidate: m, index: index})
}

// key is one node of a program.
type key interface {
	needs() Needs
	match(e *evaluation) (bool, error)
}

// allOf holds its keys cheapest first.
type allOf []key

func (a allOf) needs() Needs { return mostOf(a) }

func (a allOf) match(e *evaluation) (bool, error) {
	for _, k := range a {
		if ok, err := k.match(e); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// anyOf holds its keys cheapest first.
type anyOf []key

func (a anyOf) needs() Needs { return mostOf(a) }

func (a anyOf) match(e *evaluation) (bool, error) {
	for _, k := range a {
		if ok, err := k.match(e); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func mostOf(keys []key) Needs {
	most := NeedsState
	for _, k := range keys {
		most = max(most, k.needs())
	}
	return most
}

type not struct{ key key }

func (n not) needs() Needs { return n.key.needs() }

func (n not) match(e *evaluation) (bool, error) {
	ok, err := n.key.match(e)
	return !ok && err == nil, err
}

// cheap is a key that the state decides.
type cheap func(m Candidate) bool

func (cheap) needs() Needs { return NeedsState }

func (c cheap) match(e *evaluation) (bool, error) { return c(e.candidate), nil }

// ids is a key that the ids of a message decide.
type ids func(m Candidate) bool

func (ids) needs() Needs { return NeedsState }

func (i ids) match(e *evaluation) (bool, error) { return i(e.candidate), nil }

// compiler counts what the limits bound, and gathers the texts, so that a message is scanned once for all.
type compiler struct {
	nodes   int
	text    int
	order   []Needle
	needles map[Needle]int
}

func (c *compiler) compile(criteria *storagev1.SearchCriteria, depth int) (key, error) {
	if c.nodes++; c.nodes > MaxNodes {
		return nil, fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "search has more than %d keys", MaxNodes)
	}
	if depth > MaxDepth {
		return nil, fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "search is nested deeper than %d", MaxDepth)
	}
	switch k := criteria.GetKey().(type) {
	case nil:
		return allOf(nil), nil
	case *storagev1.SearchCriteria_AllOf:
		keys, err := c.list(k.AllOf, depth)
		return allOf(keys), err
	case *storagev1.SearchCriteria_AnyOf:
		keys, err := c.list(k.AnyOf, depth)
		return anyOf(keys), err
	case *storagev1.SearchCriteria_Not:
		inner, err := c.compile(k.Not, depth+1)
		return not{inner}, err
	case *storagev1.SearchCriteria_Uids:
		set, err := uidset.FromProto(k.Uids.GetUids())
		return cheap(func(m Candidate) bool { return set.Contains(m.State().GetUid()) }), err
	case *storagev1.SearchCriteria_Header_:
		return c.header(k.Header)
	case *storagev1.SearchCriteria_Body:
		return c.contains(k.Body, ZoneBody)
	case *storagev1.SearchCriteria_Text:
		return c.contains(k.Text, ZoneText)
	case *storagev1.SearchCriteria_SentDate:
		return sentDate{k.SentDate}, nil
	}
	return stateKey(criteria)
}

// stateKey compiles the keys that have neither parts nor texts.
func stateKey(criteria *storagev1.SearchCriteria) (key, error) {
	switch k := criteria.GetKey().(type) {
	case *storagev1.SearchCriteria_Flags:
		return cheap(func(m Candidate) bool { return m.State().GetFlags()&k.Flags == k.Flags }), nil
	case *storagev1.SearchCriteria_Keyword:
		return cheap(func(m Candidate) bool {
			return slices.ContainsFunc(m.State().GetKeywords(), func(s string) bool { return strings.EqualFold(s, k.Keyword) })
		}), nil
	case *storagev1.SearchCriteria_InternalDate:
		return cheap(func(m Candidate) bool { return inRange(k.InternalDate, m.State().GetInternalUnix()) }), nil
	case *storagev1.SearchCriteria_SavedDate:
		return cheap(func(m Candidate) bool { return inRange(k.SavedDate, m.State().GetSavedUnix()) }), nil
	case *storagev1.SearchCriteria_Larger:
		return cheap(func(m Candidate) bool { return m.State().GetSize() > k.Larger }), nil
	case *storagev1.SearchCriteria_Smaller:
		return cheap(func(m Candidate) bool { return m.State().GetSize() < k.Smaller }), nil
	case *storagev1.SearchCriteria_Modseq:
		return cheap(func(m Candidate) bool { return m.State().GetModseq() >= k.Modseq }), nil
	case *storagev1.SearchCriteria_EmailId:
		return ids(func(m Candidate) bool { return m.EmailID() == k.EmailId }), nil
	case *storagev1.SearchCriteria_ThreadId:
		return ids(func(m Candidate) bool { return m.ThreadID() == k.ThreadId }), nil
	}
	return nil, fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "unknown search key")
}

func (c *compiler) list(list *storagev1.SearchCriteria_List, depth int) ([]key, error) {
	keys := make([]key, 0, min(len(list.GetCriteria()), MaxNodes))
	for _, criteria := range list.GetCriteria() {
		k, err := c.compile(criteria, depth+1)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	slices.SortStableFunc(keys, func(a, b key) int { return int(a.needs() - b.needs()) })
	return keys, nil
}

// fold prepares a text that is searched for.
func (c *compiler) fold(s string) (string, error) {
	if c.text += len(s); c.text > MaxText {
		return "", fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "search has more than %d octets of text", MaxText)
	}
	return normal(s), nil
}

// needle gives the place of a needle.
func (c *compiler) needle(n Needle) int {
	i, ok := c.needles[n]
	if !ok {
		i = len(c.order)
		c.needles[n] = i
		c.order = append(c.order, n)
	}
	return i
}

func (c *compiler) header(h *storagev1.SearchCriteria_Header) (key, error) {
	value, err := c.fold(h.GetValue())
	if err != nil {
		return nil, err
	}
	if !isFieldName(h.GetName()) { // no message has it
		return anyOf(nil), nil
	}
	name, err := c.fold(h.GetName())
	if err != nil {
		return nil, err
	}
	k := header{name: name, value: value}
	n := Needle{Text: value, Zone: ZoneField, Field: k.name}
	if value == "" {
		n.Text, n.Field = k.name+": ", ""
	}
	k.needle = c.needle(n)
	return k, nil
}

// isFieldName holds what a name may be: RFC 5322 section 3.6.8, and 8-bit octets, which occur.
func isFieldName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f })
}

func (c *compiler) contains(s string, zone Zone) (key, error) {
	s, err := c.fold(s)
	if err != nil || s == "" {
		return allOf(nil), err
	}
	return contains(c.needle(Needle{Text: s, Zone: zone})), nil
}
