package meta

import (
	"context"
	"math"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// ErrMessageNotFound is the fault of a message that is not there, or not any more.
var ErrMessageNotFound = fault.New(codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, "the message does not exist")

// Replaced is a message that gives way to others (RFC 8508).
type Replaced struct {
	AccountID string
	MailboxID uint64
	UID       uint32
	// Actor needs RightDeleted and RightExpunge.
	Actor Actor
}

// MessageSize tells the octets that a message counts that is to be replaced, which never change; ErrMailboxNotFound or ErrMessageNotFound if there
// is none. An actor needs RightDeleted and RightExpunge.
func (s *Store) MessageSize(ctx context.Context, account string, mailbox uint64, uid uint32) (size int64, err error) {
	err = s.read(ctx, "message_size", func(t *tx) error {
		if _, err := t.mailbox(account, mailbox); err != nil {
			return err
		}
		if err := t.permit(account, mailbox, RightDeleted|RightExpunge); err != nil {
			return err
		}
		err := t.row(`SELECT size FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid = ?`, account, mailbox, uid).Scan(&size)
		if isNone(err) {
			return ErrMessageNotFound
		}
		return err
	})
	return size, err
}

// replacements is what an insertion knows of messages that give way.
type replacements struct {
	found map[*Unit]*replaced
	// taken are those that a unit of the group replaces: another one finds them gone.
	taken map[messageKey]bool
	// gone are those of the units that are stored, in their order.
	gone []*replaced
}

type messageKey struct {
	mailboxKey
	uid uint32
}

// replaced is a message that will go.
type replaced struct {
	account   string
	mailbox   *storagev1.Mailbox // nil: there is none
	granted   Rights
	selection // of one message, or of none
}

// readReplaced adds to a batch what must be known of the message that a unit replaces.
func (in *insertion) readReplaced(b *queue, u *Unit) {
	r := u.Replaces
	if r == nil {
		return
	}
	found := &replaced{account: r.AccountID, granted: allRights}
	in.found[u] = found
	if r.MailboxID > math.MaxInt64 {
		return
	}
	b.Query(func(rows *sqldb.Rows) (err error) {
		found.mailbox, err = scanMailbox(rows)
		return err
	}, mailboxByID, r.AccountID, r.MailboxID)
	if r.Actor.foreign(r.AccountID) {
		found.granted = 0
		r.Actor.find(b, r.AccountID, r.MailboxID, &found.granted)
	}
	b.Query(func(rows *sqldb.Rows) error {
		var flags uint32
		var size int64
		err := rows.Scan(&flags, &size)
		found.list, found.uids = []uint32{r.UID}, uidset.Set{{Start: r.UID, Stop: r.UID}}
		found.count(flags, size)
		return err
	}, `SELECT flags, size FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid = ?`, r.AccountID, r.MailboxID, r.UID)
}

// takeReplaced decides that the message which a unit replaces goes, or sets the error of the unit, which is then left out. What only repeats
// another unit of the group replaces nothing.
func (in *insertion) takeReplaced(u *Unit, entries []*entry) bool {
	found := in.found[u]
	if found == nil || !slices.ContainsFunc(entries, func(e *entry) bool { return e.DeliveryID == "" || in.fresh[e.Key()] == nil }) {
		return true
	}
	key := messageKey{mailboxKey{u.Replaces.AccountID, u.Replaces.MailboxID}, u.Replaces.UID}
	switch {
	case found.mailbox == nil:
		u.Err = ErrMailboxNotFound
	case found.granted.permit(RightDeleted|RightExpunge) != nil:
		u.Err = found.granted.permit(RightDeleted | RightExpunge)
	case len(found.list) == 0 || in.taken[key]:
		u.Err = ErrMessageNotFound
	default:
		in.taken[key] = true
		in.gone = append(in.gone, found)
	}
	return u.Err == nil
}

// expungeReplaced removes the messages that gave way. The rows that take their place are there already.
func (in *insertion) expungeReplaced() error {
	if len(in.gone) == 0 {
		return nil
	}
	// There is one of each mailbox, whatever it was read for.
	boxes := map[mailboxKey]*storagev1.Mailbox{}
	for name, m := range in.boxes {
		if m != nil {
			boxes[mailboxKey{name.account, m.GetMailboxId()}] = m
		}
	}
	for _, r := range in.gone {
		key := mailboxKey{r.account, r.mailbox.GetMailboxId()}
		if boxes[key] == nil {
			boxes[key] = r.mailbox
		}
		if _, err := in.expunge(r.account, boxes[key], &r.selection); err != nil {
			return err
		}
	}
	return nil
}
