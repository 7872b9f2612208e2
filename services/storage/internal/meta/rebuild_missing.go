package meta

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// MissingMessage is one whose body the object store lacks.
type MissingMessage struct {
	AccountID, Mailbox string
	UID                uint32
	Size               int64
	// Gone says that it was deleted, and could only have been restored.
	Gone    bool
	Summary *mailv1.Structure

	mailboxID uint64
	flags     uint32
}

// missingAtOnce bounds the contents of one transaction of RetireMissing.
const missingAtOnce = 500

// MissingIn gives the messages whose body lies, or reaches, beyond so many octets of an object: all for 0. With retire they are taken out of
// their mailboxes first, and can be restored like deleted messages.
func (s *Store) MissingIn(ctx context.Context, object string, size int64, retire bool) ([]*MissingMessage, error) {
	contents, err := s.contentsBeyond(ctx, object, size)
	if err != nil {
		return nil, err
	}
	var all []*MissingMessage
	for _, account := range slices.Sorted(maps.Keys(contents)) {
		for ids := range slices.Chunk(contents[account], missingAtOnce) {
			var some []*MissingMessage
			find := func(t *tx) (err error) {
				some, err = t.missing(account, object, ids)
				if err != nil || !retire {
					return err
				}
				return t.retireMissing(account, some)
			}
			if retire {
				err = s.change(ctx, "retire_missing", account, find)
			} else {
				err = s.read(ctx, "find_missing", find)
			}
			if err != nil {
				return all, err
			}
			all = append(all, some...)
		}
	}
	return all, nil
}

// contentsBeyond gives by account the contents that an object of so many octets cannot have.
func (s *Store) contentsBeyond(ctx context.Context, object string, size int64) (map[string][]string, error) {
	contents := map[string][]string{}
	err := s.read(ctx, "find_missing", func(t *tx) error {
		clear(contents)
		return t.rows(func(rows *sqldb.Rows) error {
			var account, id string
			err := rows.Scan(&account, &id)
			contents[account] = append(contents[account], id)
			return err
		}, `SELECT account_id, content_id FROM contents WHERE object_key = ? AND object_offset + stored_size > ?`, object, size)
	})
	return contents, err
}

// missing finds the messages of contents that still lie in an object.
func (t *tx) missing(account, object string, ids []string) ([]*MissingMessage, error) {
	wanted := map[string]*mailv1.Structure{}
	for _, id := range ids {
		t.queue.Query(func(rows *sqldb.Rows) error {
			var summary []byte
			if err := rows.Scan(&summary); err != nil {
				return err
			}
			wanted[id] = &mailv1.Structure{}
			return proto.Unmarshal(summary, wanted[id])
		}, `SELECT summary FROM contents WHERE account_id = ? AND content_id = ? AND object_key = ?`, account, id, object)
	}
	if err := t.flush(); err != nil || len(wanted) == 0 {
		return nil, err
	}
	var out []*MissingMessage
	scan := func(gone bool) func(*sqldb.Rows) error {
		return func(rows *sqldb.Rows) error {
			m := &MissingMessage{AccountID: account, Gone: gone}
			var id string
			err := rows.Scan(&m.Mailbox, &m.mailboxID, &m.UID, &m.flags, &m.Size, &id)
			if m.Summary = wanted[id]; m.Summary != nil {
				out = append(out, m)
			}
			return err
		}
	}
	// No index leads from a content to its messages: a body that is missing is rare enough to go through the account.
	err := t.rows(scan(false), `SELECT b.name, m.mailbox_id, m.uid, m.flags, m.size, m.content_id FROM messages m
		JOIN mailboxes b ON b.account_id = m.account_id AND b.mailbox_id = m.mailbox_id
		WHERE m.account_id = ? ORDER BY m.mailbox_id, m.uid`, account)
	if err != nil {
		return nil, err
	}
	return out, t.rows(scan(true), `SELECT mailbox_name, mailbox_id, uid, flags, size, content_id FROM deleted_messages
		WHERE account_id = ? ORDER BY mailbox_id, uid`, account)
}

// retireMissing expunges messages as if they had \Deleted.
func (t *tx) retireMissing(account string, list []*MissingMessage) error {
	chosen := map[uint64]*selection{}
	for _, m := range list {
		if m.Gone {
			continue
		}
		s := chosen[m.mailboxID]
		if s == nil {
			s = &selection{}
			chosen[m.mailboxID] = s
		}
		s.list = append(s.list, m.UID)
		s.count(m.flags, m.Size)
	}
	for _, id := range slices.Sorted(maps.Keys(chosen)) {
		box, err := t.mailbox(account, id)
		if err != nil {
			return err
		}
		chosen[id].uids = uidset.Of(chosen[id].list...)
		if _, err := t.expunge(account, box, chosen[id]); err != nil {
			return err
		}
	}
	return nil
}
