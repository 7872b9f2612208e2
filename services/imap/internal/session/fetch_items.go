package session

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/octets"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/render"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// The data items of RFC 9051 section 6.4.5, but BINARY.
func init() {
	structure := func(wire.Item) need { return need{structure: true} }
	register(extension{fetchItems: []fetchItem{
		{name: "UID", render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return appendNumber(dst, "UID ", uint64(m.state.UID))
		}},
		{name: "FLAGS", render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return appendFlags(append(dst, "FLAGS "...), m.state)
		}},
		{name: "INTERNALDATE", render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return appendDateTime(append(dst, "INTERNALDATE "...), m.state.Internal)
		}},
		{name: "RFC822.SIZE", render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return appendNumber(dst, "RFC822.SIZE ", m.state.Size)
		}},
		{name: "ENVELOPE", needs: func(wire.Item) need { return need{envelope: true} },
			render: func(s *session, m *fetched, _ wire.Item, dst []byte) []byte {
				return render.AppendEnvelope(append(dst, "ENVELOPE "...), m.info.GetEnvelope(), s.enc.UTF8)
			}},
		{name: "BODYSTRUCTURE", needs: structure, render: func(s *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return render.AppendBody(append(dst, "BODYSTRUCTURE "...), m.info.GetStructure(), true, s.enc.UTF8)
		}},
		{name: "BODY STRUCTURE", needs: structure, render: func(s *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return render.AppendBody(append(dst, "BODY "...), m.info.GetStructure(), false, s.enc.UTF8)
		}},
		{name: "BODY", needs: sectionNeeds, seen: sectionSeen, open: openSection},
		{name: "RFC822", needs: sectionNeeds, seen: sectionSeen, open: openSection},
		{name: "RFC822.HEADER", needs: sectionNeeds, seen: sectionSeen, open: openSection},
		{name: "RFC822.TEXT", needs: sectionNeeds, seen: sectionSeen, open: openSection},
	}})
}

// normalise tells the two meanings of BODY apart, with and without a section.
func normalise(item wire.Item) wire.Item {
	if item.Name == "BODY" && item.Section() == nil {
		return wire.Item{Name: "BODY STRUCTURE"}
	}
	return item
}

// sectionOf gives the section that an item asks for; the items of RFC 822 are shorthands (RFC 3501 section 6.4.5).
func sectionOf(item wire.Item) *wire.Section {
	switch item.Name {
	case "RFC822":
		return &wire.Section{}
	case "RFC822.HEADER":
		return &wire.Section{Specifier: "HEADER", Peek: true}
	case "RFC822.TEXT":
		return &wire.Section{Specifier: "TEXT"}
	}
	return item.Section()
}

func sectionSeen(item wire.Item) bool { return !sectionOf(item).Peek }

// topHeader tells whether a section is the message's header, or fields of it.
func topHeader(section *wire.Section) bool {
	return len(section.Path) == 0 && section.Specifier != "" && section.Specifier != "TEXT"
}

func sectionNeeds(item wire.Item) need {
	section := sectionOf(item)
	switch {
	case topHeader(section):
		return need{header: true}
	case len(section.Path) == 0 && section.Specifier == "":
		return need{whole: section.Partial == nil}
	}
	return need{structure: true, whole: len(section.Path) == 0 && section.Partial == nil}
}

// sectionLabel is an item's name in the response.
func sectionLabel(item wire.Item) []byte {
	label := []byte(item.Name)
	if section := item.Section(); section != nil {
		label = render.AppendSection(label, section)
	}
	return label
}

// maxFilteredHeader bounds the header that HEADER.FIELDS filters in memory. Of a longer one the first octets are filtered.
const maxFilteredHeader = 1 << 20

