package render

import (
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// AppendEnvelope appends the parenthesised envelope (RFC 9051 section 7.5.2). allowUTF8: the client has enabled UTF8=ACCEPT.
// A nil envelope has NIL in all places.
func AppendEnvelope(dst []byte, e *mailv1.Envelope, allowUTF8 bool) []byte {
	dst = append(dst, '(')
	dst = appendField(dst, e.GetDate(), e.GetEmptyDate(), allowUTF8)
	dst = append(dst, ' ')
	dst = appendField(dst, e.GetSubject(), e.GetEmptySubject(), allowUTF8)
	from, sender, replyTo := e.GetFrom(), e.GetSender(), e.GetReplyTo()
	// The server fills in the defaults, so that a client need not.
	if len(sender) == 0 {
		sender = from
	}
	if len(replyTo) == 0 {
		replyTo = from
	}
	for _, list := range [...][]*mailv1.Address{from, sender, replyTo, e.GetTo(), e.GetCc(), e.GetBcc()} {
		dst = append(dst, ' ')
		dst = appendAddresses(dst, list, allowUTF8)
	}
	dst = append(dst, ' ')
	dst = appendField(dst, e.GetInReplyTo(), e.GetEmptyInReplyTo(), allowUTF8)
	dst = append(dst, ' ')
	dst = appendField(dst, e.GetMessageId(), e.GetEmptyMessageId(), allowUTF8)
	return append(dst, ')')
}

// appendField tells an absent field (NIL) from an empty one.
func appendField(dst, value []byte, empty, allowUTF8 bool) []byte {
	if empty {
		return append(dst, `""`...)
	}
	return appendNText(dst, value, allowUTF8)
}

// appendAddresses appends a list of addresses, which must not be empty: NIL then.
func appendAddresses(dst []byte, list []*mailv1.Address, allowUTF8 bool) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for _, a := range list {
		dst = append(dst, '(')
		dst = appendOptional(dst, a.GetName(), allowUTF8)
		dst = append(dst, ' ')
		dst = appendOptional(dst, a.GetAdl(), allowUTF8)
		dst = append(dst, ' ')
		dst = appendOptional(dst, a.GetMailbox(), allowUTF8)
		dst = append(dst, ' ')
		dst = appendDomain(dst, a.GetHost(), allowUTF8)
		dst = append(dst, ')')
	}
	return append(dst, ')')
}

// appendOptional tells an absent value (NIL, which marks groups) from an empty one.
func appendOptional(dst, value []byte, allowUTF8 bool) []byte {
	if value == nil {
		return append(dst, "NIL"...)
	}
	return appendText(dst, value, allowUTF8)
}
