package search

import (
	"context"
	"iter"
	"strings"
	"unicode/utf8"
)

// Text is all that TEXT and BODY look at of a message, folded, so that an index may keep it: fields and parts are divided by line feeds, which
// no needle has.
type Text struct {
	// Header has the fields of the message's header, each behind its name.
	Header string
	// Parts has the fields of all headers inside, and names of files.
	Parts string
	// Body has the texts of all parts.
	Body string
	// Partial says that there is more than that, HeaderPartial that the Header is not all.
	Partial, HeaderPartial bool
}

// Limits of a Text, in octets: of what is of headers, and of bodies. A field that does not fit is left out.
type Limits struct{ Header, Body int }

// Extract gives the text of a message up to limits: what is beyond is not read.
func Extract(ctx context.Context, m Source, l Limits) (*Text, error) {
	c := &collector{limits: l}
	r := reading{ctx: ctx, message: m}
	if err := r.walk(c); err != nil {
		return nil, err
	}
	return &Text{
		Header: c.header.String(), Parts: c.parts.String(), Body: c.body.String(), Partial: c.partial || c.headerPartial, HeaderPartial: c.headerPartial,
	}, nil
}

// HeaderText gives the Header of the Text of a header.
func HeaderText(header []byte) string {
	c := &collector{limits: Limits{Header: len(header)*8 + 64}}
	walkHeader(header, c.field)
	return c.header.String()
}

// collector is a sink that keeps what it is given.
type collector struct {
	limits              Limits
	header, parts, body strings.Builder
	partsFull, bodyFull bool
	partial             bool // but for the header
	headerPartial       bool
}

func (c *collector) wants() (fields, texts bool) { return !c.partsFull, !c.bodyFull }

func (c *collector) add(to *strings.Builder, s string) bool {
	if c.header.Len()+c.parts.Len()+len(s)+1 > c.limits.Header {
		return false
	}
	to.WriteString(s)
	to.WriteByte('\n')
	return true
}

func (c *collector) field(s string) {
	if !c.add(&c.header, s) {
		c.headerPartial = true
	}
}

func (c *collector) partField(s string) {
	if !c.add(&c.parts, s) {
		c.partsFull, c.partial = true, true
	}
}

func (c *collector) text(piece []byte, begin bool) {
	if len(piece) == 0 || c.bodyFull {
		return
	}
	if begin && c.body.Len() > 0 {
		c.body.WriteByte('\n')
	}
	if room := c.limits.Body - c.body.Len(); len(piece) > room {
		c.bodyFull, c.partial = true, true
		cut := max(room, 0)
		for cut > 0 && !utf8.RuneStart(piece[cut]) {
			cut--
		}
		piece = piece[:cut]
	}
	c.body.Write(piece)
}

// Contains tells whether a needle of ZoneText or ZoneBody is in the text. If not, and the text is Partial, it may be in the rest.
func (t *Text) Contains(n Needle) bool {
	return strings.Contains(t.Body, n.Text) || n.Zone == ZoneText && (strings.Contains(t.Header, n.Text) || strings.Contains(t.Parts, n.Text))
}

// HasField tells whether a field of the Header, by its folded name, has a value. If not, and the text is HeaderPartial, one of the rest may.
func (t *Text) HasField(name, value string) bool {
	for v := range t.Field(name) {
		if strings.Contains(v, value) {
			return true
		}
	}
	return false
}

// Field yields the texts of the fields of a folded name.
func (t *Text) Field(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(t.Header) {
			rest, ok := strings.CutPrefix(line, name)
			if !ok {
				continue
			}
			if v, ok := strings.CutPrefix(rest, ": "); ok && !yield(strings.TrimSuffix(v, "\n")) {
				return
			}
		}
	}
}
