package textindex

import (
	"slices"

	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

// Query is what a needle asks an index.
type Query struct {
	// All are the terms that each message with the needle has.
	All []string
	// Exact says that a message which has them, and no term of Not, has the needle.
	Exact bool
	// Not are terms each of which says that a message has not the needle.
	Not []string
	// Any are terms each of which says that a message has the needle.
	Any []string
	// Column is the row that answers instead, 0 if none does, for Text. Else Text is to be looked for in the vocabulary: in the terms of a zone, "" for all.
	Column     int
	Text, Zone string
}

// QueryOf makes the query of a needle.
func QueryOf(n search.Needle) Query {
	if column := columnOf(n.Field); column > 0 {
		return Query{Column: column, Text: n.Text}
	}
	var q Query
	runes := []rune(n.Text)
	if slices.ContainsFunc(runes, isBreak) { // no term has it
		return q
	}
	whole := q.addGrams(runes)
	if n.Zone == search.ZoneField {
		return q
	}
	if n.Zone == search.ZoneBody {
		q.Zone = inBody
	}
	switch {
	case whole && n.Zone == search.ZoneText:
		q.Exact = true
		return q
	case whole && slices.ContainsFunc(runes, isWide):
		q.Exact = true
		q.Not = []string{onlyHeader + n.Text}
		return q
	}
	if len(n.Text) > maxWord { // longer than any term
		return q
	}
	q.Text = n.Text
	term := len(runes) >= minPhraseWide && len(runes) <= maxPhraseWide && !slices.ContainsFunc(runes, func(r rune) bool { return !isWide(r) })
	eachWord(n.Text, func(w string) { term = term || w == n.Text })
	if term {
		q.Any = append(q.Any, inBody+n.Text)
		if n.Zone == search.ZoneText {
			q.Any = append(q.Any, inHeader+n.Text)
		}
	}
	return q
}

// addGrams adds the longest grams of a needle; whole tells that there is one, which is all of the needle.
func (q *Query) addGrams(runes []rune) (whole bool) {
	seen := map[gram]bool{}
	add := func(g gram) {
		if !seen[g] {
			seen[g] = true
			q.All = append(q.All, string(g.appendTo(nil)))
		}
	}
	wideOf := func(from, to int) bool { return slices.ContainsFunc(runes[from:to], isWide) }
	for i, r := range runes {
		last := i + 1
		switch { // a longer gram says all that those in it do
		case i+3 <= len(runes) && !wideOf(i, i+3):
			add(gramOf(runes[i], runes[i+1], runes[i+2]))
			last = i + 3
		case i+2 <= len(runes) && (i == 0 || wideOf(i-1, i+2)):
			add(gramOf(0, runes[i], runes[i+1]))
			last = i + 2
		case len(runes) == 1:
			add(gramOf(0, 0, r))
		}
		whole = whole || i == 0 && last == len(runes)
	}
	return whole
}
