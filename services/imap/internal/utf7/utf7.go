// Package utf7 converts mailbox names between UTF-8 and the modified UTF-7 of
// RFC 3501 section 5.1.3.
package utf7

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrInvalid is a name that is not the canonical modified UTF-7 form of any text.
var ErrInvalid = errors.New("invalid modified UTF-7")

var base64Enc = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// direct reports whether c stands for itself (RFC 3501: printable US-ASCII except "&").
func direct(c byte) bool { return c >= 0x20 && c <= 0x7e && c != '&' }

// Encode returns the modified UTF-7 form of s. Octets that are not UTF-8 become U+FFFD.
func Encode(s string) string {
	plain := true
	for i := range len(s) {
		if !direct(s[i]) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	out := make([]byte, 0, len(s)*2)
	for len(s) > 0 {
		switch {
		case s[0] == '&':
			out = append(out, "&-"...)
			s = s[1:]
		case direct(s[0]):
			out = append(out, s[0])
			s = s[1:]
		default:
			n := 1
			for n < len(s) && !direct(s[n]) && s[n] != '&' {
				n++
			}
			out = append(out, '&')
			out = base64Enc.AppendEncode(out, utf16BE(s[:n]))
			out = append(out, '-')
			s = s[n:]
		}
	}
	return string(out)
}

func utf16BE(s string) []byte {
	out := make([]byte, 0, len(s)*2)
	for _, r := range s {
		if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
			out = append(out, byte(r1>>8), byte(r1), byte(r2>>8), byte(r2))
			continue
		}
		out = append(out, byte(r>>8), byte(r))
	}
	return out
}

// Decode returns the text that s stands for. Any s that Encode would not have made is ErrInvalid, so that
// two different names never decode to the same mailbox.
func Decode(s string) (string, error) {
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		if s[0] != '&' {
			if !direct(s[0]) {
				return "", ErrInvalid
			}
			out = append(out, s[0])
			s = s[1:]
			continue
		}
		end := shiftEnd(s)
		if end < 0 {
			return "", ErrInvalid
		}
		text, ok := shifted(s[1:end])
		if !ok {
			return "", ErrInvalid
		}
		s = s[end+1:]
		// "&AAA-&AAA-" would be a second spelling of one sequence.
		if end > 1 && len(s) > 1 && s[0] == '&' && s[1] != '-' {
			return "", ErrInvalid
		}
		out = append(out, text...)
	}
	return string(out), nil
}

// DecodeTolerant decodes what can be decoded and leaves the rest as it is: some clients send "&" or raw UTF-8.
func DecodeTolerant(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		if s[0] == '&' {
			if end := shiftEnd(s); end > 0 {
				if text, ok := shifted(s[1:end]); ok {
					out = append(out, text...)
					s = s[end+1:]
					continue
				}
			}
		}
		next := strings.IndexByte(s[1:], '&') + 1
		if next == 0 {
			next = len(s)
		}
		out = append(out, s[:next]...)
		s = s[next:]
	}
	return string(out)
}

// shiftEnd is where the "-" of the run that s begins with is, -1 if the run has none. It looks at the run only, so
// that a name full of "&" takes linear time.
func shiftEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '-':
			return i
		case c == '+', c == ',', c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		default:
			return -1
		}
	}
	return -1
}

// shifted decodes what stands between "&" and "-".
func shifted(s string) (string, bool) {
	if s == "" {
		return "&", true
	}
	raw, err := base64Enc.DecodeString(s)
	if err != nil || len(raw) == 0 || len(raw)%2 != 0 {
		return "", false
	}
	out := make([]byte, 0, len(raw)*3/2)
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if utf16.IsSurrogate(r) {
			i += 2
			if i >= len(raw) {
				return "", false
			}
			r = utf16.DecodeRune(r, rune(raw[i])<<8|rune(raw[i+1]))
			if r == utf8.RuneError {
				return "", false
			}
		}
		// What stands for itself must not be shifted.
		if r < 0x80 && (direct(byte(r)) || r == '&') {
			return "", false
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), true
}
