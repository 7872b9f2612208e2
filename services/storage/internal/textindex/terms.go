package textindex

import (
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

// gram is up to three characters, 21 bits each.
type gram uint64

const gramBits = 21

func gramOf(a, b, c rune) gram { return gram(a)<<(2*gramBits) | gram(b)<<gramBits | gram(c) }

// appendTo appends the term of a gram.
func (g gram) appendTo(b []byte) []byte {
	for shift := 2 * gramBits; shift >= 0; shift -= gramBits {
		if r := rune(g >> shift & (1<<gramBits - 1)); r != 0 {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// isBreak tells whether no gram has a character: between fields and parts, and NUL.
func isBreak(r rune) bool { return r == '\n' || r == 0 }

// isWide tells whether two characters say as much as three of an alphabet do.
func isWide(r rune) bool { return r >= 0x2e80 }

// eachGram gives the grams of a text, many of them repeatedly.
func eachGram(text string, do func(gram)) {
	var a, b rune // those before r; 0: none
	for _, r := range text {
		if isBreak(r) {
			a, b = 0, 0
			continue
		}
		do(gramOf(0, 0, r))
		if b != 0 {
			do(gramOf(0, b, r))
			if a != 0 && !isWide(a) && !isWide(b) && !isWide(r) {
				do(gramOf(a, b, r))
			}
		}
		a, b = b, r
	}
}

// Words: prefixes of their terms by where they are. Words have minWord characters or more, and grams fewer, so that none is taken for the other.
const (
	inHeader = "\x01"
	inBody   = "\x02"

	minWord = 4
	maxWord = 64 // octets
)

// isLetter tells whether a character is a part of a word, isJoint whether it is between two words that are one too, as in addresses.
func isLetter(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
	}
	return !isWide(r) && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

func isJoint(r rune) bool { return r == '.' || r == '@' || r == '-' || r == '_' || r == '+' }

// eachWord gives the words of a text, and what joints make of several.
func eachWord(text string, do func(string)) {
	emit := func(from, to int) {
		if n := to - from; n >= minWord && n <= maxWord && utf8.RuneCountInString(text[from:to]) >= minWord {
			do(text[from:to])
		}
	}
	inWord := false
	word, joined, parts, end := 0, 0, 0, 0 // where a word and a joined one begin; the words of that, and where the last ended
	finish := func(at int) {
		if inWord {
			emit(word, at)
			inWord, end = false, at
			parts++
		}
	}
	leave := func() {
		if parts > 1 {
			emit(joined, end)
		}
		parts = 0
	}
	for i, r := range text {
		if isLetter(r) {
			if !inWord {
				inWord, word = true, i
				if parts == 0 {
					joined = i
				}
			}
			continue
		}
		after := inWord
		finish(i)
		if !after || !isJoint(r) { // two joints in a row end it
			leave()
		}
	}
	finish(len(text))
	leave()
}

// chunkOf gives the chunk that a term is in.
func chunkOf(term []byte) int { return int(xxhash.Sum64(term) % Chunks) }

// Query is what a needle asks an index.
type Query struct {
	// All are the terms that each message with the needle has.
	All []string
	// Exact says that a message which has them has the needle.
	Exact bool
	// Any are terms each of which says that a message has the needle.
	Any []string
}

// QueryOf makes the query of a needle.
func QueryOf(n search.Needle) Query {
	var q Query
	seen := map[gram]bool{}
	add := func(g gram) {
		if !seen[g] {
			seen[g] = true
			q.All = append(q.All, string(g.appendTo(nil)))
		}
	}
	runes := []rune(n.Text)
	wideOf := func(from, to int) bool {
		for _, r := range runes[from:to] {
			if isWide(r) {
				return true
			}
		}
		return false
	}
	for i, r := range runes {
		if isBreak(r) { // no term has it
			return Query{}
		}
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
		if i == 0 && last == len(runes) {
			q.Exact = n.Zone == search.ZoneText
		}
	}
	if n.Zone == search.ZoneField {
		return q
	}
	whole := false
	eachWord(n.Text, func(w string) { whole = whole || w == n.Text })
	if whole {
		q.Any = append(q.Any, inBody+n.Text)
		if n.Zone == search.ZoneText {
			q.Any = append(q.Any, inHeader+n.Text)
		}
	}
	return q
}
