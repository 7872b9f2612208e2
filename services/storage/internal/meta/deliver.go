package meta

import (
	"context"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// Row is one new message row.
type Row struct {
	AccountID string
	// Mailbox is a normalised name.
	Mailbox string
	// Fallback puts the message into INBOX if the mailbox does not exist; without it that is an error of the unit.
	Fallback     bool
	Content      *Content
	Prefix       []byte
	Flags        uint32
	Keywords     []string
	InternalUnix int64
	// ReservationID is settled by the commit.
	ReservationID string
	// Actor needs RightInsert; flags and keywords that it may not set are left out.
	Actor Actor
	// DeliveryID makes the row idempotent together with the account and the mailbox asked for; empty: it is not.
	DeliveryID string
}

// Size is what the row counts, in octets.
func (r *Row) Size() int64 { return int64(len(r.Prefix)) + r.Content.Location.Size }

// Key names the row for idempotence.
func (r *Row) Key() DeliveryKey { return DeliveryKey{r.AccountID, r.DeliveryID, r.Mailbox} }

// DeliveryKey names a row for idempotence.
type DeliveryKey struct{ AccountID, DeliveryID, Mailbox string }

// Placed is where a row is.
type Placed struct {
	MailboxID        uint64
	UIDValidity, UID uint32
	// Duplicate says that an earlier delivery had stored it, so the row's reservation is not settled.
	Duplicate bool
	// NoAccount says that it was not stored, as the account was purged.
	NoAccount bool
}

// Stored tells whether the row is in a mailbox.
func (p Placed) Stored() bool { return p.UID != 0 }

// Unit is rows that are stored all or none, but for those of a purged account.
type Unit struct {
	Rows []*Row
	// AllOrNone leaves out all rows if one is of a purged account.
	AllOrNone bool
	// Replaces goes with the commit that stores the rows; nil: nothing goes. It may be of another account than the rows. If it is not there the
	// unit is left out, unless an earlier delivery has stored its rows.
	Replaces *Replaced
	// Placed and Err are set by Insert.
	Placed []Placed
	Err    error
}

// Deliveries finds what earlier deliveries have stored.
func (s *Store) Deliveries(ctx context.Context, keys []DeliveryKey) (map[DeliveryKey]Placed, error) {
	var found map[DeliveryKey]Placed
	err := s.read(ctx, "find_deliveries", func(t *tx) error {
		found = map[DeliveryKey]Placed{}
		for _, key := range keys {
			t.findDelivery(&t.queue, key, found)
			if err := t.overflow(); err != nil {
				return err
			}
		}
		return t.flush()
	})
	return found, err
}

// findDelivery adds a query to a batch that adds to found what an earlier delivery has stored.
func (t *tx) findDelivery(b *queue, key DeliveryKey, found map[DeliveryKey]Placed) {
	b.Query(func(rows *sqldb.Rows) error {
		placed := Placed{Duplicate: true}
		err := rows.Scan(&placed.MailboxID, &placed.UIDValidity, &placed.UID)
		found[key] = placed
		return err
	}, `SELECT mailbox_id, uid_validity, uid FROM deliveries WHERE account_id = ? AND delivery_id = ? AND target = ?`,
		key.AccountID, key.DeliveryID, key.Mailbox)
}
