package textindex

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// The vocabulary of a segment is a list of its words and phrases, so that those are found that have a needle as a part: what has one of them has the
// needle. It is asked only if many messages are left of which the index does not know for certain.

// vocabulary is the row of a segment that has it.
var vocabulary = Chunks + len(Columns)

// Rows of a segment: those by number below Chunks are its chunks, then come columns, then the vocabulary.
var Rows = vocabulary + 1

// encodeVocabulary writes terms in their order: the octets of the counts, the number of messages of each, then the terms compressed, each behind a line feed, and one at the end.
func encodeVocabulary(entries []entry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.term, b.term) })
	var counts []byte
	var terms strings.Builder
	terms.WriteByte('\n')
	for _, e := range entries {
		counts = binary.AppendUvarint(counts, uint64(len(e.docs)))
		terms.Write(e.term)
		terms.WriteByte('\n')
	}
	return compress(append(binary.AppendUvarint(nil, uint64(len(counts))), counts...), terms.String())
}

// readVocabulary gives the terms of a zone, "" for all, that have a text as a part, and how many messages have each.
func readVocabulary(b []byte, zone, text string, do func(term string, docs int)) error {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return ErrSegment
	}
	counts, rest := b[used:used+int(n)], b[used+int(n):]
	terms, err := decompress(rest)
	if err != nil || !strings.HasPrefix(terms, "\n") || !strings.HasSuffix(terms, "\n") {
		return ErrSegment
	}
	for at := 0; ; {
		i := strings.Index(terms[at:], text)
		if i < 0 {
			return nil
		}
		i += at
		from, to := strings.LastIndexByte(terms[:i], '\n')+1, i+strings.IndexByte(terms[i:], '\n')
		var docs uint64
		for range strings.Count(terms[at:from], "\n") { // those between, and this one
			if docs, used = binary.Uvarint(counts); used <= 0 {
				return ErrSegment
			}
			counts = counts[used:]
		}
		if strings.HasPrefix(terms[from:to], zone) {
			do(terms[from:to], int(min(docs, SegmentDocs)))
		}
		at = to
	}
}
