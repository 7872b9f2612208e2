package wire

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/ianaindex"
)

// charset turns the strings of a SEARCH into UTF-8. Without CHARSET, US-ASCII is meant; UTF-8 is taken (RFC 9051 section 6.4.4).
type charset struct {
	name string
	enc  encoding.Encoding // nil: UTF-8
}

var errCharset = errors.New("octets do not fit the charset")

func (c charset) decode(s string) (string, error) {
	if c.enc == nil {
		if !utf8.ValidString(s) {
			return "", errCharset
		}
		return s, nil
	}
	out, err := c.enc.NewDecoder().String(s)
	if err != nil {
		return "", errCharset
	}
	return out, nil
}

func (d *Decoder) setCharset(name string) {
	d.charset.name = name
	switch name {
	case "UTF-8", "US-ASCII":
		return
	}
	enc, err := ianaindex.MIME.Encoding(name)
	if err != nil || enc == nil {
		d.Refuse("BADCHARSET (UTF-8 US-ASCII)", "unknown charset")
		return
	}
	d.charset.enc = enc
}
