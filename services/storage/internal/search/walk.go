package search

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// sink takes the texts of a message that a search looks at.
type sink interface {
	// field takes a folded text of the message's header: a field with its name.
	field(s string)
	// partField takes one of a header inside, or the name of a file.
	partField(s string)
	// text takes the next piece of a part's folded text; begin tells that it is the part's first.
	text(piece []byte, begin bool)
	// wants tells whether there is any use for more fields, and for more text.
	wants() (fields, texts bool)
}

// reading is a message being read: what was read of it is kept.
type reading struct {
	ctx     context.Context
	message Source

	structure *mailv1.Structure
	header    []byte
	hasHeader bool
}

func (r *reading) getStructure() (*mailv1.Structure, error) {
	if r.structure != nil {
		return r.structure, nil
	}
	s, err := r.message.Structure()
	if err != nil {
		return nil, fmt.Errorf("get structure: %w", err)
	}
	r.structure = s
	return s, nil
}

func (r *reading) getHeader() ([]byte, error) {
	if r.hasHeader {
		return r.header, nil
	}
	h, err := r.message.Header()
	if err != nil {
		return nil, fmt.Errorf("get header: %w", err)
	}
	r.header, r.hasHeader = h, true
	return h, nil
}

// walk gives a sink the header, then the parts in their order, as long as it wants more.
func (r *reading) walk(s sink) error {
	if fields, _ := s.wants(); fields {
		header, err := r.getHeader()
		if err != nil {
			return err
		}
		walkHeader(header, s.field)
	}
	if fields, texts := s.wants(); !fields && !texts {
		return nil
	}
	structure, err := r.getStructure()
	if err != nil {
		return err
	}
	source, err := r.message.Open()
	if err != nil {
		return fmt.Errorf("open message: %w", err)
	}
	return r.walkPart(s, source, structure.GetRoot(), true)
}

// walkHeader gives the fields of a header: names and values.
func walkHeader(header []byte, give func(string)) {
	for f := range message.EachHeader(header) {
		name := text.Fold(string(f.Name))
		for _, value := range fieldTexts(f) {
			give(name + ": " + value)
		}
	}
}

// walkPart gives a part and those inside it. The header of the root has been given.
func (r *reading) walkPart(s sink, source io.ReaderAt, part *mailv1.Part, root bool) error {
	fields, texts := s.wants()
	if !fields && !texts {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if !root && fields {
		if err := walkPartHeader(s, source, part); err != nil {
			return err
		}
	}
	if texts && strings.EqualFold(part.GetType(), "text") {
		body := io.NewSectionReader(source, int64(part.GetBodyOffset()), int64(part.GetBodySize()))
		if err := r.walkText(s, message.TextReader(body, part)); err != nil {
			return fmt.Errorf("search text at octet %d: %w", part.GetBodyOffset(), err)
		}
	}
	for _, child := range part.GetChildren() {
		if err := r.walkPart(s, source, child, false); err != nil {
			return err
		}
	}
	return nil
}

// maxPartHeader octets of a MIME header are looked at.
const maxPartHeader = 1 << 20

// walkPartHeader gives a MIME header. A file name counts in its decoded form too, which the structure has (RFC 2231).
func walkPartHeader(s sink, source io.ReaderAt, part *mailv1.Part) error {
	if name := normal(string(message.Filename(part))); name != "" {
		s.partField(name)
	}
	header := make([]byte, min(part.GetHeaderSize(), maxPartHeader))
	if _, err := io.ReadFull(io.NewSectionReader(source, int64(part.GetHeaderOffset()), int64(len(header))), header); err != nil {
		return fmt.Errorf("read part header at octet %d: %w", part.GetHeaderOffset(), err)
	}
	walkHeader(header, s.partField)
	return nil
}

const (
	// chunkBytes of decoded text are looked at together.
	chunkBytes = 32 << 10
	// maxCluster of text is held back for a place where it may be cut without changing how it folds.
	maxCluster = 4 << 10
)

// walkText gives UTF-8 text of any length, piece by piece.
func (r *reading) walkText(s sink, in io.Reader) error {
	buf := make([]byte, 0, chunkBytes)
	var piece []byte // folded
	var fold spaceFolder
	for begin := true; ; begin = false {
		if _, texts := s.wants(); !texts {
			return nil
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		end := false
		for !end && len(buf) < cap(buf) { // gather a whole chunk: folding and looking have their cost each time
			n, err := in.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			end = errors.Is(err, io.EOF)
			if err != nil && !end {
				return err
			}
			if n == 0 && !end && r.ctx.Err() != nil {
				return r.ctx.Err()
			}
		}
		cut := len(buf)
		if !end {
			cut = safeCut(buf)
		}
		piece = fold.append(piece[:0], text.Fold(string(buf[:cut])))
		s.text(piece, begin)
		if end {
			return nil
		}
		buf = buf[:copy(buf, buf[cut:])]
	}
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
