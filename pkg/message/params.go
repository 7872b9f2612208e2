package message

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"

	"github.com/yubin-mail/yubin/pkg/message/text"
)

// cutToken reads a token (RFC 2045 section 5.1) and what follows it. Octets that are not ASCII end it.
func cutToken(b []byte) (string, []byte) {
	n := 0
	for n < len(b) && isToken(b[n]) {
		n++
	}
	return string(b[:n]), b[n:]
}

func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("()<>@,;:\\\"/[]?=", rune(c))
}

// skipComments removes white space and comments from the start. A comment that does not end is skipped to the end.
func skipComments(b []byte) []byte {
	for {
		b = bytes.TrimLeft(b, " \t")
		if len(b) == 0 || b[0] != '(' {
			return b
		}
		b = b[commentLen(b):]
	}
}

// commentLen is the length of the comment that b begins with, nested ones included; len(b) if it does not end.
func commentLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

// section is one "name=value" as it stands in the field: perhaps a piece of a parameter.
type section struct {
	index    int // of a continuation (RFC 2231 section 3), -1 for none
	extended bool
	value    []byte
}

// readParams reads "; name=value" to the end of the field: RFC 2045 section 5.1 with RFC 2231, and what senders do besides:
// values with spaces and no quotes, encoded words, raw octets. Of a parameter that occurs twice the first counts.
func readParams(b []byte, left *budget) []*mailv1.Param {
	var names []string
	sections := make(map[string][]section)
	for len(b) > 0 {
		i := bytes.IndexByte(b, ';')
		if i < 0 {
			break
		}
		b = skipComments(b[i+1:])
		var name string
		name, b = cutToken(b)
		rest := skipComments(b)
		if name == "" || len(rest) == 0 || rest[0] != '=' {
			continue
		}
		if !left.takeParam() {
			break
		}
		base, s := splitName(name)
		s.value, b = cutValue(skipSpace(rest[1:]), base)
		if _, ok := sections[base]; !ok {
			names = append(names, base)
		}
		sections[base] = append(sections[base], s)
	}
	var params []*mailv1.Param
	for _, name := range names {
		params = append(params, &mailv1.Param{Name: name, Value: joinSections(name, sections[name])})
	}
	return params
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

// splitName takes the asterisks of RFC 2231 off a parameter's name: name, name*, name*3, name*3*.
func splitName(name string) (string, section) {
	s := section{index: -1}
	full := name
	if n, ok := strings.CutSuffix(name, "*"); ok {
		name, s.extended = n, true
	}
	if i := strings.LastIndexByte(name, '*'); i >= 0 {
		n, err := strconv.ParseUint(name[i+1:], 10, 16)
		if err != nil {
			return full, section{index: -1}
		}
		name, s.index = name[:i], int(n)
	}
	if name == "" {
		return full, section{index: -1}
	}
	return strings.ToLower(name), s
}

// cutValue reads a parameter's value, and what follows it.
func cutValue(b []byte, name string) (value, rest []byte) {
	if len(b) > 0 && b[0] == '"' {
		value, rest, _ = quoted(b) // one that does not end is read to the end
		return value, rest
	}
	isName := name == "name" || name == "filename"
	if !isName {
		b = skipComments(b)
	}
	n := bytes.IndexByte(b, ';')
	if n < 0 {
		n = len(b)
	}
	value, rest = b[:n], b[n:]
	if !isName { // RFC 2045 section 5.1: "us-ascii (Plain text)"
		if i := bytes.IndexByte(value, '('); i >= 0 {
			value = value[:i]
		}
	}
	return bytes.TrimRight(value, " \t"), rest
}

// joinSections makes one value of a parameter's sections: an extended value (RFC 2231 section 4) or continuations
// (section 3) win over a plain one, which old readers are given besides.
func joinSections(name string, all []section) []byte {
	var pieces []section
	if i := slices.IndexFunc(all, func(s section) bool { return s.index < 0 && s.extended }); i >= 0 {
		pieces = all[i : i+1]
	} else {
		numbered := slices.DeleteFunc(slices.Clone(all), func(s section) bool { return s.index < 0 })
		slices.SortStableFunc(numbered, func(a, b section) int { return a.index - b.index })
		for _, s := range numbered {
			if s.index == len(pieces) {
				pieces = append(pieces, s)
			}
		}
	}
	if len(pieces) == 0 {
		i := max(0, slices.IndexFunc(all, func(s section) bool { return s.index < 0 }))
		return decodePlain(name, all[i].value)
	}
	var out []byte
	charset := ""
	extended := false
	for i, s := range pieces {
		value := s.value
		if s.extended {
			if i == 0 {
				if parts := bytes.SplitN(value, []byte("'"), 3); len(parts) == 3 {
					charset, value = string(parts[0]), parts[2]
				}
			}
			extended = true
			value = percentDecode(value)
		}
		out = append(out, value...)
	}
	switch {
	case extended && text.Known(charset):
		return clean([]byte(text.DecodeString(out, charset)))
	case !extended:
		return decodePlain(name, out)
	}
	return clean(out)
}

// decodePlain decodes the encoded words and raw octets that senders put into file names against RFC 2047 section 5.
func decodePlain(name string, value []byte) []byte {
	if name == "name" || name == "filename" {
		return []byte(text.DecodeHeader(value))
	}
	return clean(value)
}

func percentDecode(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if v, err := strconv.ParseUint(string(b[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(v))
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// clean removes NUL, CR and LF, which no quoted string of IMAP may carry.
func clean(b []byte) []byte {
	return slices.DeleteFunc(b, isUnsafe)
}

func isUnsafe(c byte) bool { return c == 0 || c == '\r' || c == '\n' }
