package textindex

import (
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Phrases are what many messages have in common beyond words: some words in a row, the letters of words with digits, some characters of Chinese, Japanese
// and Korean in a row. So what most messages have need not be looked for in each of them.
const (
	maxPhraseWords = 4
	maxPhraseGap   = 3 // octets between words
	minPhraseWide  = 3
	maxPhraseWide  = 8
	// phraseShare: a phrase is in at least one of so many messages of a segment.
	phraseShare = 16
)

// sketch counts the messages that texts are in, never too few, in memory that does not grow.
type sketch struct {
	counts [1 << 21]struct {
		docs uint16
		last uint16 // message that was counted, from 1 on
	}
}

// add tells how many messages have a text, this one included.
func (s *sketch) add(text []byte, doc uint16) uint16 {
	c := &s.counts[xxhash.Sum64(text)%uint64(len(s.counts))]
	if c.last != doc+1 {
		c.last = doc + 1
		c.docs++
	}
	return c.docs
}

// eachPhrase gives the phrases of a text, from the shortest on as long as each is common.
func eachPhrase(text string, common func(string) bool, do func(string)) {
	grow := func(from int, ends []int) {
		for _, to := range ends {
			if to-from > maxWord || !common(text[from:to]) {
				return
			}
			do(text[from:to])
		}
	}
	type word struct{ from, to int }
	var row []word // the last words
	var wide []int // where the last wide characters begin
	ends := make([]int, 0, maxPhraseWide)
	shiftWords := func() {
		ends = ends[:0]
		for _, w := range row[1:] {
			ends = append(ends, w.to)
		}
		grow(row[0].from, ends)
		row = append(row[:0], row[1:]...)
	}
	shiftWide := func(end int) {
		ends = ends[:0]
		for n := minPhraseWide; n < len(wide); n++ {
			ends = append(ends, wide[n])
		}
		if len(wide) >= minPhraseWide {
			grow(wide[0], append(ends, end))
		}
		wide = append(wide[:0], wide[1:]...)
	}
	inWord, begin := false, 0
	class, run := letters, 0 // run: where the letters of one class begin
	endRun := func(at int, whole bool) {
		if !whole && at-run >= minWord && class == letters {
			grow(run, append(ends[:0], at))
		}
	}
	for i := 0; i <= len(text); {
		r, size := rune('\n'), 1
		if i < len(text) {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		if isWide(r) {
			if len(wide) == maxPhraseWide {
				shiftWide(i)
			}
			wide = append(wide, i)
		} else {
			for len(wide) > 0 {
				shiftWide(i)
			}
		}
		switch letter := isLetter(r); {
		case letter && !inWord:
			if n := len(row); n > 0 && i-row[n-1].to > maxPhraseGap {
				for len(row) > 0 {
					shiftWords()
				}
			}
			inWord, begin, run, class = true, i, i, classOf(r)
			w := word{from: i}
			if i > 0 && text[i-1] == '@' { // domains are searched for so
				w.from--
			}
			row = append(row, w)
		case letter:
			if c := classOf(r); c != class {
				endRun(i, false)
				run, class = i, c
			}
		case inWord:
			endRun(i, run == begin)
			inWord = false
			row[len(row)-1].to = i
			if len(row) == maxPhraseWords {
				shiftWords()
			}
		}
		if isBreak(r) {
			for len(row) > 0 {
				shiftWords()
			}
		}
		i += size
	}
}

// Classes of letters, which words may be made of together.
const (
	letters = iota
	digits
)

func classOf(r rune) int {
	if '0' <= r && r <= '9' {
		return digits
	}
	return letters
}
