package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted is the longest quoted string; clients have line limits too.
const maxQuoted = 1024

// AppendString appends s as a quoted string, or as a literal if it is long, holds a line end, or is 8-bit (UTF-8 is
// quoted with utf8). NUL, which neither may hold, becomes a space.
func AppendString[S string | []byte](dst []byte, s S, allowUTF8 bool) []byte {
	quotable, high := len(s) <= maxQuoted, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\r', c == '\n':
			quotable = false
		case c >= 0x80:
			high = true
		}
	}
	if high && quotable {
		quotable = allowUTF8 && utf8.ValidString(string(s))
	}
	if !quotable {
		dst = append(dst, '{')
		dst = strconv.AppendInt(dst, int64(len(s)), 10)
		dst = append(dst, "}\r\n"...)
		start := len(dst)
		dst = append(dst, s...)
		for i := start; i < len(dst); i++ {
			if dst[i] == 0 {
				dst[i] = ' '
			}
		}
		return dst
	}
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case 0:
			dst = append(dst, ' ')
		case '"', '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// AppendAString appends s as an atom if it is one, otherwise as AppendString does.
func AppendAString(dst []byte, s string, allowUTF8 bool) []byte {
	atom := s != "" && !strings.EqualFold(s, "NIL")
	for i := 0; atom && i < len(s); i++ {
		atom = isAStringChar(s[i])
	}
	if atom {
		return append(dst, s...)
	}
	return AppendString(dst, s, allowUTF8)
}
