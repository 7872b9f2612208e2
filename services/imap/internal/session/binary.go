package session

import (
	"bytes"
	"context"
	"io"

	"github.com/yubin-mail/yubin/services/imap/internal/render"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// BINARY, BINARY.PEEK and BINARY.SIZE: RFC 9051 section 6.4.5, RFC 3516.
func init() {
	structure := func(wire.Item) need { return need{structure: true} }
	register(extension{
		capabilities: []capability{{name: "BINARY"}},
		fetchItems: []fetchItem{
			{name: "BINARY", needs: structure, seen: sectionSeen, open: openBinary},
			{name: "BINARY.SIZE", needs: structure, absent: "0", open: openBinarySize},
		},
	})
}

// maxDecoded is the largest decoded part that is held in memory; a larger one is decoded
// twice, once for its size and once to be sent.
const maxDecoded = 256 << 10

var errUnknownCTE = no("UNKNOWN-CTE", "the part's transfer encoding is not known")

// binaryPart gives a part and where its octets are; ok is false if there is none.
func binaryPart(m *fetched, section *wire.Section) (encoding string, extent render.Extent, ok bool) {
	root := m.info.GetStructure()
	extent, ok = render.Locate(root, section)
	if !ok || len(section.Path) == 0 {
		return "", extent, ok // the message itself has no encoding
	}
	p, ok := render.FindPart(root, section.Path)
	if !ok || len(p.GetChildren()) > 0 {
		return "", extent, ok // nor has what holds other parts (RFC 2045 section 6.4)
	}
	return p.GetEncoding(), extent, ok
}

// decoded opens a part with its transfer encoding undone.
func (s *session) decoded(ctx context.Context, m *fetched, encoding string, extent render.Extent) (io.Reader, func(), error) {
	p, err := s.openExtent(ctx, m, nil, extent)
	if err != nil {
		return nil, nil, err
	}
	r, ok := render.DecodePart(encodingOf(encoding), p.body)
	if !ok {
		p.free()
		return nil, nil, errUnknownCTE
	}
	return r, p.free, nil
}

func encodingOf(encoding string) string {
	if encoding == "" {
		return "7BIT"
	}
	return encoding
}

// measured is what must be known before decoded octets can be sent.
type measured struct {
	size   uint64
	nul    bool
	octets []byte // all of them, unless there are more than maxDecoded
}

// measure decodes a part to learn its size and whether it holds NUL.
func (s *session) measure(ctx context.Context, m *fetched, encoding string, extent render.Extent) (measured, error) {
	r, free, err := s.decoded(ctx, m, encoding, extent)
	if err != nil {
		return measured{}, err
	}
	defer free()
	var out measured
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		out.size += uint64(n)
		out.nul = out.nul || bytes.IndexByte(buf[:n], 0) >= 0
		if out.size <= maxDecoded {
			out.octets = append(out.octets, buf[:n]...)
		} else {
			out.octets = nil
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return measured{}, err
		}
	}
}

func openBinary(ctx context.Context, s *session, m *fetched, item wire.Item) (*part, error) {
	section, label := item.Section(), sectionLabel(item)
	encoding, extent, ok := binaryPart(m, section)
	if !ok {
		return &part{label: label, absent: true}, nil
	}
	size, err := s.measure(ctx, m, encoding, extent)
	if err != nil {
		return nil, err
	}
	if size.size <= maxDecoded {
		p := bytesPart(label, size.octets, section)
		p.binary = size.nul
		return p, nil
	}
	r, free, err := s.decoded(ctx, m, encoding, extent)
	if err != nil {
		return nil, err
	}
	clip := render.Clip(render.Extent{Size: size.size}, section.Partial)
	if _, err := io.CopyN(io.Discard, r, int64(clip.Offset)); err != nil {
		free()
		return nil, &partError{err}
	}
	return &part{label: label, size: clip.Size, binary: size.nul, body: io.LimitReader(r, int64(clip.Size)), close: free}, nil
}

func openBinarySize(ctx context.Context, s *session, m *fetched, item wire.Item) (*part, error) {
	label := sectionLabel(item)
	encoding, extent, ok := binaryPart(m, item.Section())
	if !ok {
		return &part{label: append(label, " 0"...), number: true}, nil
	}
	size, err := s.measure(ctx, m, encoding, extent)
	if err != nil {
		return nil, err
	}
	return &part{label: appendNumber(label, " ", size.size), number: true}, nil
}
