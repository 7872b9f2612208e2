package meta

import (
	"cmp"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
)

// Content is what the copies of one message share: the body and what was parsed of it. EMAILID (RFC 8474) is its id.
type Content struct {
	// ID is unique, of characters that an objectid may have (RFC 8474 section 7), at most 64.
	ID       string
	Location body.Location
	// Header is the message header up to MaxStoredHeader octets, empty if it is longer.
	Header    []byte
	Structure *mailv1.Structure
}

// MaxStoredHeader bounds the header octets kept in the database; longer headers are read from the body.
const MaxStoredHeader = 64 << 10

// placement is a content that gets rows in one account.
type placement struct {
	*Content
	summary, structure []byte
	threadID           string
}

// split marshals what list views need apart from the MIME tree, which may be large.
func split(s *mailv1.Structure) (summary, structure []byte, err error) {
	head := proto.CloneOf(s)
	head.Root = nil
	if summary, err = proto.Marshal(head); err != nil {
		return nil, nil, err
	}
	structure, err = proto.Marshal(s.GetRoot())
	return summary, structure, err
}

// insertContent writes the row of a content in an account. refs counts the message rows that follow, share is the
// content's part of its object's live bytes.
func (t *tx) insertContent(account string, p *placement, refs int, share int64) error {
	l := p.Location
	_, err := t.exec(`INSERT INTO contents (account_id, content_id, refs, object_key, object_offset, stored_size, raw_size, raw_sum,
			pack_share, thread_id, sent_unix, header_size, header, summary, structure)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		account, p.ID, refs, l.Object, l.Offset, l.Stored, l.Size, int64(l.Sum),
		share, p.threadID, p.Structure.GetSentUnix(), int64(p.Structure.GetRoot().GetHeaderSize()),
		nonNil(p.Header), nonNil(p.summary), nonNil(p.structure))
	return err
}

// nonNil keeps an empty blob from becoming NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// ref adds message rows to contents.
func (t *tx) ref(account string, ids []string) error {
	for id, n := range counted(ids) {
		if _, err := t.exec(`UPDATE contents SET refs = refs + ? WHERE account_id = ? AND content_id = ?`, n, account, id); err != nil {
			return err
		}
	}
	return nil
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
