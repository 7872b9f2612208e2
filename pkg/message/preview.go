package message

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"

	"github.com/yubin-mail/yubin/pkg/message/text"
)

// previewRunes is the longest preview (RFC 8970 section 3.1).
const previewRunes = 256

// preview decodes the beginning of the text that a reader sees first: text/plain, else HTML without its tags.
func preview(r io.ReaderAt, root *mailv1.Part, maxBytes int) (string, error) {
	for _, subtype := range []string{"plain", "html"} {
		part := findText(root, subtype)
		if part == nil {
			continue
		}
		body := io.NewSectionReader(r, int64(part.GetBodyOffset()), min(int64(part.GetBodySize()), int64(maxBytes)))
		s, err := foldSpace(TextReader(body, part), previewRunes)
		if err != nil || s != "" {
			return s, err
		}
	}
	return "", nil
}

// TextReader reads the body of a text part, given as it is in the message, as UTF-8 text: transfer encoding and charset decoded,
// HTML without its tags.
func TextReader(body io.Reader, part *mailv1.Part) io.Reader {
	decoded := text.DecodePart(body, part.GetEncoding(), Charset(part))
	if isType(part, "text", "html") {
		return text.HTMLText(decoded)
	}
	return decoded
}

// findText finds the first part of text/subtype that is no attachment and not of an embedded message.
func findText(part *mailv1.Part, subtype string) *mailv1.Part {
	if isType(part, "text", subtype) && !strings.EqualFold(part.GetDisposition(), "attachment") {
		return part
	}
	if !isMultipart(part) {
		return nil
	}
	for _, child := range part.GetChildren() {
		if found := findText(child, subtype); found != nil {
			return found
		}
	}
	return nil
}

// foldSpace reads up to limit characters, with each run of white space as one space and without what cannot be seen.
func foldSpace(r io.Reader, limit int) (string, error) {
	in := bufio.NewReader(r)
	var out strings.Builder
	n, space := 0, false
	for n < limit {
		c, _, err := in.ReadRune()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		switch {
		case unicode.IsSpace(c) || c == '\u2800' || c == '\u3164':
			space = n > 0
			continue
		case unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == '\u034f' || c == unicode.ReplacementChar:
			continue
		}
		if space {
			space = false
			out.WriteByte(' ')
			if n++; n == limit {
				break
			}
		}
		out.WriteRune(c)
		n++
	}
	return strings.TrimRight(out.String(), " "), nil
}
