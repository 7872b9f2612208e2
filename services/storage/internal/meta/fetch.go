package meta

import (
	"context"
	"database/sql"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// Message is a row with its content. Offsets and sizes of the parsed parts are those of the body, without the prefix.
type Message struct {
	State      *storagev1.MessageState
	Prefix     []byte
	Location   body.Location
	EmailID    string
	ThreadID   string
	SentUnix   int64
	HeaderSize int64             // of the body's header
	Header     []byte            // if asked for; empty if it is longer than MaxStoredHeader
	Summary    *mailv1.Structure // if asked for; without the root
	Root       *mailv1.Part      // if asked for
}

// Wanted tells which of the larger columns to read.
type Wanted struct{ Header, Summary, Root bool }

// Limits of a page of Messages: whichever comes first.
const (
	pageMessages = 500
	pageBytes    = 1 << 20
)

// Messages gives one page of the messages of a set with a UID above after, in UID order. more says that others may follow.
func (s *Store) Messages(
	ctx context.Context, account string, mailbox uint64, set uidset.Set, after uint32, want Wanted,
) (page []*Message, more bool, err error) {
	if after == 1<<32-1 {
		return nil, false, nil
	}
	query := `SELECT ` + stateColumns + `, ` + messageColumns(want) + ` FROM messages m
		JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id
		WHERE m.account_id = ? AND m.mailbox_id = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid` + sqldb.Limit(pageMessages)
	err = s.read(ctx, "fetch", func(t *tx) error {
		box, err := t.mailbox(account, mailbox)
		if err != nil {
			return err
		}
		if err := t.permit(account, mailbox, RightRead); err != nil {
			return err
		}
		page = nil
		bytes := 0
		full := func() bool { return bytes >= pageBytes || len(page) >= pageMessages }
		rest := set.Intersect(uidset.Set{{Start: after + 1, Stop: 1<<32 - 1}})
		err = t.ranges(box, rest, full, func(r uidset.Range) {
			t.queue.Query(func(rows *sqldb.Rows) error {
				if full() {
					return nil
				}
				m, n, err := scanMessage(rows)
				page = append(page, m)
				bytes += n
				return err
			}, query, account, mailbox, r.Start, r.Stop)
		})
		more = full()
		return err
	})
	return page, more, err
}

// Message gives one message, or nil if it is gone.
func (s *Store) Message(ctx context.Context, account string, mailbox uint64, uid uint32) (*Message, error) {
	page, _, err := s.Messages(ctx, account, mailbox, uidset.Of(uid), 0, Wanted{})
	if err != nil || len(page) == 0 {
		return nil, err
	}
	return page[0], nil
}

func messageColumns(want Wanted) string {
	column := func(wanted bool, name string) string {
		if wanted {
			return name
		}
		return "NULL"
	}
	return `m.prefix, c.content_id, c.thread_id, c.sent_unix, c.object_key, c.object_offset, c.stored_size, c.raw_size, c.raw_sum, c.header_size, ` +
		column(want.Header, "c.header") + `, ` + column(want.Summary, "c.summary") + `, ` + column(want.Root, "c.structure")
}

// scanMessage reads a row and tells how many octets its larger columns have.
func scanMessage(row scanner) (*Message, int, error) {
	m := &Message{}
	var sum int64
	var summary, root sql.RawBytes
	var err error
	m.State, err = scanState(row, &m.Prefix, &m.EmailID, &m.ThreadID, &m.SentUnix, &m.Location.Object, &m.Location.Offset,
		&m.Location.Stored, &m.Location.Size, &sum, &m.HeaderSize, &m.Header, &summary, &root)
	if err != nil {
		return nil, 0, err
	}
	m.Location.Sum = uint64(sum)
	if summary != nil {
		m.Summary = &mailv1.Structure{}
		if err := proto.Unmarshal(summary, m.Summary); err != nil {
			return nil, 0, fmt.Errorf("read summary of message: %w", err)
		}
	}
	if root != nil {
		m.Root = &mailv1.Part{}
		if err := proto.Unmarshal(root, m.Root); err != nil {
			return nil, 0, fmt.Errorf("read structure of message: %w", err)
		}
	}
	return m, len(m.Prefix) + len(m.Header) + len(summary) + len(root), nil
}
