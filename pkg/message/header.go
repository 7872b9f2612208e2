package message

import (
	"bytes"
	"iter"
	"slices"
)

// Field is one header field. All three are slices of the header it was read from.
type Field struct {
	// Name without the colon and the white space before it.
	Name []byte
	// Value is all after the colon: folded, with its leading white space and its last line end.
	Value []byte
	// Raw is the whole field, name, value and line end.
	Raw []byte
}

// Is tells whether the field has the name, in any case.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && bytes.EqualFold(f.Name, []byte(name))
}

// EachHeader yields the fields of a header in their order, up to the blank line.
// Lines that belong to no field (no colon, an mbox "From " line) are left out.
// Lines end with CRLF or LF.
func EachHeader(header []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for len(header) > 0 {
			n := lineLen(header)
			if isBlank(header[:n]) {
				return
			}
			for n < len(header) && isSpace(header[n]) {
				n += lineLen(header[n:])
			}
			raw := header[:n]
			header = header[n:]
			name, value, ok := bytes.Cut(raw, []byte(":"))
			name = bytes.TrimRight(name, " \t")
			if !ok || !isFieldName(name) {
				continue
			}
			if !yield(Field{Name: name, Value: value, Raw: raw}) {
				return
			}
		}
	}
}

// SelectFields gives the fields with one of the names (or, with not, all others), each as it is in the header,
// without the blank line: the text of BODY[HEADER.FIELDS] and BODY[HEADER.FIELDS.NOT]
// (RFC 9051 section 6.4.5.1), to which the caller adds the blank line.
func SelectFields(header []byte, names []string, not bool) []byte {
	wanted := make(map[string]bool, len(names)) // both lists may be long: neither is searched for each of the other
	longest := 0
	for _, name := range names {
		wanted[lower(nil, name)] = true
		longest = max(longest, len(name))
	}
	var out []byte
	scratch := make([]byte, 0, longest)
	for f := range EachHeader(header) {
		match := len(f.Name) <= longest && wanted[lower(scratch, f.Name)]
		if match != not {
			out = append(out, f.Raw...)
		}
	}
	return out
}

// lower gives a field name in lower case; scratch spares an allocation.
func lower[S string | []byte](scratch []byte, s S) string {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		scratch = append(scratch, c)
	}
	return string(scratch)
}

// Unfold copies a field's value without line ends and NUL, and without white space around it (RFC 5322 section 2.2.3).
func Unfold(value []byte) []byte {
	value = bytes.Trim(value, " \t\r\n\x00")
	return slices.DeleteFunc(slices.Clone(value), isUnsafe)
}

// lineLen is the length of the first line of b, its line end included.
func lineLen(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// trimEOL removes CRLF or LF from the end of a line.
func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}

func isBlank(line []byte) bool { return len(trimEOL(line)) == 0 }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// isFieldName holds what RFC 5322 section 3.6.8 allows in a name, and 8-bit octets, which occur.
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(name) > 0
}
