package message

import (
	"bytes"
	"strings"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// budget is what is left of the limits of the whole tree.
type budget struct {
	params    int
	addresses int
	exceeded  bool
}

// takeParam tells whether one more parameter may be kept.
func (b *budget) takeParam() bool { return b.take(&b.params) }

// takeAddress tells whether one more address may be kept.
func (b *budget) takeAddress() bool { return b.take(&b.addresses) }

func (b *budget) take(left *int) bool {
	if *left <= 0 {
		b.exceeded = true
		return false
	}
	*left--
	return true
}

// readPartHeader fills a part from its MIME header fields (RFC 2045, 2183, 3066, 1864, 2557) and gives
// the boundary of a multipart. Of a field that occurs twice the first counts.
func readPartHeader(header []byte, part *mailv1.Part, inDigest bool, b *budget) (boundary string) {
	seen := make(map[string]bool)
	for f := range EachHeader(header) {
		if len(f.Name) > len("Content-Transfer-Encoding") || len(f.Name) < 8 || !strings.EqualFold(string(f.Name[:8]), "Content-") {
			continue
		}
		name := strings.ToLower(string(f.Name[8:]))
		if seen[name] {
			continue
		}
		seen[name] = true
		value := Unfold(f.Value)
		switch name {
		case "type":
			part.Type, part.Subtype, part.Params, boundary = readContentType(value, b)
		case "transfer-encoding":
			part.Encoding, _ = cutToken(skipComments(value))
		case "disposition":
			var rest []byte
			part.Disposition, rest = cutToken(skipComments(value))
			part.DispositionParams = readParams(rest, b)
		case "id":
			part.Id = value
		case "description":
			part.Description = value
		case "md5":
			part.Md5 = value
		case "location":
			part.Location = bytes.Join(bytes.Fields(value), nil) // RFC 2557 section 4.4.1
		case "language":
			part.Languages = readLanguages(value, b)
		}
	}
	if part.Type == "" {
		part.Type, part.Subtype, part.Params = "text", "plain", nil
		if inDigest && !seen["type"] { // RFC 2046 section 5.1.5
			part.Type, part.Subtype = "message", "rfc822"
		}
	}
	if part.Encoding == "" {
		part.Encoding = "7BIT"
	}
	return boundary
}

// readContentType reads "type/subtype; parameters" (RFC 2045 section 5.1). The type is empty if the value is unusable,
// which means text/plain (section 5.2).
func readContentType(value []byte, b *budget) (typ, subtype string, params []*mailv1.Param, boundary string) {
	typ, rest := cutToken(skipComments(value))
	rest = skipComments(rest)
	if typ == "" || len(rest) == 0 || rest[0] != '/' {
		return "", "", nil, ""
	}
	subtype, rest = cutToken(skipComments(rest[1:]))
	if subtype == "" {
		return "", "", nil, ""
	}
	params = readParams(rest, b)
	return typ, subtype, params, strings.TrimRight(string(paramValue(params, "boundary")), " \t")
}

// readLanguages reads a list of language tags (RFC 3282).
func readLanguages(value []byte, b *budget) []string {
	var tags []string
	for tag := range bytes.SplitSeq(value, []byte(",")) {
		if token, _ := cutToken(skipComments(tag)); token != "" && b.takeParam() {
			tags = append(tags, token)
		}
	}
	return tags
}

// paramValue is the value of a parameter, nil if it is absent.
func paramValue(params []*mailv1.Param, name string) []byte {
	for _, p := range params {
		if strings.EqualFold(p.GetName(), name) {
			return p.GetValue()
		}
	}
	return nil
}

// Charset is the charset parameter of a part, "" if absent.
func Charset(part *mailv1.Part) string { return string(paramValue(part.GetParams(), "charset")) }

// Filename is the name that a part is offered for saving with, nil if it has none (RFC 2183 section 2.3, or the older name
// parameter of Content-Type).
func Filename(part *mailv1.Part) []byte {
	if name := paramValue(part.GetDispositionParams(), "filename"); len(name) > 0 {
		return name
	}
	return paramValue(part.GetParams(), "name")
}

func isType(part *mailv1.Part, typ, subtype string) bool {
	return strings.EqualFold(part.GetType(), typ) && strings.EqualFold(part.GetSubtype(), subtype)
}

func isMultipart(part *mailv1.Part) bool { return strings.EqualFold(part.GetType(), "multipart") }

func isMessage(part *mailv1.Part) bool {
	return isType(part, "message", "rfc822") || isType(part, "message", "global")
}

// isEncoded tells whether the body has to be decoded before it can be read.
func isEncoded(part *mailv1.Part) bool {
	return strings.EqualFold(part.GetEncoding(), "base64") || strings.EqualFold(part.GetEncoding(), "quoted-printable")
}

func makeText(part *mailv1.Part)   { part.Type, part.Subtype = "text", "plain" }
func makeOpaque(part *mailv1.Part) { part.Type, part.Subtype = "application", "octet-stream" }

// hasAttachment tells whether a part of the tree has a file name or is neither text nor multipart.
func hasAttachment(part *mailv1.Part) bool {
	if !isMultipart(part) && (!strings.EqualFold(part.GetType(), "text") || len(Filename(part)) > 0) {
		return true
	}
	for _, child := range part.GetChildren() {
		if hasAttachment(child) {
			return true
		}
	}
	return false
}
