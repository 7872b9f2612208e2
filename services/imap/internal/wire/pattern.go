package wire

import (
	"strings"
)

// Pattern is a mailbox name with LIST wildcards (RFC 9051 section 6.3.9): "*" matches anything, "%" anything but the hierarchy
// delimiter. Matching takes time proportional to the name's length, times the pattern's length in machine words:
// it runs the pattern as a set of states, never by trying.
type Pattern struct {
	delim byte
	size  int               // states: one for each octet, and the accepting one
	eq    map[byte][]uint64 // the states that an octet leads on from
	star  []uint64
	wild  []uint64 // star or percent
}

const inbox = "INBOX"

// NewPattern compiles a pattern.
func NewPattern(pattern string, delim byte) *Pattern {
	text := make([]byte, 0, len(pattern))
	for i := range len(pattern) {
		c := pattern[i]
		// Of neighbouring wildcards the strongest does all.
		if n := len(text); n > 0 && isWildcard(c) && isWildcard(text[n-1]) {
			if c == '*' {
				text[n-1] = '*'
			}
			continue
		}
		text = append(text, c)
	}
	words := len(text)/64 + 1
	p := &Pattern{
		delim: delim,
		size:  len(text) + 1,
		eq:    make(map[byte][]uint64),
		star:  make([]uint64, words),
		wild:  make([]uint64, words),
	}
	for i, c := range text {
		bit := uint64(1) << (i % 64)
		switch c {
		case '*':
			p.star[i/64] |= bit
			p.wild[i/64] |= bit
		case '%':
			p.wild[i/64] |= bit
		default:
			if p.eq[c] == nil {
				p.eq[c] = make([]uint64, words)
			}
			p.eq[c][i/64] |= bit
		}
	}
	return p
}

func isWildcard(c byte) bool { return c == '*' || c == '%' }

// Match reports whether the pattern matches the whole name. INBOX, and it as the first level of a name, matches in any case.
func (p *Pattern) Match(name string) bool {
	words := len(p.wild)
	state := make([]uint64, words)
	state[0] = 1
	p.passWild(state)
	fold := 0
	if strings.HasPrefix(name, inbox) && (len(name) == len(inbox) || name[len(inbox)] == p.delim) {
		fold = len(inbox)
	}
	for i := range len(name) {
		c := name[i]
		eq, other := p.eq[c], []uint64(nil)
		if i < fold {
			other = p.eq[c|0x20]
		}
		stay := p.wild
		if c == p.delim {
			stay = p.star
		}
		var carry, alive uint64
		for w := range state {
			var match uint64
			if eq != nil {
				match = eq[w]
			}
			if other != nil {
				match |= other[w]
			}
			on := state[w] & match
			state[w] = on<<1 | carry | state[w]&stay[w]
			carry = on >> 63
			alive |= state[w]
		}
		if alive == 0 {
			return false
		}
		p.passWild(state)
	}
	last := p.size - 1
	return state[last/64]&(1<<(last%64)) != 0
}

// passWild adds the states that follow a wildcard, which may match nothing. Wildcards never stand side by side.
func (p *Pattern) passWild(state []uint64) {
	var carry uint64
	for w := range state {
		on := state[w] & p.wild[w]
		state[w] |= on<<1 | carry
		carry = on >> 63
	}
}
