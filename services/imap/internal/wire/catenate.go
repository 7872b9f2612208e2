package wire

import (
	"strings"
)

// CatenatePart is one part of a message that APPEND puts together (RFC 4469 section 3).
type CatenatePart struct {
	// URL is what stands elsewhere; empty for a literal, which Literal gives.
	URL string
	// Size is the octets of the literal.
	Size int64
	// Binary: a literal8, sent as UTF8 data (RFC 6855 section 4).
	Binary bool
}

// CatenatePart reads the next part of a message for which AppendMessage said Catenate; !more is its end. What was not read of the literal
// before is skipped.
func (d *Decoder) CatenatePart() (part CatenatePart, more bool, err error) {
	d.endLiteral()
	if d.parts > 0 {
		if d.TrySpecial(')') {
			d.parts = 0
			return part, false, d.err
		}
		d.SP()
	}
	d.parts++
	switch d.Keyword() {
	case "URL":
		d.SP()
		if part.URL = d.AString(); part.URL == "" {
			d.Fail("empty URL")
		}
	case "TEXT":
		d.SP()
		d.textLiteral()
		part.Size = d.lit.left
	case "UTF8":
		part.Binary = true
		d.utf8Literal()
		part.Size = d.lit.left
	default:
		d.Fail("unknown part of a message")
	}
	return part, true, d.err
}

// ParseSection reads a section as it stands in a URL (RFC 5092 section 4), and tells whether it is one.
func ParseSection(s string) (*Section, bool) {
	if strings.ContainsAny(s, "\r\n{}[]") {
		return nil, false
	}
	d := NewDecoder(strings.NewReader("["+s+"]\r\n"), &Grammar{}, LoginLimits())
	section := d.section(true)
	return section, d.End() == nil
}
