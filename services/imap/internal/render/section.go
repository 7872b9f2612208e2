package render

import (
	"io"
	"strconv"
	"strings"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// FindPart returns the part with that part number (RFC 9051 section 6.4.5.1), or !ok. The message itself is the empty path; of
// a message that is no multipart, part 1 is its body; the parts of an embedded message are numbered under its own part.
func FindPart(root *mailv1.Part, path []int) (part *mailv1.Part, ok bool) {
	cur := root
	for i, n := range path {
		container := cur
		switch {
		case i == 0 || isMultipart(cur):
		case isMessage(cur):
			container = cur.GetChildren()[0]
		default:
			return nil, false
		}
		switch {
		case isMultipart(container):
			kids := children(container)
			if n < 1 || n > len(kids) {
				return nil, false
			}
			cur = kids[n-1]
		case n == 1:
			cur = container
		default:
			return nil, false
		}
	}
	return cur, root != nil
}

// Extent is a run of octets of a message.
type Extent struct {
	Offset, Size uint64
}

// Locate returns where a section's octets are, its partial not applied. For HEADER.FIELDS and HEADER.FIELDS.NOT
// it is the header to filter. !ok: there is no such part, or it has no such section; the answer is NIL.
func Locate(root *mailv1.Part, s *wire.Section) (e Extent, ok bool) {
	part, ok := FindPart(root, s.Path)
	if !ok {
		return Extent{}, false
	}
	header := func(p *mailv1.Part) Extent { return Extent{p.GetHeaderOffset(), p.GetHeaderSize()} }
	body := func(p *mailv1.Part) Extent { return Extent{p.GetBodyOffset(), p.GetBodySize()} }
	owner := part // of HEADER and TEXT: the message, or an embedded one
	if len(s.Path) > 0 && s.Specifier != "" && s.Specifier != "MIME" {
		if !isMessage(part) {
			return Extent{}, false
		}
		owner = part.GetChildren()[0]
	}
	switch s.Specifier {
	case "":
		if len(s.Path) == 0 {
			end := part.GetBodyOffset() + part.GetBodySize()
			return Extent{part.GetHeaderOffset(), end - part.GetHeaderOffset()}, true
		}
		return body(part), true
	case "MIME":
		return header(part), true
	case "TEXT":
		return body(owner), true
	}
	return header(owner), true
}

// FilterHeader returns the fields of a header that are among the names (not: that are not), as they are, and
// the blank line if the header has it (RFC 9051 section 6.4.5.1).
func FilterHeader(header []byte, fields []string, not bool) []byte {
	return append(message.SelectFields(header, fields, not), blankLine(header)...)
}

// blankLine is the line that ends a header, empty if nothing does.
func blankLine(header []byte) []byte {
	n := len(header)
	if n == 0 || header[n-1] != '\n' {
		return nil
	}
	start := n - 1
	if start > 0 && header[start-1] == '\r' {
		start--
	}
	if start > 0 && header[start-1] != '\n' {
		return nil
	}
	return header[start:]
}

// Clip applies a partial to an extent: what lies past the end is empty, never an error.
func Clip(e Extent, p *wire.Partial) Extent {
	if p == nil {
		return e
	}
	skip := min(p.Offset, e.Size)
	return Extent{e.Offset + skip, min(p.Length, e.Size-skip)}
}

// ClipBytes applies a partial to octets.
func ClipBytes(b []byte, p *wire.Partial) []byte {
	e := Clip(Extent{0, uint64(len(b))}, p)
	return b[e.Offset : e.Offset+e.Size]
}

// AppendSection appends a section as an answer names it, for example "[1.HEADER.FIELDS (Date From)]<0>".
func AppendSection(dst []byte, s *wire.Section) []byte {
	dst = append(dst, '[')
	for i, n := range s.Path {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	if s.Specifier != "" {
		if len(s.Path) > 0 {
			dst = append(dst, '.')
		}
		dst = append(dst, s.Specifier...)
	}
	for i, f := range s.Fields {
		if i == 0 {
			dst = append(dst, " ("...)
		} else {
			dst = append(dst, ' ')
		}
		dst = wire.AppendAString(dst, f, false)
	}
	if len(s.Fields) > 0 {
		dst = append(dst, ')')
	}
	dst = append(dst, ']')
	if s.Partial != nil {
		dst = append(dst, '<')
		dst = strconv.AppendUint(dst, s.Partial.Offset, 10)
		dst = append(dst, '>')
	}
	return dst
}

// DecodePart reads a part's body for BINARY, its Content-Transfer-Encoding undone. !ok: the encoding is unknown, the
// answer is NO [UNKNOWN-CTE] (RFC 9051 section 6.4.5).
func DecodePart(encoding string, r io.Reader) (decoded io.Reader, ok bool) {
	if !text.KnownEncoding(encoding) {
		return nil, false
	}
	return text.TransferDecode(r, strings.TrimSpace(encoding)), true
}
