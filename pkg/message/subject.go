package message

import "strings"

// maxSubject octets of a subject are looked at for its base.
const maxSubject = 2048

// BaseSubject removes the marks of replies and forwards from a decoded subject (RFC 5256 section 2.1), and tells whether there
// were any. Only the first 2,048 octets count.
func BaseSubject(decoded string) (base string, reply bool) {
	if len(decoded) > maxSubject {
		decoded = strings.ToValidUTF8(decoded[:maxSubject], "")
	}
	s := strings.Join(strings.FieldsFunc(decoded, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
	for {
		var changed bool
		if s, changed = trimTrailer(s); changed {
			reply = true
		}
		for {
			rest, isReply := trimLeader(s)
			reply = reply || isReply
			blobless, ok := trimBlob(rest)
			if ok && blobless != "" {
				rest = blobless
			}
			if rest == s {
				break
			}
			s = rest
		}
		inner, ok := trimForward(s)
		if !ok {
			return s, reply
		}
		reply = true
		s = inner
	}
}

// trimTrailer removes subj-trailer: "(fwd)" and white space at the end.
func trimTrailer(s string) (string, bool) {
	found := false
	for {
		s = strings.TrimRight(s, " \t")
		rest, ok := cutSuffixFold(s, "(fwd)")
		if !ok {
			return s, found
		}
		s, found = rest, true
	}
}

// trimLeader removes subj-leader: white space, or blobs and then "re:", "fw:" or "fwd:", perhaps with a blob before the colon.
func trimLeader(s string) (string, bool) {
	s = strings.TrimLeft(s, " \t")
	rest := s
	for {
		r, ok := trimBlob(rest)
		if !ok {
			break
		}
		rest = r
	}
	for _, mark := range []string{"re", "fwd", "fw"} {
		after, ok := cutPrefixFold(rest, mark)
		if !ok {
			continue
		}
		after = strings.TrimLeft(after, " \t")
		if r, ok := trimBlob(after); ok {
			after = r
		}
		if after, ok := strings.CutPrefix(after, ":"); ok {
			return strings.TrimLeft(after, " \t"), true
		}
	}
	return s, false
}

// trimBlob removes subj-blob: text in square brackets and white space after it.
func trimBlob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[i+2:], " \t"), true
}

// trimForward takes the subject out of "[fwd: subject]".
func trimForward(s string) (string, bool) {
	inner, ok := cutPrefixFold(s, "[fwd:")
	if !ok || !strings.HasSuffix(inner, "]") {
		return s, false
	}
	return strings.TrimSuffix(inner, "]"), true
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func cutSuffixFold(s, suffix string) (string, bool) {
	n := len(s) - len(suffix)
	if n < 0 || !strings.EqualFold(s[n:], suffix) {
		return s, false
	}
	return s[:n], true
}
