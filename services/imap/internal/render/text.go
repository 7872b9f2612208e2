package render

import (
	"bytes"
	"mime"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/yubin-mail/yubin/pkg/message/text"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

const maxDomain = 255

// appendText appends a header value as a string.
func appendText(dst, value []byte, allowUTF8 bool) []byte {
	return wire.AppendString(dst, readable(value, allowUTF8), allowUTF8)
}

// appendNText is appendText with NIL for an absent value.
func appendNText(dst, value []byte, allowUTF8 bool) []byte {
	if len(value) == 0 {
		return append(dst, "NIL"...)
	}
	return appendText(dst, value, allowUTF8)
}

// isPlain: US-ASCII without controls.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

// readable makes a header value fit for a string: raw octets become encoded words or UTF-8, controls spaces.
func readable(value []byte, allowUTF8 bool) []byte {
	if isPlain(value) {
		return value
	}
	words := bytes.FieldsFunc(value, func(r rune) bool { return r == ' ' || r < 0x20 && r != 0x1b || r == 0x7f })
	var out bytes.Buffer
	for i := 0; i < len(words); {
		if i > 0 {
			out.WriteByte(' ')
		}
		if isPlain(words[i]) {
			out.Write(words[i])
			i++
			continue
		}
		end := i + 1
		for end < len(words) && !isPlain(words[end]) {
			end++
		}
		run := text.DecodeHeader(bytes.Join(words[i:end], []byte(" ")))
		if allowUTF8 {
			out.WriteString(run)
		} else {
			// White space between encoded words is dropped by who decodes them (RFC 2047 section 6.2): it goes inside.
			if i > 0 && isEncodedWord(words[i-1]) {
				run = " " + run
			}
			if end < len(words) && isEncodedWord(words[end]) {
				run += " "
			}
			out.WriteString(encodeWords(run))
		}
		i = end
	}
	return out.Bytes()
}

func isEncodedWord(b []byte) bool {
	return bytes.HasPrefix(b, []byte("=?")) && bytes.HasSuffix(b, []byte("?="))
}

// encodeWords encodes s as encoded words of at most 75 characters, in the shorter of the two encodings.
func encodeWords(s string) string {
	high := 0
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			high++
		}
	}
	// Q takes three characters for an octet above 127, B four for any three octets.
	if high*6 > len(s) {
		return mime.BEncoding.Encode("utf-8", s)
	}
	return mime.QEncoding.Encode("utf-8", s)
}

// appendDomain appends the host of an address as a string or NIL.
func appendDomain(dst, host []byte, allowUTF8 bool) []byte {
	if host == nil {
		return append(dst, "NIL"...)
	}
	if allowUTF8 || isPlain(host) || len(host) > maxDomain || !utf8.Valid(host) {
		return appendText(dst, host, allowUTF8)
	}
	ascii, err := idna.Punycode.ToASCII(string(host))
	if err != nil {
		return appendText(dst, host, allowUTF8)
	}
	return appendText(dst, []byte(ascii), allowUTF8)
}
