package text

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// encodedWord is one "=?charset?encoding?text?=" (RFC 2047 section 2).
type encodedWord struct {
	charset string
	base64  bool
	text    []byte
}

// EncodedWordLen is the length of the encoded word that b begins with, 0 if there is none.
func EncodedWordLen(b []byte) int {
	_, n := parseWord(b)
	return n
}

// parseWord reads an encoded word at the start of b. Spaces in its text are let pass. It looks no
// further than the next question marks, so a scan over many false starts stays linear.
func parseWord(b []byte) (encodedWord, int) {
	if len(b) < 2 || b[0] != '=' || b[1] != '?' {
		return encodedWord{}, 0
	}
	charsetLen := bytes.IndexByte(b[2:min(len(b), 2+80)], '?')
	if charsetLen <= 0 {
		return encodedWord{}, 0
	}
	charset := b[2 : 2+charsetLen]
	if bytes.ContainsAny(charset, " \t\"(),:;<>@[]=") {
		return encodedWord{}, 0
	}
	rest := b[3+charsetLen:]
	if len(rest) < 2 || rest[1] != '?' {
		return encodedWord{}, 0
	}
	word := encodedWord{charset: string(charset)}
	switch rest[0] {
	case 'B', 'b':
		word.base64 = true
	case 'Q', 'q':
	default:
		return encodedWord{}, 0
	}
	rest = rest[2:]
	textLen := bytes.IndexByte(rest, '?')
	if textLen < 0 || textLen+1 >= len(rest) || rest[textLen+1] != '=' {
		return encodedWord{}, 0
	}
	word.text = rest[:textLen]
	return word, len(b) - len(rest) + textLen + 2
}

// octets decodes the word's B or Q encoding (RFC 2047 section 4).
func (w encodedWord) octets() []byte {
	if w.base64 {
		out := make([]byte, 0, base64.StdEncoding.DecodedLen(len(w.text)))
		var d base64Decoder
		return d.finish(d.decode(out, w.text))
	}
	out := make([]byte, 0, len(w.text))
	for i := 0; i < len(w.text); i++ {
		c := w.text[i]
		switch {
		case c == '_':
			c = ' '
		case c == '=' && i+2 < len(w.text):
			if v, ok := hexPair(w.text[i+1], w.text[i+2]); ok {
				c = v
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}

// DecodeHeader decodes the value of an unstructured header field for a reader: unfolds it, decodes encoded words
// wherever they stand (RFC 2047), and guesses the charset of raw octets (UTF-8 if valid, ISO-2022-JP by
// its escape sequences, Windows-1252 otherwise). Neighbouring words of one charset are joined before they are decoded,
// because senders split characters between them. Control characters become spaces. The result is valid UTF-8.
func DecodeHeader(raw []byte) string {
	raw = unfold(raw)
	if !needsDecoding(raw) {
		return string(raw)
	}
	var out strings.Builder
	var pending []byte // octets of the encoded words that wait for a neighbour of the same charset
	charset := ""
	flush := func() {
		if len(pending) > 0 {
			out.WriteString(DecodeString(pending, charset))
		}
		pending, charset = nil, ""
	}
	start := 0 // of the raw text not yet written
	for i := 0; i < len(raw); {
		word, n := parseWord(raw[i:])
		if n == 0 {
			next := bytes.Index(raw[i+1:], []byte("=?"))
			if next < 0 {
				break
			}
			i += 1 + next
			continue
		}
		between := raw[start:i]
		adjacent := charset != "" && len(bytes.TrimLeft(between, " \t")) == 0
		if !adjacent {
			flush()
			out.WriteString(DecodeString(between, ""))
		} else if !strings.EqualFold(charset, word.charset) {
			flush()
		}
		pending = append(pending, word.octets()...)
		charset = word.charset
		i += n
		start = i
	}
	flush()
	out.WriteString(DecodeString(raw[start:], ""))
	return strings.TrimSpace(noControls(out.String()))
}

// unfold removes line ends, and white space around the value.
func unfold(raw []byte) []byte {
	raw = bytes.Trim(raw, " \t\r\n")
	if bytes.IndexByte(raw, '\n') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i, c := range raw {
		if c == '\n' || (c == '\r' && i+1 < len(raw) && raw[i+1] == '\n') {
			continue
		}
		out = append(out, c)
	}
	return out
}

// needsDecoding is false for printable ASCII without encoded words.
func needsDecoding(raw []byte) bool {
	for i, c := range raw {
		if c < ' ' || c >= 0x7f || (c == '=' && i+1 < len(raw) && raw[i+1] == '?') {
			return true
		}
	}
	return false
}

// noControls replaces C0 controls and DEL, which an encoded word can smuggle in, by spaces.
func noControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func hexPair(hi, lo byte) (byte, bool) {
	h, ok1 := hexDigit(hi)
	l, ok2 := hexDigit(lo)
	return h<<4 | l, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
