package textindex

import (
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
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

// isWide tells whether a gram has a wide character.
func (g gram) isWide() bool {
	const one = 1<<gramBits - 1
	return isWide(rune(g&one)) || isWide(rune(g>>gramBits&one)) || isWide(rune(g>>(2*gramBits)))
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

// Words and phrases: prefixes of their terms by where they are. Words have minWord characters or more, phrases three, and grams with the prefix fewer, so
// that none is taken for the other.
const (
	inHeader = "\x01"
	inBody   = "\x02"
	// onlyHeader comes before a wide gram that is not in the body.
	onlyHeader = "\x01\x01"

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
