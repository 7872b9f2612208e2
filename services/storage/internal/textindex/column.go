package textindex

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

// Columns are the fields of which a segment keeps the texts of all messages side by side: they are short, and most searches are for them. So such a
// search is answered exactly, of some KB a segment.
var Columns = []string{"subject", "from", "to", "cc", "bcc"}

// columnOf gives the row of a segment that has a field, 0 if none has.
func columnOf(field string) int {
	if i := slices.Index(Columns, field); i >= 0 {
		return Chunks + i
	}
	return 0
}

// maxColumn bounds the memory of a column: what is longer makes smaller segments.
const maxColumn = 8 << 20

// column is the texts of a field, message by message.
type column struct {
	sizes []byte // of each message: the octets of its texts doubled, odd if there may be more
	texts strings.Builder
	any   bool // message that has the field, or may have
}

// add adds a message: t is nil if its text is not known. Each text ends with a line feed, which no needle has.
func (c *column) add(field string, t *search.Text) {
	before := c.texts.Len()
	if t != nil {
		for v := range t.Field(field) {
			c.texts.WriteString(v)
			c.texts.WriteByte('\n')
		}
	}
	n := uint64(c.texts.Len()-before) << 1
	if t == nil || t.HeaderPartial {
		n |= 1
	}
	c.any = c.any || n > 0
	c.sizes = binary.AppendUvarint(c.sizes, n)
}

// encode gives the column as it is stored, nil if no message has the field: the octets of the sizes, those, the texts compressed.
func (c *column) encode() ([]byte, error) {
	if !c.any {
		return nil, nil
	}
	return compress(append(binary.AppendUvarint(nil, uint64(len(c.sizes))), c.sizes...), c.texts.String())
}

// findIn gives the messages of a column that have a text, and those that may have it in what the column lacks.
func findIn(b []byte, text string, docs int) (yes, partial Bits, err error) {
	yes, partial = newBits(docs), newBits(docs)
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, ErrSegment
	}
	sizes, rest := b[used:used+int(n)], b[used+int(n):]
	all, err := decompress(rest)
	if err != nil {
		return nil, nil, ErrSegment
	}
	next := strings.Index(all, text)
	end := 0 // of the texts of message i
	for i := range docs {
		v, used := binary.Uvarint(sizes)
		if used <= 0 || v>>1 > uint64(len(all)-end) {
			return nil, nil, ErrSegment
		}
		sizes = sizes[used:]
		if v&1 != 0 {
			partial.set(i)
		}
		if end += int(v >> 1); next < 0 || next >= end {
			continue
		}
		yes.set(i)
		if next = strings.Index(all[end:], text); next >= 0 {
			next += end
		}
	}
	if len(sizes) > 0 || end < len(all) {
		return nil, nil, ErrSegment
	}
	return yes, partial, nil
}
