package render

import (
	"strconv"
	"strings"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// AppendBody appends BODYSTRUCTURE, or BODY, which has no extension data, if not extended (RFC 9051 section 7.5.2).
// allowUTF8: the client has enabled UTF8=ACCEPT.
func AppendBody(dst []byte, root *mailv1.Part, extended, allowUTF8 bool) []byte {
	return bodyWriter{extended: extended, utf8: allowUTF8}.part(dst, root)
}

type bodyWriter struct {
	extended, utf8 bool
}

func isMultipart(p *mailv1.Part) bool { return strings.EqualFold(p.GetType(), "multipart") }

// isMessage: a message that was parsed as one. One that could not be has no embedded message to show.
func isMessage(p *mailv1.Part) bool {
	return isMessageType(p) && len(p.GetChildren()) > 0
}

func isMessageType(p *mailv1.Part) bool {
	return strings.EqualFold(p.GetType(), "message") &&
		(strings.EqualFold(p.GetSubtype(), "rfc822") || strings.EqualFold(p.GetSubtype(), "global"))
}

// children are the parts of a multipart, of which the grammar wants at least one: an empty multipart has its body as text.
func children(p *mailv1.Part) []*mailv1.Part {
	if kids := p.GetChildren(); len(kids) > 0 {
		return kids
	}
	return []*mailv1.Part{{
		Type: "text", Subtype: "plain", Encoding: p.GetEncoding(), Lines: p.GetLines(),
		HeaderOffset: p.GetBodyOffset(),
		BodyOffset:   p.GetBodyOffset(), BodySize: p.GetBodySize(),
	}}
}

func (w bodyWriter) part(dst []byte, p *mailv1.Part) []byte {
	dst = append(dst, '(')
	if isMultipart(p) {
		dst = w.multipart(dst, p)
	} else {
		dst = w.single(dst, p)
	}
	return append(dst, ')')
}

func (w bodyWriter) multipart(dst []byte, p *mailv1.Part) []byte {
	for _, child := range children(p) {
		dst = w.part(dst, child)
	}
	dst = append(dst, ' ')
	subtype := p.GetSubtype()
	if subtype == "" {
		subtype = "mixed"
	}
	dst = w.text(dst, subtype)
	if w.extended {
		dst = append(dst, ' ')
		dst = w.params(dst, p.GetParams())
		dst = w.extension(dst, p)
	}
	return dst
}

func (w bodyWriter) single(dst []byte, p *mailv1.Part) []byte {
	typ, subtype := p.GetType(), p.GetSubtype()
	switch {
	case typ == "":
		typ, subtype = "text", "plain"
	case isMessageType(p) && !isMessage(p):
		// The grammar demands an envelope and a body of a message.
		typ, subtype = "application", "octet-stream"
	}
	dst = w.text(dst, typ)
	dst = append(dst, ' ')
	dst = w.text(dst, subtype)
	dst = append(dst, ' ')
	dst = w.params(dst, p.GetParams())
	dst = append(dst, ' ')
	dst = appendNText(dst, p.GetId(), w.utf8)
	dst = append(dst, ' ')
	dst = appendNText(dst, p.GetDescription(), w.utf8)
	dst = append(dst, ' ')
	encoding := p.GetEncoding()
	if encoding == "" {
		encoding = "7BIT"
	}
	dst = w.text(dst, encoding)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, p.GetBodySize(), 10)
	if isMessage(p) {
		dst = append(dst, ' ')
		dst = AppendEnvelope(dst, p.GetEnvelope(), w.utf8)
		dst = append(dst, ' ')
		dst = w.part(dst, p.GetChildren()[0])
	}
	if isMessage(p) || strings.EqualFold(typ, "text") {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, p.GetLines(), 10)
	}
	if w.extended {
		dst = append(dst, ' ')
		dst = appendNText(dst, p.GetMd5(), w.utf8)
		dst = w.extension(dst, p)
	}
	return dst
}

// extension appends the extension data that all parts share: disposition, language, location.
func (w bodyWriter) extension(dst []byte, p *mailv1.Part) []byte {
	dst = append(dst, ' ')
	if p.GetDisposition() == "" {
		dst = append(dst, "NIL"...)
	} else {
		dst = append(dst, '(')
		dst = w.text(dst, p.GetDisposition())
		dst = append(dst, ' ')
		dst = w.params(dst, p.GetDispositionParams())
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	dst = w.languages(dst, p.GetLanguages())
	dst = append(dst, ' ')
	return appendNText(dst, p.GetLocation(), w.utf8)
}

func (w bodyWriter) languages(dst []byte, tags []string) []byte {
	if len(tags) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i, tag := range tags {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = w.text(dst, tag)
	}
	return append(dst, ')')
}

// params appends parameters, NIL if there are none; one without a name says nothing.
func (w bodyWriter) params(dst []byte, params []*mailv1.Param) []byte {
	start := len(dst)
	for _, p := range params {
		name := readable([]byte(p.GetName()), w.utf8)
		if len(name) == 0 {
			continue
		}
		dst = append(dst, ' ')
		dst = wire.AppendString(dst, name, w.utf8)
		dst = append(dst, ' ')
		dst = appendText(dst, p.GetValue(), w.utf8)
	}
	if len(dst) == start {
		return append(dst, "NIL"...)
	}
	dst[start] = '('
	return append(dst, ')')
}

func (w bodyWriter) text(dst []byte, s string) []byte { return appendText(dst, []byte(s), w.utf8) }
