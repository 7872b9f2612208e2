package meta

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/sqldb"
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
	return t.later(`INSERT INTO contents (account_id, content_id, refs, object_key, object_offset, stored_size, raw_size, raw_sum,
			pack_share, thread_id, sent_unix, header_size, header, summary, structure)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		account, c.ID, refs, l.Object, l.Offset, l.Stored, l.Size, int64(l.Sum),
		share, thread, c.parsed.GetSentUnix(), int64(c.parsed.GetRoot().GetHeaderSize()),
		nonNil(c.header), nonNil(c.summary), nonNil(c.structure))
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
	return t.later(`UPDATE contents SET refs = refs + n FROM (
			SELECT content_id AS id, COUNT(*) AS n FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ? GROUP BY content_id
		) AS added WHERE account_id = ? AND content_id = added.id`, account, mailbox, r.Start, r.Stop, account)
}

// unref takes message rows of locked accounts from contents. A content without any goes, and its object has that much less alive.
func (t *tx) unref(contents map[string][]string) error {
	type key struct{ account, content string }
	counts := map[key]int{}
	for account, ids := range contents {
		for _, id := range ids {
			counts[key{account, id}]++
		}
	}
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b key) int {
		return cmp.Or(strings.Compare(a.account, b.account), strings.Compare(a.content, b.content))
	})
	dead, gone := map[string]objectUse{}, map[key]bool{}
	for _, k := range keys {
		t.queue.Query(func(rows *sqldb.Rows) error {
			var object string
			var share int64
			err := rows.Scan(&object, &share)
			use := dead[object]
			dead[object] = objectUse{use.bytes + share, use.refs + 1}
			gone[k] = true
			return err
		}, `DELETE FROM contents WHERE account_id = ? AND content_id = ? AND refs <= ? RETURNING object_key, pack_share`, k.account, k.content, counts[k])
		if err := t.overflow(); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, k := range keys {
		if gone[k] {
			if err := t.later(`DELETE FROM text_contents WHERE account_id = ? AND content_id = ?`, k.account, k.content); err != nil {
				return err
			}
			continue
		}
		if err := t.later(`UPDATE contents SET refs = refs - ? WHERE account_id = ? AND content_id = ?`, counts[k], k.account, k.content); err != nil {
			return err
		}
	}
	// After all accounts, in order of key: other transactions change the same packs.
	for _, object := range slices.Sorted(maps.Keys(dead)) {
		err := t.later(`UPDATE packs SET live_bytes = live_bytes - ?, live_refs = live_refs - ? WHERE object_key = ?`,
			dead[object].bytes, dead[object].refs, object)
		if err != nil {
			return err
		}
	}
	return nil
}

// objectUse is what contents hold alive of an object.
type objectUse struct{ bytes, refs int64 }
