package session

import (
	"cmp"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	// maxThreadIDs are how many different message ids one THREAD looks at, those of messages that are not there included.
	maxThreadIDs = 4 * maxSorted
	// maxThreadSteps bounds the search for loops, which in ordinary mail takes a few steps for each message.
	maxThreadSteps = 20_000_000
)

// errThreadLimit answers a THREAD of messages that refer to each other too much.
var errThreadLimit = no("LIMIT", "the messages have too many references")

// container is a message, or one that others refer to and that is not among those threaded: a dummy (RFC 5256 section 3, REFERENCES).
type container struct {
	message *sortable // nil of a dummy
	reply   bool      // the subject says so, or that it is a forward
	parent  *container
	links   int // containers whose parent it is
	// children are filled when all parents are known.
	children []*container
}

// threader puts messages together by what they refer to.
type threader struct {
	ids      map[string]*container
	messages []*container
	steps    int
	failed   bool // a limit was met
}

func newThreader() *threader { return &threader{ids: map[string]*container{}} }

// learned takes what storage tells of a message. That it may come twice does no harm.
func (t *threader) learned(m *sortable, info *storagev1.Message) {
	if m.threaded {
		return
	}
	_, reply := message.BaseSubject(text.DecodeHeader(info.GetEnvelope().GetSubject()))
	t.add(m, info.GetMessageId(), info.GetReferences(), reply)
}

// add is step 1 of the algorithm, for a message.
func (t *threader) add(m *sortable, id string, references []string, reply bool) {
	m.threaded = true
	if t.failed {
		return
	}
	own := t.own(id)
	own.message, own.reply = m, reply
	t.messages = append(t.messages, own)
	// A: what is referred to is a line of parents, unless it is known better.
	var last *container
	for _, reference := range references {
		next := t.lookup(normalID(reference))
		if next == nil || next == last {
			continue
		}
		if last != nil && next.parent == nil {
			t.link(last, next)
		}
		last = next
	}
	// B: the last of them is the parent, whatever others have said.
	if own.parent != nil {
		own.parent.links--
		own.parent = nil
	}
	if last != nil {
		t.link(last, own)
	}
}

// own gives the container of a message. A second message of the same id, and one without, has one that nobody refers to.
func (t *threader) own(id string) *container {
	if id != "" {
		if c := t.lookup(normalID(id)); c != nil && c.message == nil {
			return c
		}
	}
	return &container{}
}

// lookup gives the container of a message id, nil if there are too many.
func (t *threader) lookup(id string) *container {
	c := t.ids[id]
	if c == nil && len(t.ids) < maxThreadIDs {
		c = &container{}
		t.ids[strings.Clone(id)] = c
	}
	t.failed = t.failed || c == nil
	return c
}

// normalID makes ids equal that differ by quoting only (RFC 5256 section 2.1).
func normalID(id string) string {
	if !strings.ContainsAny(id, `"\`) {
		return id
	}
	return strings.NewReplacer(`"`, "", `\`, "").Replace(id)
}

// link makes one the parent of another, unless that would make a loop.
func (t *threader) link(parent, child *container) {
	if parent == child {
		return
	}
	if child.links > 0 { // else it is nobody's parent
		for c := parent; c != nil; c = c.parent {
			if t.steps++; t.steps > maxThreadSteps {
				t.failed = true
			}
			if c == child || t.failed {
				return
			}
		}
	}
	child.parent = parent
	parent.links++
}

// threads gives the threads of what was added, in order.
func (t *threader) threads() ([]*container, error) {
	if t.failed {
		return nil, errThreadLimit
	}
	roots := t.roots()
	sortSiblings(roots)
	return bySubject(roots), nil
}

// roots are steps 2 and 3: the messages without parents, with their children, and no dummies but those that have several children and no parent.
func (t *threader) roots() []*container {
	var roots []*container
	for _, m := range t.messages {
		parent := m.parent
		for parent != nil && parent.message == nil && parent.parent != nil { // its children are promoted
			parent = parent.parent
		}
		switch {
		case parent == nil:
			roots = append(roots, m)
		case parent.message == nil && len(parent.children) == 0:
			roots = append(roots, parent)
			fallthrough
		default:
			parent.children = append(parent.children, m)
		}
	}
	for i, root := range roots {
		if root.message == nil && len(root.children) == 1 {
			roots[i] = root.children[0]
		}
	}
	return roots
}

// sortSiblings sorts the messages of each level by the sent date, those deepest first, as a dummy has the date of its first child (steps 4
// and 6).
func sortSiblings(roots []*container) {
	levels := [][]*container{roots}
	for queue := slices.Clone(roots); len(queue) > 0; {
		c := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if len(c.children) > 0 {
			levels = append(levels, c.children)
			queue = append(queue, c.children...)
		}
	}
	for _, siblings := range slices.Backward(levels) {
		slices.SortFunc(siblings, compareSent)
	}
}

func compareSent(a, b *container) int {
	x, y := a.first(), b.first()
	return cmp.Or(cmp.Compare(x.sent, y.sent), cmp.Compare(x.index, y.index))
}

// first is the message, of a dummy its first child.
func (c *container) first() *sortable {
	if c.message == nil {
		return c.children[0].message // a dummy's children are messages
	}
	return c.message
}

// bySubject is step 5: threads of one subject become one. The roots are in order, and so is what it gives.
func bySubject(roots []*container) []*container {
	subject := factSubject.index()
	table := map[string]*container{}
	for _, c := range roots {
		s := c.first().value(subject)
		known := table[s]
		if s != "" && (known == nil || known.message != nil && (c.message == nil || known.reply && !c.reply)) {
			table[s] = c
		}
	}
	gone := map[*container]bool{}
	at := map[*container]*container{} // what stands in the place of a root
	for _, c := range roots {
		s := c.first().value(subject)
		known := table[s]
		if s == "" || known == c || at[c] != nil {
			continue
		}
		switch {
		case known.message == nil && c.message == nil:
			known.children = append(known.children, c.children...)
			gone[c] = true
		case known.message == nil, c.reply && !known.reply:
			known.children = append(known.children, c)
			gone[c] = true
		default:
			both := &container{children: []*container{known, c}}
			table[s] = both
			at[known], gone[c] = both, true
		}
	}
	var out []*container
	for _, c := range roots {
		if gone[c] {
			continue
		}
		if both := at[c]; both != nil {
			c = both
		}
		out = append(out, c)
	}
	sortSiblings(out)
	return out
}

// sendContainer sends a thread (RFC 5256 section 5). Its depth is not bounded, so that what is still to be sent is kept here.
func (s *session) sendContainer(root *container, uid bool) {
	s.enc.Open()
	type open struct{ siblings []*container }
	var stack []open
	next := root
	for {
		if next.message != nil {
			s.enc.Num(uint64(next.message.number(uid)))
			if len(next.children) > 0 {
				s.enc.SP()
			}
		}
		switch len(next.children) {
		case 0:
			s.enc.Close()
			for len(stack) > 0 && len(stack[len(stack)-1].siblings) == 0 {
				stack = stack[:len(stack)-1]
				s.enc.Close()
			}
			if len(stack) == 0 {
				return
			}
			top := &stack[len(stack)-1]
			next, top.siblings = top.siblings[0], top.siblings[1:]
			s.enc.Open()
		case 1:
			next = next.children[0]
		default:
			stack = append(stack, open{next.children[1:]})
			next = next.children[0]
			s.enc.Open()
		}
	}
}
