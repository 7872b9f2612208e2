package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yubin-mail/yubin/pkg/message/text"
)

// normal folds a text and its white space.
func normal(s string) string {
	var f spaceFolder
	return strings.TrimSpace(string(f.append(nil, text.Fold(s))))
}

// spaceFolder makes one space of each run of white space, and nothing of a line break inside CJK text. It holds back white space until it knows what
// comes after it.
type spaceFolder struct {
	space, line bool
	last        rune
}

func (f *spaceFolder) append(dst []byte, s string) []byte {
	for _, r := range s {
		if unicode.IsSpace(r) {
			f.space = true
			f.line = f.line || r == '\n'
			continue
		}
		if f.space && (!f.line || !isCJK(f.last) || !isCJK(r)) {
			dst = append(dst, ' ')
		}
		f.space, f.line, f.last = false, false, r
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// isCJK tells whether lines may break before and after a character without a space being meant.
func isCJK(r rune) bool {
	return r >= 0x2e80 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r <= 0x30ff || r >= 0xff00 && r <= 0xffef)
}

// matcher is a sink that looks for all needles of a program at once.
type matcher struct {
	needles []Needle
	found   []bool
	left    int    // needles of text and body that were not found
	fields  int    // those of text
	longest int    // octets of the longest needle
	window  []byte // the end of what was seen of a part, so that a match may span pieces
}

func newMatcher(needles []Needle) *matcher {
	m := &matcher{needles: needles, found: make([]bool, len(needles))}
	for _, n := range needles {
		if n.Zone == ZoneField {
			continue
		}
		m.left++
		if n.Zone == ZoneText {
			m.fields++
		}
		m.longest = max(m.longest, len(n.Text))
	}
	return m
}

func (m *matcher) wants() (fields, texts bool) { return m.fields > 0, m.left > 0 }

func (m *matcher) field(s string) { m.check(s, false) }

func (m *matcher) partField(s string) { m.check(s, false) }

func (m *matcher) text(piece []byte, begin bool) {
	if begin {
		m.window = m.window[:0]
	} else if keep := m.longest - 1; len(m.window) > keep {
		m.window = m.window[:copy(m.window, m.window[len(m.window)-keep:])]
	}
	m.window = append(m.window, piece...)
	m.check(string(m.window), true)
}

// check marks the needles that a folded text contains; body tells that it is of a body.
func (m *matcher) check(s string, body bool) {
	for i, n := range m.needles {
		if m.found[i] || n.Zone == ZoneField || n.Zone == ZoneBody && !body || !strings.Contains(s, n.Text) {
			continue
		}
		m.found[i] = true
		m.left--
		if n.Zone == ZoneText {
			m.fields--
		}
	}
}
