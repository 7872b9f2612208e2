package search

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
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

// needle is a folded text that is searched for: in the header too, or in the body alone.
type needle struct {
	text       string
	everywhere bool
}

// matcher looks for all needles of a program at once.
type matcher struct {
	needles []needle
	found   []bool
	left    int
	longest int // octets of the longest needle
}

func newMatcher(needles []needle) *matcher {
	m := &matcher{needles: needles, found: make([]bool, len(needles)), left: len(needles)}
	for _, n := range needles {
		m.longest = max(m.longest, len(n.text))
	}
	return m
}

// check marks the needles that a folded text contains; body tells that it is of a body.
func (m *matcher) check(s string, body bool) {
	for i, n := range m.needles {
		if !m.found[i] && (body || n.everywhere) && strings.Contains(s, n.text) {
			m.found[i] = true
			m.left--
		}
	}
}

// message looks through the header, then the parts in their order, until all is found.
func (m *matcher) message(e *evaluation) error {
	header, err := e.getHeader()
	if err != nil {
		return err
	}
	m.header(header)
	if m.left == 0 {
		return nil
	}
	structure, err := e.getStructure()
	if err != nil {
		return err
	}
	source, err := e.message.Open()
	if err != nil {
		return fmt.Errorf("open message: %w", err)
	}
	return m.part(e, source, structure.GetRoot(), true)
}

// header looks through the fields of a header: names and values.
func (m *matcher) header(header []byte) {
	for f := range message.EachHeader(header) {
		name := text.Fold(string(f.Name))
		for _, value := range fieldTexts(f) {
			m.check(name+": "+value, false)
		}
	}
}

// part looks through a part and those inside it. The header of the root has been looked at.
func (m *matcher) part(e *evaluation, source io.ReaderAt, part *mailv1.Part, root bool) error {
	if m.left == 0 {
		return nil
	}
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if !root {
		if err := m.partHeader(source, part); err != nil {
			return err
		}
	}
	if strings.EqualFold(part.GetType(), "text") {
		body := io.NewSectionReader(source, int64(part.GetBodyOffset()), int64(part.GetBodySize()))
		if err := m.stream(e, message.TextReader(body, part)); err != nil {
			return fmt.Errorf("search text at octet %d: %w", part.GetBodyOffset(), err)
		}
	}
	for _, child := range part.GetChildren() {
		if err := m.part(e, source, child, false); err != nil {
			return err
		}
	}
	return nil
}

// maxPartHeader octets of a MIME header are looked at.
const maxPartHeader = 1 << 20

// partHeader looks through a MIME header, if a needle that may be there is left. A file name counts in its decoded form too,
// which the structure has (RFC 2231).
func (m *matcher) partHeader(source io.ReaderAt, part *mailv1.Part) error {
	wanted := false
	for i, n := range m.needles {
		wanted = wanted || n.everywhere && !m.found[i]
	}
	if !wanted {
		return nil
	}
	m.check(normal(string(message.Filename(part))), false)
	header := make([]byte, min(part.GetHeaderSize(), maxPartHeader))
	if _, err := io.ReadFull(io.NewSectionReader(source, int64(part.GetHeaderOffset()), int64(len(header))), header); err != nil {
		return fmt.Errorf("read part header at octet %d: %w", part.GetHeaderOffset(), err)
	}
	m.header(header)
	return nil
}

const (
	// chunkBytes of decoded text are looked at together.
	chunkBytes = 32 << 10
	// maxCluster of text is held back for a place where it may be cut without changing how it folds.
	maxCluster = 4 << 10
)

// stream looks through UTF-8 text of any length. It keeps the end of what it saw, so that a match may span chunks.
func (m *matcher) stream(e *evaluation, r io.Reader) error {
	buf := make([]byte, 0, chunkBytes)
	var window []byte // folded
	var fold spaceFolder
	for m.left > 0 {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if !end && len(buf) < cap(buf) {
			continue // gather a whole chunk: folding and looking have their cost each time
		}
		cut := len(buf)
		if !end {
			cut = safeCut(buf)
		}
		window = fold.append(window, text.Fold(string(buf[:cut])))
		m.check(string(window), true)
		if end {
			break
		}
		buf = buf[:copy(buf, buf[cut:])]
		if keep := m.longest - 1; len(window) > keep {
			window = window[:copy(window, window[len(window)-keep:])]
		}
	}
	return nil
}

// safeCut finds the last place before which text can be folded by itself: between two characters that do not combine. Text
// without one, which no language has, is cut between any two characters.
func safeCut(buf []byte) int {
	whole := len(buf)
	for i := 1; i < utf8.UTFMax && i <= len(buf); i++ {
		if c := buf[len(buf)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(buf[len(buf)-i:]) {
				whole = len(buf) - i
			}
			break
		}
	}
	if cut := norm.NFKC.LastBoundary(buf[:whole]); cut > 0 && whole-cut <= maxCluster {
		return cut
	}
	return whole
}
