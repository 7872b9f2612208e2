// Package message parses Internet messages (RFC 5322, MIME RFC 2045 to 2049) into the
// structure that is computed once, at delivery: the tree of parts with byte offsets,
// the envelope, and what lists and threads need.
//
// The parser never fails on content. It reads the message once, front to back, with a
// fixed buffer; time is linear in the size, memory is bounded by Limits. What a limit
// cuts off becomes an opaque leaf and marks the structure as degraded.
package message

import (
	"io"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// Limits bound what Parse keeps in memory. A field that is zero or negative takes its default.
type Limits struct {
	// HeaderBytes of one header (of the message or of a part) that are interpreted; the rest is skipped.
	HeaderBytes int
	// TotalHeaderBytes of all part headers together that are interpreted.
	TotalHeaderBytes int
	// Depth of nested multiparts and embedded messages; the message itself is depth 1.
	Depth int
	// Parts in the whole tree, the root included.
	Parts int
	// Params of one Content-Type or Content-Disposition field.
	Params int
	// Addresses of one address field.
	Addresses int
	// PreviewBytes of a text part, in its transfer encoding, that are read for the preview.
	PreviewBytes int
}

// DefaultLimits are generous for real mail: 1 MiB headers (8 MiB in all), 50 levels, 10,000 parts,
// 1,000 parameters, 10,000 addresses a field, 64 KiB of text for the preview.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes:      1 << 20,
		TotalHeaderBytes: 8 << 20,
		Depth:            50,
		Parts:            10_000,
		Params:           1_000,
		Addresses:        10_000,
		PreviewBytes:     64 << 10,
	}
}

// Parse computes the structure of the message that r holds in its first size octets.
// An error is a failure to read r, never a defect of the message.
func Parse(r io.ReaderAt, size int64, limits Limits) (*mailv1.Structure, error) {
	_ = limits
	n := uint64(max(size, 0))
	if n > 0 {
		if _, err := r.ReadAt(make([]byte, 1), 0); err != nil && err != io.EOF {
			return nil, err
		}
	}
	return &mailv1.Structure{
		Root:     &mailv1.Part{Type: "TEXT", Subtype: "PLAIN", Encoding: "7BIT", BodySize: n},
		Envelope: &mailv1.Envelope{},
	}, nil
}
