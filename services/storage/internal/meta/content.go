package meta

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Content is what the copies of one message share: the body and what was parsed of it. EMAILID (RFC 8474) is its id.
type Content struct {
	// ID is unique, of characters that an objectid may have (RFC 8474 section 7), at most 64 octets.
	ID       string
	Location body.Location

	parsed             *mailv1.Structure
	header             []byte
	summary, structure []byte
}

// MaxStoredHeader bounds the header octets kept in the database; longer headers are read from the body.
const MaxStoredHeader = 64 << 10

// NewContent makes a content of what was parsed, without a location yet. header is the message header, empty if it is
// longer than MaxStoredHeader. What list views need is marshalled apart from the MIME tree, which may be large.
func NewContent(id string, parsed *mailv1.Structure, header []byte) (*Content, error) {
	c := &Content{ID: id, parsed: parsed, header: header}
	head := proto.CloneOf(parsed)
	head.Root = nil
	var err error
	if c.summary, err = proto.Marshal(head); err != nil {
		return nil, fmt.Errorf("marshal summary: %w", err)
	}
	if c.structure, err = proto.Marshal(parsed.GetRoot()); err != nil {
		return nil, fmt.Errorf("marshal structure: %w", err)
	}
	return c, nil
}

// insertContent writes the row of a content in an account. refs counts the message rows that follow, share is the
// content's part of its object's live bytes.
func (t *tx) insertContent(account, thread string, c *Content, refs int, share int64) error {
	l := c.Location
	_, err := t.exec(`INSERT INTO contents (account_id, content_id, refs, object_key, object_offset, stored_size, raw_size, raw_sum,
			pack_share, thread_id, sent_unix, header_size, header, summary, structure)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		account, c.ID, refs, l.Object, l.Offset, l.Stored, l.Size, int64(l.Sum),
		share, thread, c.parsed.GetSentUnix(), int64(c.parsed.GetRoot().GetHeaderSize()),
		nonNil(c.header), nonNil(c.summary), nonNil(c.structure))
	return err
}

// nonNil keeps an empty blob from becoming NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// ref counts new message rows for their contents.
func (t *tx) ref(account string, mailbox uint64, r uidset.Range) error {
	_, err := t.exec(`UPDATE contents SET refs = refs + n FROM (
			SELECT content_id AS id, COUNT(*) AS n FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ? GROUP BY content_id
		) AS added WHERE account_id = ? AND content_id = added.id`, account, mailbox, r.Start, r.Stop, account)
	return err
}

// unref takes message rows from contents. A content without any goes, and its object has that much less alive.
func (t *tx) unref(account string, ids []string) error {
	dead := map[string]objectUse{}
	counts := counted(ids)
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		var object string
		var share int64
		err := t.row(`UPDATE contents SET refs = refs - ? WHERE account_id = ? AND content_id = ? RETURNING CASE WHEN refs <= 0 THEN object_key ELSE '' END, pack_share`,
			counts[id], account, id).Scan(&object, &share)
		switch {
		case errors.Is(err, sql.ErrNoRows), err == nil && object == "":
			continue
		case err != nil:
			return err
		}
		if _, err := t.exec(`DELETE FROM contents WHERE account_id = ? AND content_id = ?`, account, id); err != nil {
			return err
		}
		use := dead[object]
		dead[object] = objectUse{use.bytes + share, use.refs + 1}
	}
	for _, object := range slices.Sorted(maps.Keys(dead)) {
		_, err := t.exec(`UPDATE packs SET live_bytes = live_bytes - ?, live_refs = live_refs - ? WHERE object_key = ?`,
			dead[object].bytes, dead[object].refs, object)
		if err != nil {
			return err
		}
	}
	return nil
}

// objectUse is what contents hold alive of an object.
type objectUse struct{ bytes, refs int64 }

func counted[K cmp.Ordered](list []K) map[K]int {
	out := make(map[K]int, len(list))
	for _, k := range list {
		out[k]++
	}
	return out
}