func openSection(ctx context.Context, s *session, m *fetched, item wire.Item) (*part, error) {
	section := sectionOf(item)
	label := sectionLabel(item)
	filtered := len(section.Fields) > 0
	extent := render.Extent{Size: m.state.Size}
	switch {
	case topHeader(section):
		if header := m.info.GetHeader(); uint64(len(header)) == m.info.GetHeaderSize() {
			if filtered {
				header = render.FilterHeader(header, section.Fields, section.Specifier == "HEADER.FIELDS.NOT")
			}
			return bytesPart(label, header, section), nil
		}
		extent.Size = m.info.GetHeaderSize() // it is too long for Fetch
	case len(section.Path) > 0 || section.Specifier != "":
		var ok bool
		if extent, ok = render.Locate(m.info.GetStructure(), section); !ok {
			return &part{label: label, absent: true}, nil
		}
	}
	if !filtered {
		return s.openExtent(ctx, m, label, render.Clip(extent, section.Partial))
	}
	extent.Size = min(extent.Size, maxFilteredHeader)
	p, err := s.openExtent(ctx, m, label, extent)
	if err != nil {
		return nil, err
	}
	defer p.free()
	header, err := io.ReadAll(p.body)
	if err != nil {
		return nil, err
	}
	return bytesPart(label, render.FilterHeader(header, section.Fields, section.Specifier == "HEADER.FIELDS.NOT"), section), nil
}

// bytesPart is a part that is in memory; the section's partial is applied.
func bytesPart(label, value []byte, section *wire.Section) *part {
	value = render.ClipBytes(value, section.Partial)
	return &part{label: label, size: uint64(len(value)), body: wire.NewMemory(0, uint64(len(value)), value)}
}

// openExtent opens octets of a message in storage. They begin to arrive before it returns: a message that is gone shows now.
func (s *session) openExtent(ctx context.Context, m *fetched, label []byte, extent render.Extent) (*part, error) {
	if extent.Size == 0 {
		return &part{label: label, body: wire.NewMemory(0, 0)}, nil
	}
	prefix, whole := m.info.GetWholePrefix(), m.info.GetWhole()
	if uint64(len(prefix)+len(whole)) == m.state.Size && extent.Offset+extent.Size <= m.state.Size {
		return &part{label: label, size: extent.Size, body: wire.NewMemory(extent.Offset, extent.Size, prefix, whole)}, nil
	}
	request := &storagev1.ReadRequest{Uid: m.state.UID, Offset: extent.Offset, Length: extent.Size}
	if m.of != nil {
		request.AccountId, request.MailboxId, request.Actor = m.of.asked(), m.of.GetMailboxId(), m.of.actor
	} else {
		request.AccountId, request.MailboxId, request.Actor = s.box.asked(), s.box.id, s.box.actor
	}
	r := octets.NewReader(ctx, s.Storage, request, s.Limits.RPC)
	if err := r.Fill(); err != nil {
		r.Close()
		if errors.Is(err, io.EOF) {
			return nil, &partError{io.ErrUnexpectedEOF}
		}
		return nil, err
	}
	return &part{label: label, size: extent.Size, body: r, close: r.Close}, nil
}

// recv receives the next answer of a stream, and cancels it if that takes longer than the timeout.
func recv[T any](stream grpc.ServerStreamingClient[T], timeout time.Duration, cancel context.CancelFunc) (*T, error) {
	timer := time.AfterFunc(timeout, cancel)
	defer timer.Stop()
	return stream.Recv()
}

// partError is a part that cannot be had, while the other messages can.
type partError struct{ err error }

func (e *partError) Error() string { return "read part: " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// isGone tells whether a message was expunged.
func isGone(err error) bool { return fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) }

// isPartFailure tells whether an error is of one message only.
func isPartFailure(err error) bool {
	if fault.Is(err, rpcv1.Reason_REASON_CORRUPT) {
		return true
	}
	if _, ok := errors.AsType[*noError](err); ok {
		return true
	}
	_, ok := errors.AsType[*partError](err)
	return ok
}

// appendDateTime appends a quoted date-time.
func appendDateTime(dst []byte, unix int64) []byte {
	return time.Unix(unix, 0).UTC().AppendFormat(dst, `"_2-Jan-2006 15:04:05 -0700"`)
}

func appendNumber(dst []byte, label string, n uint64) []byte {
	return strconv.AppendUint(append(dst, label...), n, 10)
}
