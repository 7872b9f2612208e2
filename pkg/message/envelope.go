package message

import (
	"bytes"
	"slices"
	"strings"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"

	"github.com/yubin-mail/yubin/pkg/message/text"
)

// readEnvelope makes the envelope of a message header (RFC 9051 section 7.5.2). Of a field that occurs twice the
// first counts, except that destinations are combined (RFC 5322 section 4.5).
func readEnvelope(header []byte, b *budget) *mailv1.Envelope {
	e := &mailv1.Envelope{}
	first := func(to *[]byte, empty *bool, value []byte) {
		if *to == nil {
			*to = present(Unfold(value))
			*empty = len(*to) == 0
		}
	}
	for f := range EachHeader(header) {
		if len(f.Name) > len("In-Reply-To") {
			continue
		}
		switch strings.ToLower(string(f.Name)) {
		case "date":
			first(&e.Date, &e.EmptyDate, f.Value)
		case "subject":
			first(&e.Subject, &e.EmptySubject, f.Value)
		case "in-reply-to":
			first(&e.InReplyTo, &e.EmptyInReplyTo, f.Value)
		case "message-id":
			first(&e.MessageId, &e.EmptyMessageId, f.Value)
		case "from":
			if e.From == nil {
				e.From = readAddresses(f.Value, b)
			}
		case "sender":
			if e.Sender == nil {
				e.Sender = readAddresses(f.Value, b)
			}
		case "reply-to":
			if e.ReplyTo == nil {
				e.ReplyTo = readAddresses(f.Value, b)
			}
		case "to":
			e.To = append(e.To, readAddresses(f.Value, b)...)
		case "cc":
			e.Cc = append(e.Cc, readAddresses(f.Value, b)...)
		case "bcc":
			e.Bcc = append(e.Bcc, readAddresses(f.Value, b)...)
		}
	}
	if len(e.Sender) == 0 {
		e.Sender = e.From
	}
	if len(e.ReplyTo) == 0 {
		e.ReplyTo = e.From
	}
	return e
}

const (
	// maxReferences are kept: the last ones, which are nearest.
	maxReferences = 32
	// maxMessageID octets, as long as a line may be (RFC 5322 section 2.1.1).
	maxMessageID = 998
)

// rootFields is what threads and lists need of the message header.
type rootFields struct {
	messageID   string
	references  []string
	baseSubject string
	sentUnix    int64
}

func (f rootFields) describe(s *mailv1.Structure) {
	s.MessageId = f.messageID
	s.References = f.references
	s.BaseSubject = f.baseSubject
	s.SentUnix = f.sentUnix
}

func readRootFields(header []byte, e *mailv1.Envelope) rootFields {
	var f rootFields
	if ids := messageIDs(e.GetMessageId()); len(ids) > 0 {
		f.messageID = ids[0]
	}
	for h := range EachHeader(header) {
		if h.Is("References") {
			f.references = messageIDs(Unfold(h.Value))
			break
		}
	}
	if len(f.references) == 0 { // only then In-Reply-To counts, and of it the first: what comes behind may be an address (RFC 5256 section 3)
		ids := messageIDs(e.GetInReplyTo())
		f.references = ids[:min(len(ids), 1)]
	}
	f.baseSubject, _ = BaseSubject(text.DecodeHeader(e.GetSubject()))
	if t, ok := ParseDate(e.GetDate()); ok {
		f.sentUnix = t.Unix()
	}
	return f
}

// messageIDs gives the last 32 message ids of a field (RFC 5322 section 3.6.4), without angle brackets. A value that has no angle
// brackets at all is one id, if it has no white space.
func messageIDs(value []byte) []string {
	var ids []string
	add := func(id []byte) {
		id = bytes.TrimSpace(id)
		if len(id) == 0 || len(id) > maxMessageID {
			return
		}
		ids = append(ids, strings.ToValidUTF8(string(id), "\uFFFD"))
		if len(ids) > maxReferences {
			ids = slices.Delete(ids, 0, 1)
		}
	}
	if bytes.IndexByte(value, '<') < 0 {
		if !bytes.ContainsAny(value, " \t") {
			add(value)
		}
		return ids
	}
	for {
		_, after, ok := bytes.Cut(value, []byte("<"))
		if !ok {
			return ids
		}
		id, rest, ok := bytes.Cut(after, []byte(">"))
		if !ok {
			return ids
		}
		if i := bytes.LastIndexByte(id, '<'); i >= 0 {
			id = id[i+1:]
		}
		add(id)
		value = rest
	}
}
