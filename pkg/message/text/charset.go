package text

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// aliases are names that mail uses and the registries lack or map to nothing useful.
var aliases = map[string]encoding.Encoding{
	"cp932":          japanese.ShiftJIS,
	"ms932":          japanese.ShiftJIS,
	"cp50220":        japanese.ISO2022JP,
	"cp50221":        japanese.ISO2022JP,
	"iso-2022-jp-1":  japanese.ISO2022JP,
	"iso-2022-jp-2":  japanese.ISO2022JP,
	"iso-2022-jp-3":  japanese.ISO2022JP,
	"iso-2022-jp-ms": japanese.ISO2022JP,
	"cp51932":        japanese.EUCJP,
	"eucjp":          japanese.EUCJP,
	"eucjp-ms":       japanese.EUCJP,
	"cp936":          simplifiedchinese.GB18030,
	"gb2312":         simplifiedchinese.GB18030,
	"gbk":            simplifiedchinese.GB18030,
	"hz-gb-2312":     simplifiedchinese.HZGB2312,
	"cp949":          korean.EUCKR,
	"utf-16":         unicode.UTF16(unicode.BigEndian, unicode.UseBOM), // RFC 2781 section 4.3; the web means little-endian
}

// guessed are names that say nothing: senders put them on text of any charset.
var guessed = map[string]bool{
	"": true, "us-ascii": true, "ascii": true, "ansi_x3.4-1968": true, "unknown-8bit": true,
	"x-unknown": true, "unknown": true, "default": true, "default_charset": true, "_autodetect": true,
}

// Known tells whether the charset of a MIME parameter can be decoded. No name is known: it means US-ASCII.
func Known(charset string) bool {
	name := normalise(charset)
	return guessed[name] || lookup(name) != nil
}

// normalise takes the name out of what senders write: quotes, a language (RFC 2231 section 5), trailing rubbish.
func normalise(charset string) string {
	name := strings.ToLower(strings.Trim(charset, " \t\r\n\"'"))
	if i := strings.IndexAny(name, "* \t;,"); i >= 0 {
		name = name[:i]
	}
	return name
}

// lookup finds the encoding of a normalised name, or nil. The web's table comes first:
// it reads ISO-8859-1 as Windows-1252, as mail clients do.
func lookup(name string) encoding.Encoding {
	if e, ok := aliases[name]; ok {
		return e
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e
	}
	return nil
}

// guess decides what raw octets are: UTF-8 if valid, ISO-2022-JP if they have its escape
// sequences, Windows-1252 otherwise. If more follows, a character that the end of b cuts does not count.
func guess(b []byte, more bool) encoding.Encoding {
	if hasISO2022(b) {
		return japanese.ISO2022JP
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			if more && !utf8.FullRune(b) {
				break
			}
			return charmap.Windows1252
		}
		b = b[n:]
	}
	return unicode.UTF8
}

func hasISO2022(b []byte) bool {
	return bytes.Contains(b, []byte("\x1b$B")) || bytes.Contains(b, []byte("\x1b$@")) || bytes.Contains(b, []byte("\x1b(I"))
}

// DecodeCharset reads r as UTF-8. An absent or unknown charset, and US-ASCII, is guessed where
// the first octet occurs that is not plain ASCII.
func DecodeCharset(r io.Reader, charset string) io.Reader {
	name := normalise(charset)
	if e := lookup(name); e != nil && !guessed[name] {
		return transform.NewReader(r, e.NewDecoder())
	}
	return &guessReader{src: bufio.NewReaderSize(r, guessBytes)}
}

// DecodeString is DecodeCharset for octets in memory. The result is valid UTF-8.
func DecodeString(b []byte, charset string) string {
	name := normalise(charset)
	e := lookup(name)
	if e == nil || guessed[name] {
		e = guess(b, false)
	}
	out, err := e.NewDecoder().Bytes(b)
	if err != nil { // decoders replace, they do not fail; keep what there is all the same
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

const guessBytes = 4096

// guessReader passes ASCII through and decides for a charset at the first octet that is not.
type guessReader struct {
	src     *bufio.Reader
	decoded io.Reader
}

func (g *guessReader) Read(p []byte) (int, error) {
	if g.decoded != nil {
		return g.decoded.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := g.src.Peek(1); err != nil {
		return 0, err
	}
	ahead, _ := g.src.Peek(min(len(p), g.src.Buffered()))
	n := bytes.IndexFunc(ahead, func(r rune) bool { return r >= utf8.RuneSelf || r == 0x1b })
	switch {
	case n < 0:
		n = len(ahead)
	case n == 0:
		sample, _ := g.src.Peek(guessBytes) // a failure to read comes back from the next Read
		g.decoded = transform.NewReader(g.src, guess(sample, len(sample) == guessBytes).NewDecoder())
		return g.decoded.Read(p)
	}
	return g.src.Read(p[:n])
}
