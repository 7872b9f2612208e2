package imapmodel

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// node is a message in a thread, or a dummy without one (RFC 5256 section 3).
type node struct {
	msg      *message
	at       int // of the message, by sequence number
	parent   *node
	children []*node
}

// first is the message of a node, or of the first one below it.
func (n *node) first() *node {
	for n.msg == nil && len(n.children) > 0 {
		n = n.children[0]
	}
	return n
}

func (n *node) subject() subject { return n.first().msg.subject }

// within tells whether the node is below another one, or is it.
func (n *node) within(o *node) bool {
	for ; n != nil; n = n.parent {
		if n == o {
			return true
		}
	}
	return false
}

func (n *node) leave() {
	if n.parent != nil {
		n.parent.children = slices.DeleteFunc(n.parent.children, func(c *node) bool { return c == n })
		n.parent = nil
	}
}

func (n *node) join(parent *node) {
	n.leave()
	n.parent = parent
	parent.children = append(parent.children, n)
}

func bySent(a, b *node) int {
	a, b = a.first(), b.first()
	return cmp.Or(a.msg.sent.Compare(b.msg.sent), cmp.Compare(a.at, b.at))
}

// sort orders all that is below a node, the youngest first.
func (n *node) sort() {
	for _, c := range n.children {
		c.sort()
	}
	slices.SortStableFunc(n.children, bySent)
}

// show writes what is below a node, as THREAD tells it.
func (n *node) show(number func(m *message) uint32) string {
	var out strings.Builder
	if n.msg != nil {
		fmt.Fprint(&out, number(n.msg))
	}
	for i, c := range n.children {
		switch {
		case n.msg != nil && len(n.children) == 1:
			out.WriteString(" " + c.show(number))
		case i == 0 && n.msg != nil:
			out.WriteString(" ")
			fallthrough
		default:
			out.WriteString("(" + c.show(number) + ")")
		}
	}
	return out.String()
}

// bySubject is ORDEREDSUBJECT: what has the same base subject answers the first of it.
func bySubject(found []*message) *node {
	var all []*node
	for i, m := range found {
		all = append(all, &node{msg: m, at: i})
	}
	slices.SortStableFunc(all, bySent)
	root, threads := &node{}, map[string]*node{}
	for _, n := range all {
		if first := threads[n.msg.subject.base]; first != nil {
			n.join(first)
			continue
		}
		threads[n.msg.subject.base] = n
		n.join(root)
	}
	return root
}

// byReferences is REFERENCES, step by step.
func byReferences(found []*message) *node {
	root := linked(found) // steps 1 and 2
	for _, n := range slices.Clone(root.children) {
		prune(n)
	}
	root.sort() // step 4
	table := map[string]*node{}
	for _, n := range root.children { // step 5.B
		s := n.subject()
		if old := table[s.base]; s.base != "" && (old == nil || old.msg != nil && (n.msg == nil || old.subject().reply && !s.reply)) {
			table[s.base] = n
		}
	}
	for _, n := range slices.Clone(root.children) { // step 5.C
		s := n.subject()
		old := table[s.base]
		switch {
		case s.base == "" || old == n:
		case old.msg == nil && n.msg == nil:
			for _, c := range slices.Clone(n.children) {
				c.join(old)
			}
			n.leave()
		case old.msg == nil || s.reply && !old.subject().reply:
			n.join(old)
		default:
			dummy := &node{}
			dummy.join(root)
			old.join(dummy)
			n.join(dummy)
			table[s.base] = dummy
		}
	}
	root.sort()
	return root
}

// linked makes the tree that References tells of.
func linked(found []*message) *node {
	byID, own := map[string]*node{}, make([]*node, len(found))
	for i, m := range found {
		own[i] = &node{msg: m, at: i}
		if m.id != "" && byID[m.id] == nil {
			byID[m.id] = own[i]
		}
	}
	for i, m := range found {
		var last *node
		for _, id := range m.references {
			next := byID[id]
			if next == nil {
				next = &node{}
				byID[id] = next
			}
			if last != nil && next.parent == nil && !last.within(next) {
				next.join(last)
			}
			last = next
		}
		own[i].leave()
		if last != nil && !last.within(own[i]) {
			own[i].join(last)
		}
	}
	root := &node{}
	all := slices.Clone(own)
	for _, n := range byID {
		all = append(all, n)
	}
	for _, n := range all {
		for n.parent != nil && n.parent != root {
			n = n.parent
		}
		if n.parent == nil {
			n.join(root)
		}
	}
	return root
}

// prune is step 3 for what is at a node and below it.
func prune(n *node) {
	for _, c := range slices.Clone(n.children) {
		prune(c)
	}
	if n.msg != nil || n.parent.parent == nil && len(n.children) > 1 {
		return
	}
	parent := n.parent
	n.leave()
	for _, c := range slices.Clone(n.children) {
		c.join(parent)
	}
}

// threads is THREAD, of a client that knows everything.
func (c *client) threads(r *rand.Rand) *command {
	uid, k := c.usesUIDs(r), c.key(r, 1)
	name, algorithm := "REFERENCES", byReferences
	if r.IntN(3) == 0 {
		name, algorithm = "ORDEREDSUBJECT", bySubject
	}
	c.condstore = c.condstore || k.modseq
	found := c.matching(k)
	want := algorithm(found).show(func(m *message) uint32 { return c.numbersOf([]*message{m}, uid)[0] })
	cmd := &command{text: aim{uid: uid}.prefix() + "THREAD " + name + " UTF-8 " + k.text, numbered: !uid}
	got, answers := "", 0
	cmd.hear = func(resp *response) error {
		if resp.name == "THREAD" {
			got = nested(resp.values)
			answers++
		}
		return nil
	}
	cmd.done = func(f *flight) error {
		if got != want {
			return fmt.Errorf("the threads are %s, not %s", want, got)
		}
		if answers != 1 {
			return errors.New("no answer")
		}
		return f.want("OK", "")
	}
	return cmd
}

// nested writes lists in lists.
func nested(values []value) string {
	var out strings.Builder
	for i, v := range values {
		switch {
		case v.list != nil && i > 0 && values[i-1].list == nil:
			out.WriteString(" ")
			fallthrough
		case v.list != nil:
			out.WriteString("(" + nested(v.list) + ")")
		case i > 0:
			out.WriteString(" " + v.text)
		default:
			out.WriteString(v.text)
		}
	}
	return out.String()
}
