package search

import (
	"context"
	"strings"
	"unicode/utf8"
)

// Text is all that TEXT and BODY look at of a message, folded, so that an index may keep it: fields and parts are divided by line feeds, which
// no needle has.
type Text struct {
	// Header has the fields of all headers, each with its name, and names of files.
	Header string
	// Body has the texts of all parts.
	Body string
	// Partial says that there is more than that.
	Partial bool
}

// Limits of a Text, in octets.
type Limits struct{ Header, Body int }

// Extract gives the text of a message up to limits: what is beyond is not read.
func Extract(ctx context.Context, m Source, l Limits) (*Text, error) {
	c := &collector{limits: l}
	r := reading{ctx: ctx, message: m}
	if err := r.walk(c); err != nil {
		return nil, err
	}
	return &Text{Header: c.header.String(), Body: c.body.String(), Partial: c.partial}, nil
}

// HeaderText gives the Header of the Text of a header.
func HeaderText(header []byte) string {
	c := &collector{limits: Limits{Header: len(header)*8 + 64}}
	walkHeader(c, header)
	return c.header.String()
}

// collector is a sink that keeps what it is given.
type collector struct {
	limits       Limits
	header, body strings.Builder
	headerFull   bool
	bodyFull     bool
	partial      bool
}

func (c *collector) wants() (fields, texts bool) { return !c.headerFull, !c.bodyFull }

func (c *collector) field(s string) {
	if c.headerFull || c.header.Len()+len(s)+1 > c.limits.Header {
		c.headerFull, c.partial = true, true
		return
	}
	c.header.WriteString(s)
	c.header.WriteByte('\n')
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

// Contains tells whether a needle is in the text. If not, and the text is Partial, it may be in the rest.
func (t *Text) Contains(n Needle) bool {
	return n.Zone == ZoneText && strings.Contains(t.Header, n.Text) || n.Zone != ZoneField && strings.Contains(t.Body, n.Text)
}
