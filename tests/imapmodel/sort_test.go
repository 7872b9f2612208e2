package imapmodel

import (
	"cmp"
	"math/rand/v2"
	"strings"
)

// sortOrder is a list of criteria.
type sortOrder struct {
	text    string
	compare func(a, b *message) int
}

// upper compares as i;unicode-casemap does what the messages of the model have.
func upper(a, b string) int { return strings.Compare(strings.ToUpper(a), strings.ToUpper(b)) }

// sortKeys are those of RFC 5256 section 3 and RFC 5957.
var sortKeys = []sortOrder{
	{"ARRIVAL", func(a, b *message) int { return a.date.Compare(b.date) }},
	{"SIZE", func(a, b *message) int { return cmp.Compare(a.size, b.size) }},
	{"DATE", func(a, b *message) int { return a.sent.Compare(b.sent) }},
	{"SUBJECT", func(a, b *message) int { return upper(a.subject.base, b.subject.base) }},
	{"FROM", func(a, b *message) int { return upper(a.from.local, b.from.local) }},
	{"TO", func(a, b *message) int { return upper(a.to.local, b.to.local) }},
	{"CC", func(a, b *message) int { return upper(a.cc.local, b.cc.local) }},
	{"DISPLAYFROM", func(a, b *message) int { return upper(a.from.displayed(), b.from.displayed()) }},
	{"DISPLAYTO", func(a, b *message) int { return upper(a.to.displayed(), b.to.displayed()) }},
}

func randomOrder(r *rand.Rand) sortOrder {
	var out sortOrder
	for i := range 1 + r.IntN(3) {
		next, before := sortKeys[r.IntN(len(sortKeys))], out.compare
		if compare := next.compare; r.IntN(3) == 0 {
			next.text, next.compare = "REVERSE "+next.text, func(a, b *message) int { return compare(b, a) }
		}
		if i == 0 {
			out = next
			continue
		}
		out.text += " " + next.text
		out.compare = func(a, b *message) int { return cmp.Or(before(a, b), next.compare(a, b)) }
	}
	return out
}
