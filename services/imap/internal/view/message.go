package view

import (
	"strings"
	"unique"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Message is what a view knows of a message, in 48 bytes.
type Message struct {
	UID uint32
	// Flags are bits of storagev1.Flag.
	Flags uint8
	// keywords are joined by spaces and interned: few sets are in use, by many messages.
	keywords unique.Handle[string]
	ModSeq   uint64
	// Size in octets, as RFC822.SIZE tells.
	Size uint64
	// Internal is INTERNALDATE in Unix seconds.
	Internal int64
	// Saved is SAVEDATE (RFC 8514) in Unix seconds.
	Saved int64
}

var noKeywords = unique.Make("")

// messageOf makes a Message of what storage tells.
func messageOf(s *storagev1.MessageState) Message {
	keywords := noKeywords
	if len(s.GetKeywords()) > 0 {
		keywords = unique.Make(strings.Join(s.GetKeywords(), " "))
	}
	return Message{
		UID:      s.GetUid(),
		Flags:    uint8(s.GetFlags()),
		keywords: keywords,
		ModSeq:   s.GetModseq(),
		Size:     s.GetSize(),
		Internal: s.GetInternalUnix(),
		Saved:    s.GetSavedUnix(),
	}
}

// Keywords gives the keywords in the order storage gave them, nil if there are none.
func (m Message) Keywords() []string {
	if m.keywords == noKeywords {
		return nil
	}
	return strings.Split(m.keywords.Value(), " ")
}

// HasKeyword tells whether the message has a keyword, whatever its case (RFC 9051 section 2.3.2).
func (m Message) HasKeyword(keyword string) bool {
	if m.keywords == noKeywords {
		return false
	}
	for k := range strings.SplitSeq(m.keywords.Value(), " ") {
		if strings.EqualFold(k, keyword) {
			return true
		}
	}
	return false
}

// Has tells whether all the flag bits are set.
func (m Message) Has(flags storagev1.Flag) bool {
	return storagev1.Flag(m.Flags)&flags == flags
}

// sameFlags tells whether a client would see the same FLAGS.
func (m Message) sameFlags(o Message) bool {
	return m.Flags == o.Flags && m.keywords == o.keywords
}

// KeywordSet gives all keywords as one string, to be compared.
func (m Message) KeywordSet() string { return m.keywords.Value() }
