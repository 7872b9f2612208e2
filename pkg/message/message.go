// Package message parses Internet messages (RFC 5322, MIME RFC 2045 to 2049) into the
// structure that is computed once, at delivery: the tree of parts with byte offsets,
// the envelope, and what lists and threads need.
//
// The parser never fails on content. It reads the message once, front to back, with a
// fixed buffer; time is linear in the size, memory is bounded by Limits. What a limit
// cuts off becomes an opaque leaf and marks the structure as degraded.
//
// A part has children exactly if it is a multipart (one or more) or a message/rfc822 or message/global
// (one, and an envelope); every other part is a leaf. What claims to be a container and is none is given the
// type that it can be used as:
//   - a multipart without a usable boundary, or in which no boundary line occurs, is text/plain;
//   - a message/rfc822 in base64 or quoted-printable, which RFC 2046 section 5.2.1 forbids, is not descended into,
//     and is application/octet-stream (RFC 2045 section 6.4), as is a container below the depth limit.
//
// A header ends at its blank line. Without one it ends at a boundary line, or before a line that is no field,
// if the line after it is no field and no continuation either; so text is never hidden in a header. An mbox "From "
// line at the top belongs to the header. Lines end with CRLF or LF; Part.lines counts line ends in the body.
package message

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
	// Params of all Content-Type and Content-Disposition fields of the tree.
	Params int
	// Addresses of all envelopes of the tree.
	Addresses int
	// PreviewBytes of a text part, in its transfer encoding, that are read for the preview.
	PreviewBytes int
}

// DefaultLimits are generous for real mail: 1 MiB headers (8 MiB in all), 50 levels, 10,000 parts,
// 50,000 parameters, 10,000 addresses, 64 KiB of text for the preview.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes:      1 << 20,
		TotalHeaderBytes: 8 << 20,
		Depth:            50,
		Parts:            10_000,
		Params:           50_000,
		Addresses:        10_000,
		PreviewBytes:     64 << 10,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct {
		value    *int
		fallback int
	}{
		{&l.HeaderBytes, d.HeaderBytes},
		{&l.TotalHeaderBytes, d.TotalHeaderBytes},
		{&l.Depth, d.Depth},
		{&l.Parts, d.Parts},
		{&l.Params, d.Params},
		{&l.Addresses, d.Addresses},
		{&l.PreviewBytes, d.PreviewBytes},
	} {
		if *f.value <= 0 {
			*f.value = f.fallback
		}
	}
	return l
}
