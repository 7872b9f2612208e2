package session

import (
	"fmt"

	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// PARTIAL: RFC 9394. SEARCH, SORT and FETCH tell of a part of what they have found.
func init() {
	register(extension{
		capabilities: []capability{{name: "PARTIAL", when: whenLoggedIn}},
		grammar: func(g *wire.Grammar) {
			parse := func(d *wire.Decoder) any { return parsePartial(d) }
			g.Register(wire.SearchReturns, "PARTIAL", parse)
			g.Register(wire.FetchModifiers, "PARTIAL", parse)
		},
	})
}

// partialRange selects results by their positions, 1 for the first.
type partialRange struct {
	low, high uint32
	last      bool   // counted from the end
	text      string // as the client sent it
}

func parsePartial(d *wire.Decoder) partialRange {
	var p partialRange
	d.SP()
	sign := ""
	if p.last = d.TrySpecial('-'); p.last {
		sign = "-"
	}
	a := d.NzNumber()
	d.Special(':')
	if p.last {
		d.Special('-')
	}
	b := d.NzNumber()
	p.low, p.high, p.text = min(a, b), max(a, b), fmt.Sprint(sign, a, ":", sign, b)
	return p
}

// of gives the part of so many results: from <= index < to.
func (p partialRange) of(total int) (from, to int) {
	from, to = int(p.low)-1, int(p.high)
	if p.last {
		from, to = total-int(p.high), total-int(p.low)+1
	}
	from = min(max(from, 0), total)
	return from, max(from, min(to, total))
}

// checkPartial refuses PARTIAL together with ALL (RFC 9394 section 3.1), or twice.
func checkPartial(options []wire.Item) error {
	n := 0
	for _, option := range options {
		if option.Name == "PARTIAL" {
			n++
		}
	}
	if n > 1 || n == 1 && wire.Has(options, "ALL") {
		return bad("PARTIAL comes once, and without ALL")
	}
	return nil
}

// sendPartial sends the result option. found is the part of the results.
func (s *session) sendPartial(p partialRange, found []wire.Range) {
	s.enc.Raw(" PARTIAL (" + p.text + " ")
	if len(found) == 0 {
		s.enc.Nil()
	} else {
		s.enc.Ranges(found)
	}
	s.enc.Close()
}

// positions gives the numbers in resolved ranges whose positions are from <= position < to.
func positions(ranges []wire.Range, from, to int) []wire.Range {
	var out []wire.Range
	passed := 0
	for _, r := range ranges {
		n := int(r.Stop-r.Start) + 1
		first, last := max(from-passed, 0), min(to-passed, n)
		if first < last {
			out = append(out, wire.Range{Start: r.Start + uint32(first), Stop: r.Start + uint32(last-1)})
		}
		passed += n
	}
	return out
}

// total is how many numbers are in resolved ranges.
func total(ranges []wire.Range) int {
	n := 0
	for _, r := range ranges {
		n += int(r.Stop-r.Start) + 1
	}
	return n
}

// part gives the messages whose positions among those of the spans are in the range.
func (p partialRange) part(spans []span) []span {
	from, to := p.of(count(spans))
	var out []span
	passed := 0
	for _, sp := range spans {
		first, last := max(from-passed, 0), min(to-passed, sp.to-sp.from)
		if first < last {
			out = append(out, span{sp.from + first, sp.from + last})
		}
		passed += sp.to - sp.from
	}
	return out
}
