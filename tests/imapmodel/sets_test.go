package imapmodel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// numberSet is a set of numbers as a command has it: in its parts 0 is "*".
type numberSet struct {
	parts [][2]uint32
	saved bool // "$"
}

func (s numberSet) String() string {
	if s.saved {
		return "$"
	}
	star := func(n uint32) string {
		if n == 0 {
			return "*"
		}
		return fmt.Sprint(n)
	}
	var out []string
	for _, p := range s.parts {
		if p[0] == p[1] {
			out = append(out, star(p[0]))
		} else {
			out = append(out, star(p[0])+":"+star(p[1]))
		}
	}
	return strings.Join(out, ",")
}

// has tells whether a number is in the set, where "*" is last; 0: there is none.
func (s numberSet) has(n, last uint32) bool {
	for _, p := range s.parts {
		a, b := p[0], p[1]
		if (a == 0 || b == 0) && last == 0 {
			continue
		}
		if a == 0 {
			a = last
		}
		if b == 0 {
			b = last
		}
		if min(a, b) <= n && n <= max(a, b) {
			return true
		}
	}
	return false
}

// beyond tells whether a sequence number is none (RFC 9051 section 9, "seq-number").
func (s numberSet) beyond(messages int) bool {
	return !s.saved && slices.ContainsFunc(s.parts, func(p [2]uint32) bool { return messages == 0 || int(max(p[0], p[1])) > messages })
}

// randomSet makes a set of numbers, mostly of those given, also with "*" if open.
func randomSet(r *rand.Rand, numbers []uint32, open bool) numberSet {
	pick := func() uint32 {
		switch {
		case open && (len(numbers) == 0 || r.IntN(12) == 0):
			return 0
		case len(numbers) == 0:
			return 1
		}
		return numbers[r.IntN(len(numbers))]
	}
	var s numberSet
	for range 1 + r.IntN(3) {
		switch a := pick(); r.IntN(3) {
		case 0:
			s.parts = append(s.parts, [2]uint32{a, pick()})
		default:
			s.parts = append(s.parts, [2]uint32{a, a})
		}
	}
	if open && r.IntN(6) == 0 {
		s.parts = [][2]uint32{{1, 0}}
	}
	return s
}

// aim is a set that a client names, and the entries that it means.
type aim struct {
	numberSet
	uid bool
}

// aims makes a set for a client, by UIDs or by sequence numbers.
func (c *client) aims(r *rand.Rand) aim {
	a := aim{uid: c.usesUIDs(r)}
	if c.saved != nil && r.IntN(5) == 0 {
		a.saved = true
		return a
	}
	a.numberSet = randomSet(r, c.choice(r, a.uid), c.by == byEither)
	return a
}

// choice gives numbers for a set. While more commands are on their way they are those of messages that are known now: what a greater one
// means depends on what the client is told meanwhile.
func (c *client) choice(r *rand.Rand, uid bool) []uint32 {
	var numbers []uint32
	for i, e := range c.list {
		if !uid {
			numbers = append(numbers, uint32(i+1))
		} else if e.msg != nil {
			numbers = append(numbers, e.msg.uid)
		}
	}
	switch {
	case uid && c.by == byEither:
		numbers = append(numbers, 1+r.Uint32N(c.box.next+2))
	case uid && len(numbers) == 0:
		numbers = append(numbers, 4_000_000_000)
	case !uid && c.by == byEither && r.IntN(30) == 0:
		numbers = append(numbers, uint32(len(c.list)+1))
	}
	return numbers
}

// usesUIDs tells whether the next command names messages by their UIDs.
func (c *client) usesUIDs(r *rand.Rand) bool {
	return c.uidOnly || c.by == byUID || c.by == byEither && r.IntN(2) == 0
}

// prefix is what the command begins with.
func (a aim) prefix() string {
	if a.uid {
		return "UID "
	}
	return ""
}

// entries gives those that are meant, of a list.
func (a aim) entries(c *client) []*entry {
	var out []*entry
	for i, e := range c.list {
		if a.means(c, i, e) {
			out = append(out, e)
		}
	}
	return out
}

func (a aim) means(c *client, i int, e *entry) bool {
	switch {
	case a.saved:
		return slices.Contains(c.saved, e.msg)
	case !a.uid:
		return a.has(uint32(i+1), uint32(len(c.list)))
	case e.msg == nil:
		return false
	}
	last := uint32(0)
	if n := len(c.list); c.list[n-1].msg != nil {
		last = c.list[n-1].msg.uid
	}
	return a.has(e.msg.uid, last)
}

// wrong tells whether the command is BAD because of the set.
func (a aim) wrong(c *client) bool { return !a.uid && a.beyond(len(c.list)) }

func messagesOf(entries []*entry) []*message {
	out := make([]*message, len(entries))
	for i, e := range entries {
		out[i] = e.msg
	}
	return out
}

func anyGone(messages []*message) bool {
	return slices.ContainsFunc(messages, func(m *message) bool { return m.gone > 0 })
}

// ranges writes numbers as a set.
func ranges(numbers []uint32) string {
	var s numberSet
	for _, n := range numbers {
		if last := len(s.parts) - 1; last >= 0 && s.parts[last][1]+1 == n {
			s.parts[last][1] = n
			continue
		}
		s.parts = append(s.parts, [2]uint32{n, n})
	}
	return s.String()
}

func uidsOf(messages []*message) []uint32 {
	out := make([]uint32, len(messages))
	for i, m := range messages {
		out[i] = m.uid
	}
	return out
}
