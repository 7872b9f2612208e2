package text

import (
	"io"
	"strings"
)

// KnownEncoding tells whether TransferDecode understands a Content-Transfer-Encoding; others pass undecoded
// (IMAP answers UNKNOWN-CTE for them: RFC 3516 section 4.3).
func KnownEncoding(encoding string) bool {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		return true
	}
	return false
}

// TransferDecode reads r with its Content-Transfer-Encoding (RFC 2045 section 6) undone. It is tolerant: foreign characters in base64
// are skipped, broken quoted-printable escapes stay as they are. Its errors are those of r.
func TransferDecode(r io.Reader, encoding string) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return &decodeReader{src: r, codec: &base64Decoder{}}
	case "quoted-printable":
		return &decodeReader{src: r, codec: &qpDecoder{}}
	}
	return r
}

// DecodePart reads the body of a text part as UTF-8: transfer encoding, then charset.
func DecodePart(r io.Reader, encoding, charset string) io.Reader {
	return DecodeCharset(TransferDecode(r, encoding), charset)
}

// codec decodes a stream in pieces of any length.
type codec interface {
	// decode appends what src yields to dst.
	decode(dst, src []byte) []byte
	// finish appends what waited for more input.
	finish(dst []byte) []byte
}

// decodeReader runs a codec over a reader.
type decodeReader struct {
	src   io.Reader
	codec codec
	in    [4096]byte
	out   []byte // decoded, not yet read
	buf   []byte // what out is a slice of
	err   error
}

func (d *decodeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.src.Read(d.in[:])
		d.buf = d.codec.decode(d.buf[:0], d.in[:n])
		if err != nil {
			d.err = err
			d.buf = d.codec.finish(d.buf)
		}
		d.out = d.buf
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// base64Decoder keeps the bits of an unfinished quantum. Padding ends a quantum, not the data:
// some senders concatenate encoded pieces.
type base64Decoder struct {
	bits  uint32
	count int
}

var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	return t
}()

func (d *base64Decoder) decode(dst, src []byte) []byte {
	for _, c := range src {
		if c == '=' {
			dst = d.finish(dst)
			continue
		}
		v := base64Values[c]
		if v == 0xff {
			continue
		}
		d.bits = d.bits<<6 | uint32(v)
		d.count++
		if d.count == 4 {
			dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
			d.bits, d.count = 0, 0
		}
	}
	return dst
}

func (d *base64Decoder) finish(dst []byte) []byte {
	switch d.count {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.count = 0, 0
	return dst
}

// qpDecoder holds back white space, which the end of a line would void (RFC 2045 section 6.7 rule 3), and
// the start of an escape.
type qpDecoder struct {
	space  []byte
	escape []byte // "=", and what followed it so far
}

// maxSpace of white space is held back; more than that is no padding.
const maxSpace = 1024

func (q *qpDecoder) decode(dst, src []byte) []byte {
	for _, c := range src {
		if len(q.escape) > 0 {
			var again bool
			dst, again = q.unescape(dst, c)
			if !again {
				continue
			}
		}
		switch c {
		case ' ', '\t', '\r':
			if len(q.space) >= maxSpace {
				dst = q.flush(dst)
			}
			q.space = append(q.space, c)
		case '\n':
			if n := len(q.space); n > 0 && q.space[n-1] == '\r' {
				dst = append(dst, '\r')
			}
			dst = append(dst, '\n')
			q.space = q.space[:0]
		case '=':
			dst = q.flush(dst)
			q.escape = append(q.escape, '=')
		default:
			dst = append(q.flush(dst), c)
		}
	}
	return dst
}

// unescape takes the next octet of an escape; again means that it is not part of it.
func (q *qpDecoder) unescape(dst []byte, c byte) (_ []byte, again bool) {
	_, isHex := hexDigit(c)
	switch {
	case len(q.escape) == 1 && isHex:
		q.escape = append(q.escape, c)
		return dst, false
	case len(q.escape) == 2 && isHex && q.escape[1] > ' ':
		v, _ := hexPair(q.escape[1], c)
		q.escape = q.escape[:0]
		return append(dst, v), false
	case c == '\n' && (len(q.escape) == 1 || q.escape[1] <= ' '): // soft line break, padded or not
		q.escape = q.escape[:0]
		return dst, false
	case (c == ' ' || c == '\t' || c == '\r') && len(q.escape) < maxSpace && (len(q.escape) == 1 || q.escape[1] <= ' '):
		q.escape = append(q.escape, c)
		return dst, false
	}
	dst = append(dst, q.escape...)
	q.escape = q.escape[:0]
	return dst, true
}

func (q *qpDecoder) flush(dst []byte) []byte {
	dst = append(dst, q.space...)
	q.space = q.space[:0]
	return dst
}

func (q *qpDecoder) finish(dst []byte) []byte {
	if len(q.escape) > 1 && q.escape[1] > ' ' { // "=A" cut off; "=" alone is a soft line break
		dst = append(dst, q.escape...)
	}
	q.escape = q.escape[:0]
	return q.flush(dst)
}
